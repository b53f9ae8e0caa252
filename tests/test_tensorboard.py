"""Curves for TensorBoard, read back by TensorBoard's own reader."""

import shutil
from pathlib import Path
from typing import Any

import pytest
from kill_driver import rows
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from simple_dqn.commands.train import watched_run
from simple_dqn.errors import UserError
from simple_dqn.main import main
from simple_dqn.options.settings import Settings

Curves = dict[str, list[tuple[int, float]]]
OPTIONS: dict[str, Any] = {
    "game": "CartPole-v1",
    "environment": "gym",
    "network": "8",
    "replay_size": 2_000,
    "random_steps": 200,
    "train_steps": 1_200,
    "test_games": 3,
    "epochs": 2,
    "random_seed": 5,
    "exploration_decay_steps": 2_000,
    "learning_rate": 0.002,
    "learning_rate_end": 0.001,
}
FOLDER = Path("results") / "tensorboard" / "CartPole-v1"


def reader(folder: Path) -> EventAccumulator:
    accumulator = EventAccumulator(str(folder), size_guidance={"scalars": 0, "tensors": 0})
    accumulator.Reload()
    return accumulator


def curves(folder: Path) -> Curves:
    """The points that TensorBoard shows, by tag."""
    read = reader(folder)
    tags = read.Tags()["scalars"]
    return {tag: [(event.step, event.value) for event in read.Scalars(tag)] for tag in tags}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run with curves that was never stopped."""
    root = tmp_path_factory.mktemp("root")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SIMPLE_DQN_ROOT", str(root))
        watched_run(Settings(**OPTIONS, tensorboard=True)).train()
    return root


def test_curves_are_those_of_the_csv_and_finer(trained: Path) -> None:
    """Points every 1,000 steps and at an epoch's end, under the tags of Stable-Baselines3."""
    found = curves(trained / FOLDER)
    table = rows(trained / "results" / "CartPole-v1.csv")
    by_phase = {(row["phase"], int(row["epoch"])): row for row in table}
    within = [1000, 1200, 2200, 2400]
    assert {tag: [step for step, _ in points] for tag, points in found.items()} == {
        "rollout/ep_rew_mean": [0, *within],
        "rollout/exploration_rate": [0, *within],
        "time/fps": [0, *within],
        "train/loss": within,
        "train/learning_rate": within,
        "train/n_updates": within,
        "train/mean_q": [0, 1200, 2400],
        "train/dead_units": [0, 1200, 2400],
        "eval/mean_reward": [1200, 2400],
    }
    values = {tag: dict(points) for tag, points in found.items()}
    assert values["train/learning_rate"] == pytest.approx(
        dict.fromkeys(within[:2], 0.002) | dict.fromkeys(within[2:], 0.001)
    )
    assert all(fps > 0 for fps in values["time/fps"].values())
    random = by_phase["random", 0]
    assert values["rollout/ep_rew_mean"][0] == pytest.approx(float(random["average_reward"]))
    first = by_phase["train", 1]
    assert int(first["nr_games"]) < 100
    assert values["rollout/ep_rew_mean"][1200] == pytest.approx(float(first["average_reward"]))
    updates = 0
    for epoch, steps in ((1, within[:2]), (2, within[2:])):
        train, test = by_phase["train", epoch], by_phase["test", epoch]
        last = steps[-1]
        assert values["eval/mean_reward"][last] == pytest.approx(float(test["average_reward"]))
        assert values["train/mean_q"][last] == pytest.approx(float(train["meanq"]), abs=1e-5)
        assert values["train/dead_units"][last] == pytest.approx(float(train["dead_units"]))
        rate = float(train["last_exploration_rate"])
        assert values["rollout/exploration_rate"][last] == pytest.approx(rate, abs=1e-5)
        assert values["train/n_updates"][last] == int(train["weight_updates"])
        # The losses between points, each times its updates, add up to the loss of the phase.
        cost, before = 0.0, updates
        for step in steps:
            done = int(values["train/n_updates"][step])
            cost += (done - updates) * values["train/loss"][step]
            updates = done
        assert cost / (updates - before) == pytest.approx(float(train["meancost"]), abs=2e-6)
    (event,) = reader(trained / FOLDER).Tensors("hyperparameters/text_summary")
    text = event.tensor_proto.string_val[0].decode()
    assert "| option | value |\n|---|---|\n| game | CartPole-v1 |" in text
    assert "| double_q | false |\n" in text
    assert "| label |  |\n" in text


