"""One thread for torch: the networks of the tests are small, and the cores are shared.

Ctrl-C stops what a test starts, also when the suite itself runs in the background of a shell, where
SIGINT is ignored and programs started inherit that.
"""

import os
import signal
from pathlib import Path

import pytest

os.environ["OMP_NUM_THREADS"] = "1"
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for a command's files, with a space in its path; few held-out states to gather."""
    root = tmp_path / "my dqn"
    root.mkdir()
    monkeypatch.setenv("SIMPLE_DQN_ROOT", str(root))
    monkeypatch.setattr("simple_dqn.run.run.HELD_OUT_STATES", 3)
    return root
