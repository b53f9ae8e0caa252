"""What a file may say: crafted snapshots, training states and presets, with right checksums."""

import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import HEADER, make_network

from simple_dqn.checkpoints.snapshot import Arrays, read_snapshot, write_snapshot
from simple_dqn.commands.arguments import merge
from simple_dqn.deep_q_network import DeepQNetwork
from simple_dqn.errors import UserError, refusing
from simple_dqn.main import main
from simple_dqn.options.schema import check_header, check_options
from simple_dqn.replay_memory import Minibatch

WHOLE: dict[str, Any] = {"format_version": 1, **HEADER}
PIECE = {"name": "pong_3.memory", "sha256": "0" * 64, "start": 0, "stop": 60}


def with_options(**options: object) -> dict[str, Any]:
    return {**WHOLE, "options": options}


def with_piece(**changes: object) -> dict[str, Any]:
    return {**WHOLE, "memory": {"total": 60, "pieces": [{**PIECE, **changes}]}}


REFUSED: list[tuple[object, str]] = [
    *[(value, "Expected `object`") for value in (None, [], "x", 3)],
    ({**WHOLE, "more": 1}, "unknown field `more`"),
    (
        {name: WHOLE[name] for name in WHOLE if name != "action_meanings"},
        "missing required field",
    ),
    *[({**WHOLE, "epoch": value}, "epoch: ") for value in (-1, 1.5, "x", None, 10**30, [])],
    ({**WHOLE, "total_time": float("nan")}, "total_time: "),
    *[({**WHOLE, "game": value}, "game: ") for value in ("../x", "/etc/passwd", "", 3, "a b")],
    ({**WHOLE, "game": "some_module:X-v0"}, "not the name of an Atari game"),
    *[({**WHOLE, "label": value}, "label: ") for value in ("../x", "a/b", "", [1])],
    *[({**WHOLE, "action_meanings": v}, "action_meanings") for v in ([], ["A"] * 257, [1], "UP")],
    ({**WHOLE, "versions": {"torch": ["x"]}}, "versions[...]: "),
    (with_options(num_games=0), "--num_games: 0 is out of range"),
    (with_options(no_such_option=1), "no_such_option = 1 is not an option that a file may set"),
    *[
        (
            with_options(**{name: "victim.txt"}),
            f"{name} = 'victim.txt' is not an option that a file",
        )
        for name in ("csv_file", "save_weights_prefix", "load_weights", "visualization_file")
    ],
    *[(with_options(overwrite=value), "overwrite") for value in (True, False)],
    *[
        (with_piece(name=name), "memory.pieces[0].name: ")
        for name in ("../a_1.memory", "/a_1.memory", "victim.txt", "a_1.safetensors", "..", 3)
    ],
    (with_piece(sha256="x"), "sha256: "),
    (with_piece(start=60), "does not hold 1 to 1000000 steps"),
    (with_piece(stop=10**15), "does not hold 1 to 1000000 steps"),
]


@pytest.mark.parametrize(("header", "message"), REFUSED)
def test_what_no_snapshot_says_is_refused(header: object, message: str) -> None:
    """Also as JSON, which is what a file holds."""
    with pytest.raises(UserError, match=r"^[^\n]+$") as refused:
        check_header(json.loads(json.dumps(header)))
    assert message in str(refused.value)


def test_a_header_comes_back_as_the_settings_have_it() -> None:
    options = {"frame_skip": "4", "learning_rate": 1, "exploration_rate_end": [0, 1]}
    header = with_piece() | {"options": {**options, "init_weights": "gone since"}}
    checked = check_header(header)
    expected = {"frame_skip": 4, "learning_rate": 1.0, "exploration_rate_end": [0.0, 1.0]}
    assert checked == {**header, "options": expected}
    assert [type(value) for value in checked["options"].values()] == [int, float, list]
    older = {name: value for name, value in header.items() if name != "memory"}
    assert "memory" not in check_header(older)
    assert check_options({}) == {}


