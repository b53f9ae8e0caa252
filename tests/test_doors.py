"""Classes of one's own in place of the package's: from the command line and from Python."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers import make_network
from iqn import IQN
from own_classes import CatchGame, OwnMemory, Rows
from safetensors.numpy import load_file
from test_deep_q_network import make_batch
from test_main import read_rows, refused

from simple_dqn import Run, Settings
from simple_dqn.agent import Callback
from simple_dqn.checkpoints.snapshot import read_snapshot
from simple_dqn.errors import UserError
from simple_dqn.main import main
from simple_dqn.networks.next_values import MunchausenValue

REPOSITORY = Path(__file__).parent.parent
CATCH: dict[str, Any] = {
    "game": "catch",
    "environment": "own_classes:CatchGame",
    "num_games": 4,
    "history_length": 2,
    "replay_size": 2000,
    "discount_rate": 0.9,
    "learning_rate": 0.001,
    "optimizer": "adam",
    "exploration_decay_steps": 1000,
    "exploration_rate_test": 0.0,
    "train_frequency": 2,
    "target_steps": 100,
    "random_steps": 200,
    "train_steps": 1000,
    "test_games": 100,
    "epochs": 2,
    "random_seed": 0,
}


def words(options: dict[str, Any]) -> list[str]:
    return [
        options["game"],
        *(f"--{name}={value}" for name, value in options.items() if name != "game"),
    ]


def test_a_game_that_ends_the_process_ends_the_run_with_its_name(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("own_classes.CatchGame.act", lambda *_: sys.exit(0))
    line = refused(capsys, 1, "train", *words(CATCH))
    assert "own_classes:CatchGame failed in act() at step 1: SystemExit: 0" in line


@pytest.mark.parametrize(
    ("wrong", "what"),
    [
        ({"observations": np.zeros((1, 7, 7), np.uint8)}, "observations, uint8 of shape (1, 36"),
        ({"observations": np.full((1, 36, 36), np.nan)}, "observations, uint8 of shape (1, 36"),
        ({"rewards": None}, "rewards, float32 of shape (1,)"),
        ({"rewards": np.full(1, np.inf)}, "rewards, finite and from"),
        ({"game_overs": None}, "game_overs, bool"),
    ],
)
def test_what_an_own_game_gives_is_checked_in_training_tests_and_films(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    root: Path,
    wrong: dict[str, Any],
    what: str,
) -> None:
    short = {"num_games": 1, "random_steps": 50, "train_steps": 20, "test_games": 1, "epochs": 1}
    own = words(CATCH | short | {"network": "mlp"})
    assert main(["train", *own]) == 0
    observe = CatchGame.observe
    monkeypatch.setattr(CatchGame, "render", lambda *_: np.zeros((36, 36, 3)), raising=False)
    monkeypatch.setattr(CatchGame, "observe", lambda game: observe(game)._replace(**wrong))
    known = [str(root / "snapshots/catch_1.safetensors"), "--allow_import=true"]
    for command in (["train", *own, "--overwrite=true"], ["test", *known], ["record", *known]):
        line = refused(capsys, 1, *command)
        assert "own_classes:CatchGame failed in observe() at step 1: ValueError: " in line
        assert f" in place of {what}" in line


@pytest.mark.parametrize("number", [1, 5])
@pytest.mark.parametrize("quantiles", [False, True])
def test_munchausen_equals_a_reference_by_hand(number: int, quantiles: bool) -> None:
    """Vieillard et al. 2020, equation 1, a transition at a time in float64."""
    temperature, scale, floor = 0.03, 0.9, -1.0
    network = make_network(
        datatype="float64",
        target="munchausen",
        distributional="qr" if quantiles else "none",
        pixel_mean=0.4,
        random_seed=number,
    )
    batch = make_batch(number)
    predict = network._target_network

    def outputs(state: np.ndarray) -> np.ndarray:
        """(num_actions, num_atoms)."""
        with torch.inference_mode():
            return predict(torch.as_tensor(state[None]))[0].numpy().reshape(3, -1)

    def log_policy(values: np.ndarray) -> np.ndarray:
        shifted = [v / temperature - max(values) / temperature for v in values]
        return np.array([v - np.log(sum(np.exp(w) for w in shifted)) for v in shifted])

    next_value = MunchausenValue(network._network, predict, network._head)
    with torch.no_grad():
        bonuses, nexts = next_value(*map(torch.as_tensor, (batch[0], batch[1], batch[3])))
    for index, (prestate, action, _, poststate, _, _) in enumerate(
        zip(*batch[:5], range(8), strict=True)
    ):
        log = log_policy(outputs(prestate).mean(1))[action]
        assert float(bonuses[index]) == pytest.approx(
            scale * min(max(temperature * log, floor), 0), abs=1e-10
        )
        of_actions = outputs(poststate)
        log_next = log_policy(of_actions.mean(1))
        expected = sum(
            np.exp(log_next[a]) * (of_actions[a] - temperature * log_next[a]) for a in range(3)
        )
        assert nexts[index].numpy() == pytest.approx(np.squeeze(expected), abs=1e-10)
    assert float(bonuses.min()) < -1e-4


@pytest.mark.parametrize("distributional", ["none", "qr"])
def test_munchausen_learns_catch(root: Path, distributional: str) -> None:
    Run(Settings(**CATCH, target="munchausen", distributional=distributional)).train()
    assert float(read_rows(root / "results" / "catch.csv")[-1]["average_reward"]) > 0.9


def test_implicit_quantiles_learn_resume_play_and_film(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A head in 80 lines outside the package; the resumed run equals one that was never stopped."""
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    options = CATCH | {"distributional": "iqn:IQN", "memory": "own_classes:OwnMemory"}
    assert main(["train", *words(options), "--writer", "own_classes:Rows"]) == 0
    rows = read_rows(root / "results" / "catch.csv")
    assert [row["phase"] for row in Rows.kept] == [row["phase"] for row in rows]
    assert float(rows[-1]["average_reward"]) > 0.9
    snapshot = root / "snapshots" / "catch_2.safetensors"
    assert refused(capsys, 1, "test", str(snapshot)).endswith("give --allow_import true")
    assert main(["test", str(snapshot), "--allow_import", "true"]) == 0

    never_stopped, in_between = load_file(snapshot), root / "snapshots" / "catch_1.safetensors"
    Run(Settings(**options | {"label": "b", "epochs": 1})).train()
    first = root / "snapshots" / "catch_b_1.safetensors"
    assert main(["resume", str(first), "--epochs", "2", "--allow_import", "true"]) == 0
    resumed = load_file(root / "snapshots" / "catch_b_2.safetensors")
    assert all(np.array_equal(resumed[name], array) for name, array in never_stopped.items())
    assert in_between.exists()

    breakout = ["train", "breakout", "--distributional", "iqn:IQN", "--network", "nips"]
    few = ["--random_steps=40", "--train_steps=40", "--test_steps=0", "--epochs=1"]
    assert main([*breakout, *few, "--replay_size=200", "--random_seed=1"]) == 0
    snapshot = root / "snapshots" / "breakout_1.safetensors"
    film = root / "film.mp4"
    record = ["record", str(snapshot), "--video_file", str(film), "--allow_import", "true"]
    assert main([*record, "--show_mind", "true", "--seconds", "1", "--random_seed", "1"]) == 0
    assert film.stat().st_size > 1000


