"""Mutated files of every kind: one line for each that is refused, and nothing else happens."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

DRIVER = Path(__file__).with_name("fuzz_driver.py")


def test_no_file_does_harm(tmp_path: Path, pytestconfig: pytest.Config) -> None:
    """No traceback, no dead process, no hang, no gigabyte, no code run, no other file written.

    The driver asks further that what was taken as valid can be used for a gradient step.
    """
    number = pytestconfig.getoption("--fuzz")
    command = [sys.executable, str(DRIVER), str(tmp_path), str(number)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, f"{done.returncode} at file {done.stderr[-2000:]}"
    result = json.loads(done.stdout)
    assert not result["failed"], "\n".join(result["failures"])
    assert not result["harm"]
    assert result["megabytes"] < 1000
    for kind, counts in result["counts"].items():
        print(f"{kind}: {counts}")  # noqa: T201
        # Else the mutations hit nothing, or too much to reach what lies behind the first check.
        assert 0.1 < counts["refused"] / counts["files"] < 0.97, kind
