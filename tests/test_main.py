"""The commands from end to end, on the real emulator, with tiny networks and short phases."""

import os
import re
import shutil
import signal
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from catch import VectorCatch
from helpers import HEADER
from kill_driver import rows as read_rows

from simple_dqn.checkpoints import snapshot
from simple_dqn.commands.arguments import merge
from simple_dqn.deep_q_network import DeepQNetwork
from simple_dqn.environment import Environment, Observations
from simple_dqn.errors import UserError
from simple_dqn.files import locked
from simple_dqn.main import main
from simple_dqn.options.settings import Settings
from simple_dqn.replay_memory import Minibatch, ReplayMemory
from simple_dqn.run import run_parts
from simple_dqn.run.run import Run
from simple_dqn.statistics import Statistics

OPTIONS = (
    "--screen_width 36 --screen_height 36 --replay_size 2000 --random_steps 120 --train_steps 120 "
    "--test_steps 120 --epochs 2 --target_steps 50 --random_seed 0 --backend cpu"
)
TINY = OPTIONS.split()

pytestmark = pytest.mark.usefixtures("root")


def phases(csv_file: Path) -> list[tuple[str, str]]:
    return [(row["epoch"], row["phase"]) for row in read_rows(csv_file)]


def files(root: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()
    }


def refused(capsys: pytest.CaptureFixture[str], status: int, *arguments: str) -> str:
    """Run a command that must fail; its one line on stderr."""
    capsys.readouterr()
    ended: object
    try:
        ended = main(arguments)
    except SystemExit as stop:  # argparse's way
        ended = stop.code
    assert ended == status
    output, errors = capsys.readouterr()
    assert output == ""
    lines = [line for line in errors.splitlines() if not re.match(r"\d\d:\d\d:\d\d ", line)]
    assert len(lines) == 1, errors
    assert "Traceback" not in errors
    return lines[0]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The root folder of a run of two epochs."""
    folder = tmp_path_factory.mktemp("finished")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SIMPLE_DQN_ROOT", str(folder))
        patch.setattr(run_parts, "HELD_OUT_STATES", 3)
        assert main(["train", "pong", *TINY]) == 0
    return folder


@pytest.fixture
def trained(finished: Path, root: Path) -> str:
    """The last snapshot of a copy of that run."""
    shutil.copytree(finished, root, dirs_exist_ok=True)
    return str(root / "snapshots" / "pong_2.safetensors")


@pytest.mark.parametrize("num_games", ["1", "3"])
def test_train_test_resume_plot(
    root: Path, capsys: pytest.CaptureFixture[str], num_games: str
) -> None:
    options = [*TINY, "--num_games", num_games]
    assert main(["train", "pong", *options]) == 0
    results, snapshots = root / "results", root / "snapshots"
    csv_file = results / "pong.csv"
    rows = read_rows(csv_file)
    assert phases(csv_file) == [
        ("0", "random"),
        ("1", "train"),
        ("1", "test"),
        ("2", "train"),
        ("2", "test"),
    ]
    assert [row["weight_updates"] for row in rows] == ["0", "30", "30", "60", "60"]
    assert [row["replay_memory_count"] for row in rows] == ["120", "240", "240", "360", "360"]
    assert sorted(path.name for path in snapshots.iterdir()) == [
        ".pong.lock",
        "pong_0.memory",
        "pong_0.safetensors",
        "pong_1.memory",
        "pong_1.safetensors",
        "pong_2.memory",
        "pong_2.safetensors",
        "pong_2.training.safetensors",
    ]

    # test.sh gives each epoch's test row again.
    for epoch, row in (("1", rows[2]), ("2", rows[4])):
        again = root / f"again_{epoch}.csv"
        capsys.readouterr()
        arguments = ["test", str(snapshots / f"pong_{epoch}.safetensors"), "--csv_file", str(again)]
        assert main(arguments) == 0
        assert read_rows(again) == [row]
        assert "human-normalized" in capsys.readouterr().out or row["average_reward"] == "nan"

    # resume.sh continues; the rows so far stay.
    before = csv_file.read_text()
    last = str(snapshots / "pong_2.safetensors")
    assert main(["resume", last, "--epochs", "3"]) == 0
    assert csv_file.read_text().startswith(before)
    assert phases(csv_file)[5:] == [("3", "train"), ("3", "test")]
    assert read_rows(csv_file)[-1]["total_train_steps"] == "360"
    assert read_rows(csv_file)[-1]["weight_updates"] == "90"

    # It is neither a file for tests nor a snapshot.
    assert "CSV file of a run; give" in refused(
        capsys, 1, "test", last, "--csv_file", str(csv_file)
    )
    assert "is a CSV file; give a snapshot" in refused(capsys, 1, "test", str(csv_file))
    assert main(["plot", str(csv_file)]) == 0
    assert (results / "pong.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("num_games", ["1", "3"])
def test_same_seed_same_run(root: Path, num_games: str) -> None:
    """And another seed is another run."""
    options = [*TINY, "--num_games", num_games, "--epochs", "1"]
    for label, seed in (("a", "0"), ("b", "0"), ("c", "1")):
        assert main(["train", "breakout", label, *options, "--random_seed", seed]) == 0
    a, b, c = (read_rows(root / "results" / f"breakout_{label}.csv") for label in "abc")
    assert a == b != c
    first, second = (
        snapshot.read_snapshot(root / "snapshots" / f"breakout_{label}_1.safetensors").arrays
        for label in "ab"
    )
    assert first.keys() == second.keys()
    assert all(np.array_equal(first[name], second[name]) for name in first)


def test_two_runs_cannot_write_the_same_files(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A second run is refused while the first one's process lives."""
    (root / "snapshots").mkdir()
    with locked(root / "snapshots" / ".pong.lock", root / "snapshots" / "pong"):
        assert "another run" in refused(capsys, 1, "train", "pong", *TINY)


