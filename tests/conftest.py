"""One thread for torch: the networks of the tests are small, and the cores are shared."""

import os
from pathlib import Path

import pytest

os.environ["OMP_NUM_THREADS"] = "1"


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for a command's files, with a space in its path; few held-out states to gather."""
    root = tmp_path / "my dqn"
    root.mkdir()
    monkeypatch.setenv("SIMPLE_DQN_ROOT", str(root))
    monkeypatch.setattr("simple_dqn.main.HELD_OUT_STATES", 3)
    return root