def test_curves_change_nothing(trained: Path, root: Path) -> None:
    watched_run(Settings(**OPTIONS)).train()
    assert not (root / FOLDER.parent).exists()
    csv_file, others = Path("results/CartPole-v1.csv"), {"meanq", "dead_units"}  # of other states
    first, second = (
        [{k: v for k, v in row.items() if k not in others} for row in rows(place / csv_file)]
        for place in (trained, root)
    )
    assert first == second


def exact(found: Curves) -> Curves:
    """The curves without times, and without the mean over latest games, which starts again."""
    inexact = ("time/fps", "train/mean_q", "train/dead_units", "rollout/ep_rew_mean")
    return {tag: points for tag, points in found.items() if tag not in inexact}


def test_a_resumed_run_continues_the_same_curves(trained: Path, root: Path) -> None:
    """Points after the snapshot are replaced, also behind what kill -9 left half written."""
    watched_run(Settings(**OPTIONS | {"epochs": 1}, tensorboard=True)).train()
    (events,), (later,) = (root / FOLDER).iterdir(), (trained / FOLDER).iterdir()
    # As if the run had been killed after the second epoch's last point, and before its snapshot.
    events.write_bytes(later.read_bytes() + b"\x10\0\0\0\0\0\0\0abcd")  # half a record
    snapshot = root / "snapshots" / "CartPole-v1_1.safetensors"
    assert main(["resume", str(snapshot), "--epochs", "2", "--tensorboard", "true"]) == 0
    assert len(list((root / FOLDER).iterdir())) == 2
    found = curves(root / FOLDER)
    assert exact(found) == exact(curves(trained / FOLDER))
    for points in found.values():
        steps = [s for s, _ in points]
        assert steps == sorted(set(steps))


def test_a_run_that_replaces_another_begins_new_curves(trained: Path, root: Path) -> None:
    shutil.copytree(trained, root, dirs_exist_ok=True)
    short = OPTIONS | {"epochs": 1, "train_steps": 500, "test_games": 0, "test_steps": 0}
    watched_run(Settings(**short, tensorboard=True, overwrite=True)).train()
    assert [step for step, _ in curves(root / FOLDER)["train/loss"]] == [500]


def test_a_folder_can_be_named(root: Path, tmp_path: Path) -> None:
    folder = tmp_path / "my curves"
    short = OPTIONS | {"epochs": 1, "train_steps": 500}
    watched_run(Settings(**short, label="a", tensorboard=folder, save_memory=False)).train()
    assert [step for step, _ in curves(folder / "CartPole-v1_a")["eval/mean_reward"]] == [500]
    assert not (root / "results" / "tensorboard").exists()
    snapshot = root / "snapshots" / "CartPole-v1_a_1.safetensors"
    assert main(["resume", str(snapshot), "--epochs", "2", "--tensorboard", str(folder)]) == 0
    found = curves(folder / "CartPole-v1_a")["train/mean_q"]  # none of the refilled memory
    assert [step for step, _ in found] == [0, 500, 1000]
    min((folder / "CartPole-v1_a").iterdir()).unlink()  # nothing depends on how many there are
    second = str(snapshot).replace("_1.", "_2.")
    assert main(["resume", second, "--epochs", "3", "--tensorboard", str(folder)]) == 0
    assert [step for step, _ in curves(folder / "CartPole-v1_a")["train/mean_q"]] == [1000, 1500]


def test_an_unusable_folder_is_refused_before_anything_is_written(
    root: Path, tmp_path: Path
) -> None:
    file = tmp_path / "file"
    file.touch()
    message = f"cannot write into {file}/CartPole-v1: .* choose another folder with --tensorboard$"
    with pytest.raises(UserError, match=message):
        watched_run(Settings(**OPTIONS, tensorboard=file)).train()
    assert [path for path in root.rglob("*") if path.is_file() and path.suffix != ".lock"] == []
