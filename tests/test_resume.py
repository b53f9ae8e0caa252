"""A run that was stopped and resumed ends as one that never stopped, to the last bit."""

import contextlib
import importlib.metadata
import itertools
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers import write_play
from kill_driver import assert_same_end, newest, rows

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
    "qr": "--distributional qr --prioritized true --dueling true --double_q true --n_step 3 "
    "--exploration_repeat 20 --exploration_rate_end 0.1,0.6 --exploration_decay_steps 50 "
    "--num_games 2 --layer_norm true",
    "batch_norm": "--batch_norm true --network nips --optimizer adadelta --prioritized true",
    "online": "--memory online --num_games 2 --stretch 9 --train_frequency 4 --target_steps 0 "
    "--optimizer radam --gradient_norm 1 --distributional hl_gauss",
    "emulator": "--prioritized true --load_experience PLAY",
}
HELD_OUT = 60  # steps that gather the held-out states, before the run; 15 without an emulator


def train(root: Path, monkeypatch: pytest.MonkeyPatch, variant: str) -> int:
    monkeypatch.setenv("SIMPLE_DQN_ROOT", str(root))
    options = [*TINY.split(), *VARIANTS[variant].split()]
    if variant == "emulator":
        options[-1] = str(write_play(root / "play.safetensors", "pong"))
        return main(["train", "pong", *options])
    # A game whose steps and starts take no time.
    return main(["train", "catch", "--environment", "own_classes:CatchGame", *options])


def resume(root: Path, *options: str) -> int:
    return main(["resume", str(newest(root)), "--allow_import", "true", *options])


@pytest.fixture(scope="module", autouse=True)
def few_held_out_states() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("simple_dqn.run.run_parts.HELD_OUT_STATES", 3)
        yield


@contextlib.contextmanager
def stopped_at_step(number: int = 0) -> Iterator[Iterator[int]]:
    """Interrupt the agent's step of that number, all phases counted; 0: none. Gives the count."""
    step, numbers = Agent._step, itertools.count(1)

    def counted(self: Agent, *args: Any, **kwargs: Any) -> object:
        if next(numbers) == number:
            raise KeyboardInterrupt
        return step(self, *args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Agent, "_step", counted)
        yield numbers


