"""One thread for torch: the networks of the tests are small, and the cores are shared.

Ctrl-C and a hangup stop what a test starts, also when the suite itself runs in the background of a
shell, where SIGINT is ignored, or under nohup, where SIGHUP is: programs started inherit that.
"""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

os.environ["OMP_NUM_THREADS"] = "1"
signal.signal(signal.SIGINT, signal.default_int_handler)
if hasattr(signal, "SIGHUP"):  # not on Windows
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.fixture(scope="session", autouse=True)
def no_root_of_the_users(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Commands find no ROM and no file of the user's, wherever the tests are called from."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SIMPLE_DQN_ROOT", str(tmp_path_factory.mktemp("root")))
        yield


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for a command's files, with a space in its path; few held-out states to gather."""
    root = tmp_path / "my dqn"
    root.mkdir()
    monkeypatch.setenv("SIMPLE_DQN_ROOT", str(root))
    monkeypatch.setattr("simple_dqn.run.run_parts.HELD_OUT_STATES", 3)
    return root


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--every_kill", action="store_true", help="kill runs at every moment of writing"
    )
    parser.addoption(
        "--every_command", action="store_true", help="run the commands of every document"
    )
