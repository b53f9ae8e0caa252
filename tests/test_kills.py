"""kill -9 at the moments at which a run writes: nothing is lost, and resuming is exact."""

import subprocess
import sys
from pathlib import Path

import pytest


def test_a_killed_run_ends_as_one_that_never_was(
    tmp_path: Path, pytestconfig: pytest.Config
) -> None:
    """At some moments of writing; with `--every_kill`, at all of them (some minutes)."""
    every = 1 if pytestconfig.getoption("every_kill") else 23
    driver = Path(__file__).with_name("kill_driver.py")
    result = subprocess.run(
        [sys.executable, str(driver), str(tmp_path), str(every)], capture_output=True, text=True
    )
    log = tmp_path / "count.log"
    assert result.returncode == 0, result.stderr + (log.read_text() if log.exists() else "")[-3000:]
    assert int(result.stdout) >= 3
