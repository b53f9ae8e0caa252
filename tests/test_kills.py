"""Runs that are killed or hindered while they write: nothing is lost, resuming is exact."""

import subprocess
import sys
from pathlib import Path

import pytest

# How runs are disturbed, and at every which moment; see kill_driver.py.
DISTURBANCES = [
    *(("kill", 37), ("interrupt", 61), ("hangup", 97), ("pause", 97)),
    *(("fail", 61), ("full", 61), ("random", 2)),
]


@pytest.mark.parametrize(("how", "every"), DISTURBANCES)
def test_a_disturbed_run_ends_as_one_that_never_was(
    how: str, every: int, tmp_path: Path, pytestconfig: pytest.Config
) -> None:
    """At some moments of writing; with `--every_kill`, at all of them (many minutes)."""
    if pytestconfig.getoption("every_kill"):
        every = 100 if how == "random" else 1
    driver = Path(__file__).with_name("kill_driver.py")
    result = subprocess.run(
        [sys.executable, str(driver), str(tmp_path), how, str(every)],
        capture_output=True,
        text=True,
    )
    log = tmp_path / "count.log"
    assert result.returncode == 0, result.stderr + (log.read_text() if log.exists() else "")[-3000:]
    assert int(result.stdout) >= 1
