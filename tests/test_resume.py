"""A run that was stopped and resumed ends as one that never stopped, to the last bit."""

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from simple_dqn.agent import Agent
from simple_dqn.main import main

TINY = (
    "--screen_width 36 --screen_height 36 --replay_size 300 --random_steps 100 --train_steps 120 "
    "--test_steps 60 --test_games 0 --epochs 3 --random_seed 4 --batch_size 8 --target_steps 50"
)
VARIANTS = {
    "defaults": "",
    "laptop": "--preset laptop --replay_size 400",
    "c51": "--distributional c51 --double_q true --optimizer adam --num_games 3 --n_step 2",
    "batch_norm": "--batch_norm true --network nips --optimizer adadelta --prioritized true",
}
TIMES = {"total_time", "epoch_time", "steps_per_second"}


def rows(csv_file: Path) -> list[dict[str, str]]:
    """The rows without their times."""
    with csv_file.open() as file:
        return [{k: v for k, v in row.items() if k not in TIMES} for row in csv.DictReader(file)]


def assert_same_end(ours: Path, theirs: Path) -> None:
    """The same rows, the same last network, target network, optimizer and priorities."""
    assert rows(ours / "results" / "pong.csv") == rows(theirs / "results" / "pong.csv")
    for name in ("pong_3.safetensors", "pong_3.training.safetensors"):
        left, right = (load_file(root / "snapshots" / name) for root in (ours, theirs))
        assert left.keys() == right.keys()
        for key, value in left.items():
            np.testing.assert_array_equal(value, right[key], err_msg=f"{name}: {key}")


def train(root: Path, monkeypatch: pytest.MonkeyPatch, *options: str) -> int:
    monkeypatch.setenv("SIMPLE_DQN_ROOT", str(root))
    return main(["train", "pong", *TINY.split(), *options])


def newest(root: Path) -> Path:
    paths = [
        p for p in (root / "snapshots").glob("pong_*.safetensors") if ".training" not in p.name
    ]
    return max(paths, key=lambda path: int(path.stem.rpartition("_")[2]))


def stop_at_step(monkeypatch: pytest.MonkeyPatch, number: int) -> Callable[[], None]:
    """Let the agent's step of that number, all phases counted, be interrupted; then go on."""
    step, count = Agent._step, 0

    def interrupted(self: Agent, *args: object, **kwargs: object) -> object:
        nonlocal count
        count += 1
        if count == number:
            raise KeyboardInterrupt
        return step(self, *args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(Agent, "_step", interrupted)
    return lambda: monkeypatch.setattr(Agent, "_step", step)


@pytest.fixture(scope="module", params=VARIANTS)
def variant(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def whole(variant: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, int]:
    """A run that never stopped, and the number of its steps."""
    root = tmp_path_factory.mktemp(variant)
    counted = 0
    step = Agent._step

    def counting(self: Agent, *args: object, **kwargs: object) -> object:
        nonlocal counted
        counted += 1
        return step(self, *args, **kwargs)  # type: ignore[arg-type]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("simple_dqn.run.run.HELD_OUT_STATES", 3)
        patch.setattr(Agent, "_step", counting)
        assert train(root, patch, *VARIANTS[variant].split()) == 0
    return root, counted


@pytest.mark.parametrize("where", [0.55, 0.75, 0.97])
def test_a_stopped_run_ends_as_one_that_never_stopped(
    variant: str,
    whole: tuple[Path, int],
    where: float,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Stopped in training, in a test, in the last test; then once more while it is resumed."""
    monkeypatch.setattr("simple_dqn.run.run.HELD_OUT_STATES", 3)
    root, steps = whole
    go_on = stop_at_step(monkeypatch, int(where * steps))
    assert train(tmp_path, monkeypatch, *VARIANTS[variant].split()) == 130
    go_on()
    go_on = stop_at_step(monkeypatch, 70)
    resume = ["resume", str(newest(tmp_path))]
    stopped_again = main(resume) == 130
    go_on()
    told = capsys.readouterr().err
    if stopped_again:
        assert main(["resume", str(newest(tmp_path))]) == 0
        told = capsys.readouterr().err
    assert "replay memory (" in told
    assert "not restored" not in told
    assert_same_end(tmp_path, root)