@pytest.fixture
def canary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What a module `some_module` leaves where it is imported."""
    path = tmp_path / "canary"
    (tmp_path / "some_module.py").write_text(
        f"import pathlib\npathlib.Path({str(path)!r}).touch()\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "some_module", raising=False)
    return path


@pytest.mark.parametrize("command", ["test", "resume", "play", "record", "nvis"])
@pytest.mark.parametrize(
    ("game", "environment"), [("some_module:X-v0", "gym"), ("x", "some_module:X")]
)
@pytest.mark.usefixtures("root")
def test_a_snapshot_imports_a_module_when_the_user_says_so(
    command: str,
    game: str,
    environment: str,
    canary: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = tmp_path / "x_1.safetensors"
    header = {**HEADER, "game": game, "rom_md5": "", "options": {"environment": environment}}
    write_snapshot(path, header, {})
    assert main([command, str(path)]) == 1
    message = capsys.readouterr().err
    assert message.count("\n") == 1
    assert "--allow_import true" in message
    assert not canary.exists()
    assert merge({}, snapshot=read_snapshot(path), allow_import=True).game == game
    if command == "test":
        assert main(["test", str(path), "--allow_import", "true"]) == 1
        assert "some_module" in capsys.readouterr().err
        assert canary.exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ('{"a":' * 5000 + "1" + "}" * 5000, "20 brackets deep"),
        (json.loads('{"a":' * 500 + "1" + "}" * 500), "20 brackets deep"),
        ({"map": "secret.txt"}, "name a file; if that is as it should be"),
    ],
)
@pytest.mark.usefixtures("root")
def test_a_snapshot_names_no_file_and_is_of_bounded_depth(
    options: Any, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The file is a pipe, so that a run that opened it would wait."""
    os.mkfifo(tmp_path / "secret.txt")
    header = {**HEADER, "game": "simple_dqn/GridWorld-v0", "rom_md5": ""}
    header["options"] = {"environment": "gym", "environment_options": options}
    write_snapshot(path := tmp_path / "x_1.safetensors", header, {})
    assert main(["test", str(path)]) == 1
    assert message in capsys.readouterr().err
    if "map" in options:
        pipe = json.dumps({"map": str(tmp_path / "secret.txt")})
        assert main(["test", str(path), "--environment_options", pipe]) == 1
        assert "is a pipe or device; give a text file with a map" in capsys.readouterr().err


def test_other_types_than_a_networks_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "pong_1.safetensors"
    write_snapshot(path, HEADER, {"x": np.zeros(3, np.uint8)})
    with pytest.raises(UserError, match="arrays of types that no snapshot"):
        read_snapshot(path)


def test_a_message_is_one_line_that_a_terminal_obeys_not() -> None:
    text = str(UserError("a\nb\x1b[2J\udc80 é " + "x" * 5000))
    assert text.startswith("a\\nb\\x1b[2J\\udc80 é xxx")
    assert len(text) < 1100
    for raised in (ValueError("x"), RecursionError(), MemoryError()):
        with pytest.raises(UserError, match="bad file"), refusing("bad file"):
            raise raised
    with pytest.raises(UserError, match="itself"), refusing("bad file"):
        raise UserError("itself")


# ---- training states


def trained(**options: object) -> tuple[DeepQNetwork, Arrays]:
    network = make_network(**options)
    rng = np.random.default_rng(0)
    states = rng.integers(0, 255, (2, 8, 4, 36, 40), np.uint8)
    ones = np.ones(8)
    actions = rng.integers(0, 3, 8)
    network.train(Minibatch(states[0], actions, ones, ones, states[1], ones.astype("f4"), actions))
    return network, network.get_training_state()


@pytest.mark.parametrize("optimizer", ["rmsprop", "adam", "adadelta"])
@pytest.mark.parametrize("native_kernels", [False, True])
def test_a_training_state_of_other_shapes_is_refused(
    optimizer: str, *, native_kernels: bool
) -> None:
    """The kernels in C would write as many numbers as the weights have."""
    network, state = trained(optimizer=optimizer, native_kernels=native_kernels, batch_norm=False)
    network.set_training_state(state)
    squares = next(
        name for name in sorted(state) if name.endswith(("squared_gradient", "_sq", "e_avg"))
    )
    wrong: dict[str, np.ndarray[Any, Any] | None] = {
        "optimizer.7.x": np.zeros(1, np.float32),
        "optimizer.99.step": np.zeros((), np.float32),
        "optimizer.-1.step": np.zeros((), np.float32),
        "other": np.zeros(1),
        squares: None,
        "target.0.weight": np.zeros(1, np.float32),
    }
    for name, array in wrong.items():
        changed = {**state, name: array} if array is not None else {**state}
        if array is None:
            del changed[name]
        with pytest.raises(UserError, match=r"another network|neither target network nor"):
            network.set_training_state(changed)
    shapes = [(1,), (), (0,), (*state[squares].shape, 1), state[squares].shape[::-1]]
    for shape in shapes:
        with pytest.raises(UserError, match="another network"):
            network.set_training_state({**state, squares: np.zeros(shape, np.float32)})
    with pytest.raises(UserError, match="another network"):
        network.set_training_state({**state, squares: state[squares].astype(np.int64)})
    for number in (np.nan, np.inf, -1.0):
        array = state[squares].copy()
        array.flat[3] = number
        with pytest.raises(UserError, match="numbers that no training gives"):
            network.set_training_state({**state, squares: array})
    after = network.get_training_state()
    assert all(np.array_equal(after[name], value) for name, value in state.items())


def test_weights_are_finite_in_the_networks_own_type() -> None:
    network = make_network()
    weights = network.get_weights()
    for number in (np.nan, np.inf, 1e300):
        array = weights["0.bias"].astype(np.float64)
        array[1] = number
        with pytest.raises(UserError, match=r"0\.bias has numbers that no training gives"):
            network.set_weights({**weights, "0.bias": array})