def test_nothing_is_overwritten_unasked(
    root: Path, trained: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = files(root)
    line = refused(capsys, 1, "train", "pong", *TINY)
    assert "LABEL" in line
    assert "resume.sh" in line
    assert "pong_2.safetensors" in line
    assert "--overwrite true" in line
    early = str(root / "snapshots" / "pong_1.safetensors")
    assert "pong_2.safetensors" in refused(capsys, 1, "resume", early)
    assert "give a larger --epochs" in refused(capsys, 1, "resume", trained)
    too_large = ["--replay_size", "10_000_000_000", "--overwrite", "true"]
    assert "fits" in refused(capsys, 1, "train", "pong", *TINY, *too_large)
    assert "fits" in refused(capsys, 1, "resume", early, *too_large)
    assert files(root) == before

    # If asked, it resumes from epoch 1, or begins again.
    assert main(["resume", early, "--overwrite", "true"]) == 0
    assert phases(root / "results" / "pong.csv") == [
        ("0", "random"),
        ("1", "train"),
        ("1", "test"),
        ("1", "refill"),  # an early epoch's replay memory is not kept
        ("2", "train"),
        ("2", "test"),
    ]
    assert main(["train", "pong", *TINY, "--epochs", "1", "--overwrite", "true"]) == 0
    assert phases(root / "results" / "pong.csv") == [("0", "random"), ("1", "train"), ("1", "test")]
    assert not (root / "snapshots" / "pong_2.safetensors").exists()


def test_whole_games_can_be_tested(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On no more emulators than games; without training, to save time."""
    make, numbers = run_parts.make_environment, dict[bool, int]()

    def make_environment(*args: Any, training: bool) -> Environment:
        made = make(*args, training=training)
        numbers[training] = made.num_games
        return made

    monkeypatch.setattr(run_parts, "make_environment", make_environment)
    options = [*TINY, "--train_steps", "0", "--random_steps", "0", "--epochs", "1"]
    assert main(["train", "pong", *options, "--test_games", "2", "--num_games", "3"]) == 0
    assert numbers == {True: 3, False: 2}
    (row,) = read_rows(root / "results" / "pong.csv")
    assert (row["phase"], row["nr_games"]) == ("test", "2")
    assert -21 <= float(row["min_game_reward"]) <= float(row["max_game_reward"]) < -10


def test_start_epoch_and_load_weights(root: Path, trained: str) -> None:
    more = ["--load_weights", trained, "--start_epoch", "1", "--learning_rate", "0"]
    assert main(["train", "pong", "more", *TINY, *more]) == 0
    rows = read_rows(root / "results" / "pong_more.csv")
    assert [(row["epoch"], row["total_train_steps"]) for row in rows] == [
        ("0", "120"),
        ("2", "240"),
        ("2", "240"),
    ]
    loaded = snapshot.read_snapshot(root / "snapshots" / "pong_more_2.safetensors")
    for name, weights in snapshot.read_snapshot(Path(trained)).arrays.items():
        np.testing.assert_array_equal(loaded.arrays[name], weights)


def test_loaded_weights_bring_their_network(root: Path) -> None:
    """The command with which the tool of 2015 tested a network, but for a line of other options."""
    network = "--network nips --dueling true --pixel_mean 0.4 --history_length 2 --epochs 1"
    assert main(["train", "pong", *TINY, *network.split()]) == 0
    trained = str(root / "snapshots" / "pong_1.safetensors")
    only_test = "--random_steps 0 --train_steps 0 --epochs 1 --test_steps 120 --random_seed 0"
    assert main(["train", "pong", "x", *only_test.split(), "--load_weights", trained]) == 0
    (test,) = read_rows(root / "results" / "pong_x.csv")
    assert test["meanq"] == read_rows(root / "results" / "pong.csv")[-1]["meanq"]


OF_OTHER_NETWORKS = [
    ("pixel_mean", "0.4", "trained with --pixel_mean 0 and cannot be used with 0.4"),
    ("screen_width", "39", "trained with --screen_width 36"),  # the same shapes of weights
    ("dueling", "true", "trained with --dueling false"),
    ("network", "mlp", "trained with --network nature"),
    ("distributional", "c51", "trained with --distributional none"),
    ("batch_norm", "true", "trained with --batch_norm false"),
    ("layer_norm", "true", "trained with --layer_norm false and cannot be used with true"),
    ("history_length", "2", "another network"),
    ("minimal_action_set", "false", "chooses among the actions NOOP FIRE RIGHT LEFT"),
]


def test_weights_are_of_the_network_that_is_asked_for(
    root: Path, trained: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whatever changes what the network is, sees or chooses among."""
    before = files(root)
    for option, value, message in OF_OTHER_NETWORKS:
        other = [f"--{option}", value]
        load = ["train", "pong", "x", *TINY, *other, "--load_weights", trained]
        assert message in refused(capsys, 1, *load)
        taken = option in {"screen_width", "minimal_action_set"}  # else the snapshot alone says
        for command in ("test", "record"):
            line = refused(capsys, 1 if taken else 2, command, trained, *other)
            assert (message if taken else f"no option --{option}") in line
    after = files(root)
    assert {name: after[name] for name in before} == before
    assert all(".lock" in name for name in after.keys() - before.keys())


def test_a_resumed_run_without_target_network_keeps_its_weights(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also the other way round: then the target network begins as a copy of the network."""
    never = ["--train_frequency", "100000"]
    assert main(["train", "pong", *TINY, "--epochs", "1", "--target_steps", "1000000"]) == 0
    first = root / "snapshots" / "pong_1.safetensors"
    state = snapshot.read_snapshot(root / "snapshots" / "pong_1.training.safetensors").arrays
    weights = snapshot.read_snapshot(first).arrays
    assert not np.array_equal(state["target.0.weight"], weights["0.weight"])
    capsys.readouterr()
    assert main(["resume", str(first), "--epochs", "2", "--target_steps", "0", *never]) == 0
    assert "target network" not in capsys.readouterr().err
    second = snapshot.read_snapshot(root / "snapshots" / "pong_2.safetensors")
    state = snapshot.read_snapshot(root / "snapshots" / "pong_2.training.safetensors").arrays
    assert not [name for name in state if name.startswith("target.")]
    for name, array in weights.items():
        np.testing.assert_array_equal(second.arrays[name], array)
    resume = ["resume", str(second.path), "--epochs", "3", "--target_steps", "1000000", *never]
    assert main(resume) == 0
    assert "not restored: the target network, since the run had none" in capsys.readouterr().err
    state = snapshot.read_snapshot(root / "snapshots" / "pong_3.training.safetensors").arrays
    for name, array in weights.items():
        np.testing.assert_array_equal(state[f"target.{name}"], array)


@pytest.mark.usefixtures("trained")
def test_resuming_with_another_optimizer(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It begins afresh; from each to each other kind of state."""
    kinds = ["rmsprop", "adam", "rmsprop", "adadelta"]
    for epoch, (before, now) in enumerate(pairwise(kinds), start=2):
        path = str(root / "snapshots" / f"pong_{epoch}.safetensors")
        assert main(["resume", path, "--epochs", str(epoch + 1), "--optimizer", now]) == 0
        errors = capsys.readouterr().err
        assert f"changed: optimizer {before} -> {now}" in errors
        assert "not restored: the optimizer, since --optimizer changed" in errors


def test_the_pixel_mean_is_measured(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The run is that with this number given by hand, and the number is the screens' mean."""
    auto = ["--pixel_mean", "auto", "--num_games", "2"]
    assert main(["train", "pong", *TINY, *auto]) == 0
    last = root / "snapshots" / "pong_2.safetensors"
    kept = snapshot.read_snapshot(last)
    measured = kept.header["options"]["pixel_mean"]
    assert f"pixel mean {measured:.4f}" in capsys.readouterr().err
    seen = []
    add = ReplayMemory.add

    def see(memory: ReplayMemory, observations: Observations, *others: Any) -> None:
        if memory.total < 120 // 2:  # steps of each game in the random phase
            seen.append(observations.mean() / 255)
        add(memory, observations, *others)

    monkeypatch.setattr(ReplayMemory, "add", see)
    assert main(["train", "pong", "by_hand", *TINY, *auto, "--pixel_mean", str(measured)]) == 0
    assert len(seen) == 60
    # The memory has the screen before a phase's first step, not that after its last one.
    assert measured == pytest.approx(np.mean(seen), abs=2 / 60)
    assert 0.1 < measured < 0.9
    assert read_rows(root / "results" / "pong.csv") == read_rows(root / "results/pong_by_hand.csv")
    by_hand = snapshot.read_snapshot(root / "snapshots" / "pong_by_hand_2.safetensors")
    assert by_hand.header["options"] == kept.header["options"]
    for name, values in kept.arrays.items():
        np.testing.assert_array_equal(values, by_hand.arrays[name])
    # A snapshot has a number already, whatever a preset says.
    again = root / "again.csv"
    assert main(["test", str(last), "--csv_file", str(again)]) == 0
    assert read_rows(again)[0]["meanq"] == read_rows(root / "results" / "pong.csv")[-1]["meanq"]
    assert main(["resume", str(last), "--pixel_mean", "auto", "--epochs", "3"]) == 0
    third = snapshot.read_snapshot(root / "snapshots" / "pong_3.safetensors")
    assert third.header["options"]["pixel_mean"] == measured
    settings = Settings(game="pong", pixel_mean="auto", screen_width=36, screen_height=36)
    with pytest.raises(UserError, match="was trained with --pixel_mean"):
        Run(settings, kept).test()


def test_numbers_have_no_pixel_mean(monkeypatch: pytest.MonkeyPatch) -> None:
    """The observations of this game are not pictures."""
    monkeypatch.setattr(run_parts, "make_environment", lambda *_, **__: VectorCatch(num_games=1))
    settings = Settings(
        game="pong", pixel_mean="auto", network="mlp", random_steps=50, replay_size=100, epochs=0
    )
    run = Run(settings)
    run.train()
    assert run.settings.pixel_mean == 0


def test_preset_gpu_trains(root: Path) -> None:
    """With small numbers: its options fit together, in training, resuming and testing."""
    preset = "gpu"
    small = "--num_games 4 --replay_size 600 --random_steps 80 --train_steps 80 --test_games 0"
    options = f"--preset {preset} {small} --test_steps 40 --random_seed 0".split()
    assert main(["train", "pong", preset, *options, "--epochs", "1"]) == 0
    snapshot_file = str(root / "snapshots" / f"pong_{preset}_1.safetensors")
    assert main(["resume", snapshot_file, "--epochs", "2"]) == 0
    rows = read_rows(root / "results" / f"pong_{preset}.csv")
    assert [row["phase"] for row in rows] == ["random", "train", "test", "train", "test"]
    assert int(rows[-2]["weight_updates"]) > int(rows[1]["weight_updates"]) > 0
    again = root / "again.csv"
    last = str(root / "snapshots" / f"pong_{preset}_2.safetensors")
    assert main(["test", last, "--csv_file", str(again)]) == 0
    assert read_rows(again)[0]["meanq"] == rows[-1]["meanq"]


def test_preset_nature_is_the_defaults(root: Path) -> None:
    """Also where the snapshot says otherwise; the command line wins."""
    assert merge({"game": "pong"}, preset="nature") == Settings(game="pong")
    path = root / "pong_1.safetensors"
    options = {"optimizer": "adam", "epochs": 3, "environment": "gym", "random_seed": 7}
    snapshot.write_snapshot(path, {**HEADER, "options": options}, {})
    loaded = snapshot.read_snapshot(path)
    settings = merge({"train_steps": 5}, preset="nature", snapshot=loaded)
    expected = Settings(game="pong", environment="gym", random_seed=7, train_steps=5)
    assert settings == expected


def test_impossible_combinations_are_refused(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for options, hint in (
        ("--replay_size 20", "--replay_size is too small"),
        ("--replay_size 10_000_000_000", "fits"),
        ("--min_reward 2", "--max_reward"),
        ("--double_q true --target_steps 0", "--target_steps"),
        ("--batch_norm true --batch_size 1", "--batch_size"),
        ("--distributional c51 --max_reward 100", "--max_reward"),
        ("--until_score 1 --test_steps 0", "--until_score needs tests; give --test_steps or"),
        ("--pixel_mean auto --random_steps 0", "give more --random_steps or a number"),
        ("--backend gpu --device_id 99", "--backend cpu"),
        ("--load_weights nowhere.safetensors", "nowhere.safetensors"),
        ("--start_epoch 5 --epochs 5", "--start_epoch 5 leaves nothing to train of --epochs 5"),
    ):
        assert hint in refused(capsys, 1, "train", "pong", *TINY, *options.split())
    assert not any(name.endswith((".csv", ".safetensors")) for name in files(root))


def test_bad_snapshots_are_refused(
    root: Path, trained: str, capsys: pytest.CaptureFixture[str]
) -> None:
    content = bytearray(Path(trained).read_bytes())
    content[len(content) // 2] ^= 1
    (root / "flipped_1.safetensors").write_bytes(content)
    (root / "pong_1.pkl").write_bytes(b"\x80\x04.")
    before = files(root)
    for command in ("test", "resume", "play", "record", "nvis"):
        assert "damaged" in refused(capsys, 1, command, f"{root}/flipped_1.safetensors")
        assert "pickle" in refused(capsys, 1, command, f"{root}/pong_1.pkl")
        assert "there is no such file" in refused(
            capsys, 1, command, "snapshots/missing_1.safetensors"
        )
    assert files(root) == before
    other_game = refused(capsys, 1, "train", "breakout", *TINY, "--load_weights", trained)
    assert "pong" in other_game
    assert "breakout" in other_game
    foreign = root / "foreign.csv"
    foreign.write_text("a,b\n1,2\n")
    assert "foreign.csv" in refused(capsys, 1, "test", trained, "--csv_file", str(foreign))
    assert foreign.read_text() == "a,b\n1,2\n"


def test_only_plain_files_are_opened(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Opening a pipe waits. NB! No device here: as root a test that fails might replace it."""
    pipe, trained = str(root / "pipe"), str(root / "pong_1.safetensors")
    os.mkfifo(pipe)
    snapshot.write_snapshot(Path(trained), HEADER, {})
    for command in (
        ["plot", pipe],
        ["test", trained, "--csv_file", pipe],
        ["train", "pong", *TINY, "--csv_file", pipe],
        ["train", "pong", *TINY, "--preset", pipe],
        ["train", "pong", *TINY, "--load_experience", pipe],
    ):
        assert "is a pipe or device; " in refused(capsys, 1, *command)


def test_divergence_stops_the_run_and_keeps_the_last_good_snapshot(
    root: Path, trained: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = files(root)
    options = ["--epochs", "3", "--learning_rate", "1e30"]
    assert "--learning_rate" in refused(capsys, 1, "resume", trained, *options)
    assert files(root) == before


def test_weights_that_the_last_update_of_an_epoch_broke_are_not_written(
    root: Path, trained: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The loss of that update, from before it, is finite still."""
    before = files(root / "snapshots")
    learn = DeepQNetwork.train

    def train(self: DeepQNetwork, minibatch: Minibatch) -> None:
        if self.weight_updates == 89:
            self.set_learning_rate(float("inf"))
        learn(self, minibatch)

    monkeypatch.setattr(DeepQNetwork, "train", train)
    line = refused(capsys, 1, "resume", trained, "--epochs", "3")
    assert "--learning_rate" in line
    assert "weight update 90" in line
    assert files(root / "snapshots") == before


def test_ctrl_c_leaves_everything_whole(
    root: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The signal comes in the middle of epoch 2's training; the line names what there is."""
    observe = Statistics.on_step

    def on_step(self: Statistics, *args: object) -> None:
        observe(self, *args)  # type: ignore[arg-type]
        if self.total_train_steps == 150:
            raise KeyboardInterrupt

    monkeypatch.setattr(Statistics, "on_step", on_step)
    csv_file = root / "results" / "pong.csv"
    line = refused(capsys, 130, "train", "pong", *TINY)
    assert line == (
        f"simple_dqn: interrupted; finished phases are in {csv_file}; scripts/resume.sh "
        f"{root / 'snapshots' / 'pong_1.safetensors'} continues the run"
    )
    assert phases(csv_file) == [("0", "random"), ("1", "train"), ("1", "test")]
    assert csv_file.read_text().endswith("\n")
    monkeypatch.undo()
    monkeypatch.setenv("SIMPLE_DQN_ROOT", str(root))
    assert main(["resume", str(root / "snapshots" / "pong_1.safetensors")]) == 0
    assert phases(csv_file)[-1] == ("2", "test")


def test_ctrl_c_before_the_first_epoch_promises_no_snapshot(
    root: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Statistics, "on_step", lambda *_: signal.raise_signal(signal.SIGTERM))
    line = refused(capsys, 130, "train", "pong", *TINY)
    assert line == "simple_dqn: interrupted; there is no snapshot yet to resume from"
    assert not [name for name in files(root) if not name.endswith(".lock")]


@pytest.mark.parametrize("kind", [signal.SIGTERM, signal.SIGHUP])
def test_a_caller_from_python_keeps_its_signal_handlers(
    kind: signal.Signals, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """During the command a signal interrupts it as Ctrl-C does."""

    def caller(*_: object) -> None: ...

    monkeypatch.setattr("simple_dqn.main._run", lambda *_: signal.raise_signal(kind))
    found = signal.signal(kind, caller)
    try:
        assert refused(capsys, 130, "plot", "pong.csv") == "simple_dqn: interrupted"
        assert signal.getsignal(kind) is caller
    finally:
        signal.signal(kind, found)


def test_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert "train" in capsys.readouterr().err
    assert main(["--help"]) == 0
    assert "resume" in capsys.readouterr().out
    assert main(["--version"]) == 0
    assert re.fullmatch(r"simple_dqn \d+\.\d+\.\d+\n", capsys.readouterr().out)
    assert main(["help"]) == 0
    for words in ("train --help", "help train", "--help train"):
        capsys.readouterr()
        with pytest.raises(SystemExit) as stop:
            main(words.split())
        assert stop.value.code == 0
        assert "--target_steps" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        ("trian pong", 2, "there is no command trian, did you mean train?"),
        ("help trian", 2, "there is no command trian, did you mean train?"),
        ("test x --games 30", 2, "or --test_games? --help shows the options"),
        ("nvis x --filters 4", 2, "did you mean --visualization_filters?"),
        ("plot x.png", 1, "x.png is a picture; give the CSV file of a run"),
        ("train pong --epoch 5", 2, "there is no option --epoch, did you mean --epochs"),
        ("train pong --learning-rate=1", 2, "no option --learning-rate, did you mean --learning_r"),
        ("train pong --epochs 1.5", 2, "--epochs: '1.5' is not a whole number; --help"),
        ("train CartPole-v1", 1, "a Gymnasium environment needs its id and --environment gym"),
        ("train brekout", 1, "did you mean breakout? "),
        ("test pong_s1", 1, "did you mean {root}/snapshots/pong_s1_11.safetensors?"),
        ("play pong_s1_11", 1, "did you mean {root}/snapshots/pong_s1_11.safetensors?"),
        ("play xyz", 1, "try pong"),
        ("resume x.safetensors --load_weights y", 2, "there is no option --load_weights"),
    ],
)
def test_mistakes_are_led_to_what_works(
    root: Path, capsys: pytest.CaptureFixture[str], arguments: str, status: int, message: str
) -> None:
    (root / "snapshots").mkdir()
    for name in ("pong_s1_11", "pong_s1_11.training", "breakout_3"):
        (root / "snapshots" / f"{name}.safetensors").touch()
    line = refused(capsys, status, *arguments.split())
    assert message.format(root=root) in line
    assert "training" not in line


@pytest.mark.parametrize(
    ("optimizer", "native_kernels"),
    [("rmsprop", "true"), ("adam", "false")],
)
def test_the_learning_rate_goes_down_epoch_by_epoch(
    root: Path, optimizer: str, native_kernels: str
) -> None:
    """From 0.001 over 0.0005 to 0: the last of three epochs changes nothing any more."""
    options = [*TINY, "--network", "nips", "--optimizer", optimizer, "--test_steps", "0"]
    options += ["--native_kernels", native_kernels, "--learning_rate", "0.001", "--epochs", "3"]
    assert main(["train", "pong", *options, "--learning_rate_end", "0"]) == 0
    assert main(["train", "pong", "same", *options]) == 0

    def weights(name: str) -> bytes:
        arrays = snapshot.read_snapshot(root / "snapshots" / f"{name}.safetensors").arrays
        return b"".join(arrays[key].tobytes() for key in sorted(arrays))

    assert weights("pong_1") == weights("pong_same_1")
    assert weights("pong_1") != weights("pong_2") != weights("pong_same_2")
    assert weights("pong_2") == weights("pong_3")
    assert weights("pong_same_2") != weights("pong_same_3")


def test_places_that_cannot_be_written_are_found_before_the_first_step(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Folders in place of names, names that are too long, files in place of folders."""
    (root / "folder").mkdir()
    (root / "results" / "pong_taken.csv").mkdir(parents=True)
    for arguments, message in (
        (["--save_weights_prefix", "."], "--save_weights_prefix . is a folder"),
        (["--save_weights_prefix", f"{root}/folder/"], "folder is a folder; give the beginning"),
        (["x" * 300], "File name too long"),
        (["--csv_file", f"{root}/{'x' * 250}/{'x' * 256}"], "File name too long"),
        (["--csv_file", f"{root}/folder"], "is a folder; name a file"),
        (["taken"], "is a folder; name a file"),
    ):
        assert message in refused(capsys, 1, "train", "pong", *arguments, *TINY)
    assert not [path for path in root.rglob("*") if path.is_file()]
    for folder in ("results", "snapshots"):
        shutil.rmtree(root / folder, ignore_errors=True)
        (root / folder).write_text("a file where a folder is needed")
        assert str(root / folder) in refused(capsys, 1, "train", "pong", *TINY)
        (root / folder).unlink()


def test_an_earlier_run_is_removed_as_a_whole_or_not_at_all(
    root: Path, trained: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder stands for a file that cannot be removed; a small disk is told of at the start."""
    blocked = Path(trained).with_name("pong_7.safetensors")
    blocked.mkdir()
    before = files(root)
    line = refused(capsys, 1, "train", "pong", *TINY, "--overwrite", "true")
    assert line == f"simple_dqn: cannot write {blocked}: it is a folder; nothing was changed"
    assert files(root) == before
    blocked.rmdir()
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1000))
    assert main(["train", "pong", *TINY, "--overwrite", "true"]) == 0
    assert re.search(r"2 snapshots take \d MB, the disk has 0; give", capsys.readouterr().err)