@pytest.fixture(scope="module", params=VARIANTS)
def variant(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def whole(variant: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, int]:
    """A run that never stopped, and the number of its steps."""
    root = tmp_path_factory.mktemp(variant)
    with pytest.MonkeyPatch.context() as patch, stopped_at_step() as numbers:
        assert train(root, patch, variant) == 0
    return root, next(numbers) - 1


@pytest.mark.parametrize("where", [0.25, 0.97])
def test_a_stopped_run_ends_as_one_that_never_stopped(
    variant: str,
    whole: tuple[Path, int],
    where: float,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Stopped in the first epoch, in later ones, in the last test; and once more as it goes on."""
    root, steps = whole
    with stopped_at_step(int(HELD_OUT + where * (steps - HELD_OUT))):
        assert train(tmp_path, monkeypatch, variant) == 130
    with stopped_at_step(70):
        status = resume(tmp_path)
    if status == 130:
        capsys.readouterr()
        with stopped_at_step():
            assert resume(tmp_path) == 0
    told = capsys.readouterr().err
    assert "replay memory (" in told
    assert "not restored" not in told
    assert_same_end(tmp_path, root, all_files=True)


@pytest.fixture
def stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run of prioritized replay that is over after two epochs of three; its folder."""
    with stopped_at_step(475):
        assert train(tmp_path, monkeypatch, "batch_norm") == 130
    assert newest(tmp_path).name == "catch_2.safetensors"
    return tmp_path


@pytest.mark.parametrize(
    ("damage", "missing"),
    [
        (
            "catch_0.memory",
            "the replay memory, since {path} is damaged (truncated or altered); 100",
        ),
        ("catch_2.training.safetensors", "target network and optimizer, since {path} is damaged"),
    ],
)
def test_a_run_resumes_with_what_is_left(
    stopped: Path, damage: str, missing: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The memory is filled again, and the next epoch is saved completely."""
    path = stopped / "snapshots" / damage
    assert path.exists()
    path.write_bytes(b"damaged")
    capsys.readouterr()
    assert resume(stopped) == 0
    assert f"not restored: {missing.format(path=path)}" in capsys.readouterr().err
    assert "refill" in (stopped / "results" / "catch.csv").read_text()
    assert resume(stopped, "--epochs", "4") == 0
    errors = capsys.readouterr().err
    assert "not restored" not in errors
    assert "replay memory (220 steps)" in errors


def test_rows_of_another_run_are_left_alone(
    stopped: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The run's rows stand elsewhere: `resume` asks where."""
    csv_file = stopped / "results" / "catch.csv"
    own = csv_file.rename(stopped / "own.csv")
    lines = own.read_text().splitlines(keepends=True)
    other = [line.replace(line.split(",")[13], "1.5") for line in lines[1:]]
    csv_file.write_text("".join([lines[0], *other]))
    before = csv_file.read_bytes()
    assert resume(stopped, "--overwrite", "true") == 1
    errors = capsys.readouterr().err
    assert f"{csv_file} has no row of the run that wrote {newest(stopped)}" in errors
    assert "--csv_file" in errors
    assert csv_file.read_bytes() == before
    assert resume(stopped, "--csv_file", str(own)) == 0
    assert csv_file.read_bytes() == before
    assert rows(own)[-1]["epoch"] == "3"


def test_finished_epochs_are_not_dropped(stopped: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Also where only their rows are there; `--overwrite true` drops them."""
    assert resume(stopped) == 0
    newest(stopped).unlink()
    csv_file = stopped / "results" / "catch.csv"
    before = csv_file.read_bytes()
    capsys.readouterr()
    assert resume(stopped) == 1
    assert "give --overwrite true to drop the epochs 3 to 3" in capsys.readouterr().err
    assert csv_file.read_bytes() == before
    assert resume(stopped, "--overwrite", "true") == 0
    assert [row["epoch"] for row in rows(csv_file)].count("3") == 2


def test_what_is_not_as_it_was_is_logged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with stopped_at_step(15 + 250):
        assert train(tmp_path, monkeypatch, "defaults") == 130
    csv_file, version = tmp_path / "results" / "catch.csv", importlib.metadata.version
    monkeypatch.setattr(
        "importlib.metadata.version", lambda name: "9.9" if name == "torch" else version(name)
    )
    copy = shutil.copytree(tmp_path / "snapshots", tmp_path / "copy") / newest(tmp_path).name
    changes = "--native_kernels false --epochs 4 --learning_rate_end 0 --train_frequency 999"
    consent = ["--allow_import", "true"]
    assert main(["resume", str(copy), *consent, *changes.split()]) == 0
    no_rows = tmp_path / "none.csv"
    assert resume(tmp_path, "--csv_file", str(no_rows), "--overwrite") == 0
    told = capsys.readouterr().err
    inexact = "the run continues, but not to the last bit"
    for line in (
        f"rows are added to {csv_file}",
        f"changed: kernels native -> torch-cpu; {inexact}",
        f"changed: torch {version('torch')} -> 9.9; {inexact}",
        "changed: learning rate, from now on as in a run of 4 epochs",
        f"{no_rows}, which has none of the epochs so far",
        "epoch 3 had no update of the network; give a longer epoch",
    ):
        assert line in told


CARTPOLE = (
    "--environment gym --network 8 --replay_size 500 --random_steps 50 --train_steps 100 "
    "--test_games 2 --epochs 6 --random_seed 5 --learning_rate 0.01 --keep_snapshots 1"
)


def test_a_run_ends_early_and_keeps_its_best_snapshot(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """By its score, also where it was stopped in its last test; and by its time."""

    def results(label: str) -> tuple[list[dict[str, str]], list[str]]:
        paths = (root / "snapshots").glob(f"CartPole-v1_{label}_?.safetensors")
        return rows(root / "results" / f"CartPole-v1_{label}.csv"), sorted(p.stem for p in paths)

    train = ["train", "CartPole-v1", *CARTPOLE.split()]
    assert main([*train, "whole"]) == 0
    whole, left = results("whole")
    scores = [float(row["average_reward"]) for row in whole if row["phase"] == "test"]
    assert max(scores) == scores[3]
    assert left == ["CartPole-v1_whole_4", "CartPole-v1_whole_6"]
    until = ["--until_score", str(scores[1])]
    with stopped_at_step() as numbers:
        assert main([*train, "score", *until]) == 0
    assert results("score") == (whole[:5], ["CartPole-v1_score_1", "CartPole-v1_score_2"])
    with stopped_at_step(next(numbers) - 1):
        assert main([*train, "stopped", *until]) == 130
    resume = ["resume", str(root / "snapshots" / "CartPole-v1_stopped_2.safetensors")]
    assert main(resume) == 0
    assert results("stopped")[0] == whole[:5]
    assert main(resume) == 1
    refused = f"is of epoch 2, the last of this run with --until_score {scores[1]:g}; give a larger"
    assert refused in capsys.readouterr().err
    assert main([*resume, "--until_score", "1e9"]) == 0
    assert results("stopped")[0] == whole
    assert main([*train, "hours", "--hours", "1e-9"]) == 0
    assert results("hours") == (whole[:3], ["CartPole-v1_hours_1"])
