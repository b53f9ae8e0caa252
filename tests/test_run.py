"""A run from Python: it does what the command does, and leaves what it is given as it is."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from kill_driver import rows as read_rows

from simple_dqn.checkpoints.snapshot import read_snapshot
from simple_dqn.environments.atari import ALEEnvironment
from simple_dqn.errors import UserError
from simple_dqn.main import main
from simple_dqn.options.settings import Settings
from simple_dqn.run.run import Run

VALUES: dict[str, Any] = {
    "screen_width": 36,
    "screen_height": 36,
    "replay_size": 2000,
    "random_steps": 60,
    "train_steps": 60,
    "test_steps": 60,
    "epochs": 1,
    "backend": "cpu",
}
TINY = Settings(game="pong", label="python", random_seed=0, **VALUES)

pytestmark = pytest.mark.usefixtures("root")


def test_python_and_command_give_the_same(root: Path) -> None:
    """In training, resuming and testing."""
    Run(TINY).train()
    options = [text for name, value in VALUES.items() for text in (f"--{name}", str(value))]
    assert main(["train", "pong", "command", *options, "--random_seed", "0"]) == 0
    results, snapshots = root / "results", root / "snapshots"
    rows = read_rows(results / "pong_python.csv")
    assert rows == read_rows(results / "pong_command.csv")
    loaded = read_snapshot(snapshots / "pong_python_1.safetensors")
    settings = dataclasses.replace(TINY, epochs=2)
    Run(settings, loaded).resume()
    again = str(snapshots / "pong_command_1.safetensors")
    assert main(["resume", again, "--epochs", "2", "--backend", "cpu"]) == 0
    assert read_rows(results / "pong_python.csv") == read_rows(results / "pong_command.csv")
    row = Run(TINY, loaded).test()
    assert str(row["meanq"]) == rows[-1]["meanq"]


def test_what_it_is_given_stays_as_it_is(root: Path) -> None:
    """A seed is drawn, and stands in the snapshot alone."""
    settings = dataclasses.replace(TINY, random_seed=None)
    before = dataclasses.asdict(settings)
    run = Run(settings)
    run.train()
    assert dataclasses.asdict(settings) == before
    loaded = read_snapshot(root / "snapshots" / "pong_python_1.safetensors")
    seed = loaded.header["options"]["random_seed"]
    assert run.settings == dataclasses.replace(settings, random_seed=seed)
    header = dict(loaded.header)
    Run(dataclasses.replace(settings, epochs=2), loaded).resume()
    assert loaded.header == header


def test_environments_are_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also when the run breaks off; a test has one alone."""
    closed: list[object] = []
    monkeypatch.setattr(ALEEnvironment, "close", lambda self: closed.append(self))
    Run(TINY).train()
    assert len(set(closed)) == len(closed) == 2
    run = Run(dataclasses.replace(TINY, overwrite=True, load_weights=Path("missing.safetensors")))
    with pytest.raises(UserError, match="cannot read"):
        run.train()
    assert len(set(closed)) == len(closed) == 4


def test_a_test_has_no_memory_for_training(root: Path) -> None:
    """One of that size would not fit."""
    Run(TINY).train()
    loaded = read_snapshot(root / "snapshots" / "pong_python_1.safetensors")
    huge = dataclasses.replace(TINY, replay_size=10**12)
    assert Run(huge, loaded).test()["steps"] == 60
    with pytest.raises(UserError, match="fits"):
        Run(dataclasses.replace(huge, epochs=2), loaded).resume()


def test_without_a_snapshot_there_is_nothing_to_resume() -> None:
    with pytest.raises(UserError, match="snapshot is needed"):
        Run(TINY).resume()
    with pytest.raises(UserError, match="snapshot is needed"):
        Run(TINY).test()
