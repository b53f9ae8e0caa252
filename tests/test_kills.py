"""Runs that are killed or hindered while they write: nothing is lost, resuming is exact."""

import subprocess
import sys
from pathlib import Path

import pytest

# How runs are disturbed, and at every which moment; see kill_driver.py.
DISTURBANCES = {
    "CartPole-v1": {
        **{"kill": 37, "interrupt": 61, "hangup": 61, "pause": 61},
        **{"fail": 61, "full": 61, "random": 3},
    },
    "pong": {"kill": 61},
}


@pytest.mark.parametrize("game", DISTURBANCES)
def test_disturbed_runs_end_as_one_that_never_was(
    game: str, tmp_path: Path, pytestconfig: pytest.Config
) -> None:
    """At some moments of writing; with `--every_kill`, at all of them (many minutes)."""
    words = []
    for how, every in DISTURBANCES[game].items():
        if pytestconfig.getoption("every_kill"):
            every = 100 if how == "random" else 1
        words += [how, str(every)]
    driver = Path(__file__).with_name("kill_driver.py")
    result = subprocess.run(
        [sys.executable, str(driver), str(tmp_path), game, *words], capture_output=True, text=True
    )
    log = tmp_path / "count.log"
    assert result.returncode == 0, result.stderr + (log.read_text() if log.exists() else "")[-3000:]
    counts = dict(zip(DISTURBANCES[game], map(int, result.stdout.split()), strict=True))
    assert min(counts.values()) >= 2, counts