class Watching(Callback):
    """Counts what it sees."""

    def __init__(self) -> None:
        self.phases: list[str] = []
        self.open = False

    def on_run_start(self, run: Any) -> None:
        assert run.settings.game == "catch"
        self.open = True

    def on_phase_start(self, phase: str, epoch: int, total: int, unit: str) -> None:  # noqa: ARG002
        self.phases.append(phase)

    def on_run_end(self) -> None:
        self.open = False


def test_the_same_from_python(root: Path) -> None:
    watching, rows = Watching(), Rows()
    short = CATCH | {"train_steps": 100, "test_games": 4}
    run = Run(Settings(**short), head=IQN, memory=OwnMemory, callbacks=[watching], writers=[rows])
    run.train()
    assert watching.phases == ["random", "train", "test", "train", "test"]
    assert not watching.open
    assert len(rows.kept) == 5
    options = read_snapshot(root / "snapshots" / "catch_2.safetensors").header["options"]
    assert options["distributional"] == "iqn:IQN"
    assert options["memory"] == "own_classes:OwnMemory"


def test_a_class_needs_a_name() -> None:
    with pytest.raises(UserError, match="define it at the top level of a module"):
        Run(Settings(**CATCH), head=lambda *_: IQN(*_))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--target=expected"], "--target expected needs --target_exploration_rate above 0"),
        (["--target=munchausen", "--n_step=3"], "--target munchausen needs --n_step 1"),
        (["--target=munchausen", "--distributional=c51"], "--target munchausen needs"),
        (
            ["--target=munchausen", "--target_exploration_rate=0.1"],
            "--target_exploration_rate does not go with --target munchausen",
        ),
        (["--target=double", "--target_steps=0"], "needs a target network"),
        (["--distributional=nowhere:Head"], "cannot import --distributional nowhere:Head"),
        (["--memory=own_classes:Nothing"], "cannot import --memory own_classes:Nothing"),
        (["--writer=own_classes:Nothing"], "cannot import --writer own_classes:Nothing"),
    ],
)
@pytest.mark.usefixtures("root")
def test_what_does_not_go_together(
    options: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert message in refused(capsys, 1, "train", *words(CATCH | {"test_games": 0}), *options)


@pytest.mark.parametrize(
    ("target", "other"),
    [
        ({"target": "double"}, {"double_q": True}),
        ({"target": "expected", "target_exploration_rate": 0.2}, {"target_exploration_rate": 0.2}),
        ({"memory": "prioritized"}, {"prioritized": True}),
    ],
)
def test_two_spellings_of_the_same(
    root: Path, target: dict[str, Any], other: dict[str, Any]
) -> None:
    short = CATCH | {"train_steps": 100, "test_games": 2, "epochs": 1}
    for label, options in (("a", target), ("b", other)):
        Run(Settings(**short, **options, label=label)).train()
    first, second = (
        load_file(root / "snapshots" / f"catch_{label}_1.safetensors") for label in "ab"
    )
    assert all(np.array_equal(first[name], second[name]) for name in first)


def test_the_example_of_the_readme(root: Path, tmp_path: Path) -> None:
    """It is at most 20 lines long, and a command learns with it."""
    text = (REPOSITORY / "README.md").read_text()
    found = re.search(r"```python\n# (\w+)\.py\n(.+?)```", text, re.DOTALL)
    assert found is not None
    assert len(found[2].splitlines()) <= 20
    (tmp_path / f"{found[1]}.py").write_text(found[2])
    command = re.search(rf"--target {found[1]}:\w+", text)
    assert command is not None
    options = "--random_steps=40 --train_steps=40 --test_steps=0 --epochs=1 --replay_size=200"
    arguments = [*command[0].split(), *options.split(), "--network=nips"]
    result = subprocess.run(
        [sys.executable, "-m", "simple_dqn", "train", "pong", *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=REPOSITORY,
        env={"PYTHONPATH": f"{tmp_path}:{REPOSITORY}", "SIMPLE_DQN_ROOT": str(root)},
    )
    assert result.returncode == 0, result.stderr
