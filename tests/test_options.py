"""The table of options: what it accepts and refuses, from wherever a value comes."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from helpers import HEADER
from test_play import Keyboard, make_play
from test_watched_game import make_console, make_game

from simple_dqn.checkpoints import snapshot
from simple_dqn.commands.arguments import arguments_of, merge, read_preset
from simple_dqn.errors import OptionError, UserError
from simple_dqn.options.command_line import make_parser, parse
from simple_dqn.options.commands import COMMANDS, PRESET
from simple_dqn.options.kinds import as_text
from simple_dqn.options.reference import fill
from simple_dqn.options.settings import KEPT, OPTIONS, Settings
from simple_dqn.statistics import COLUMNS

REPOSITORY = Path(__file__).parent.parent
DEFAULTS = Settings(game="pong")

WRITTEN: list[tuple[str, object, object]] = [
    ("epochs", "1e6", 1_000_000),
    ("epochs", "1_000_000", 1_000_000),
    ("epochs", "1,000,000", 1_000_000),
    ("epochs", 1e6, 1_000_000),
    ("epochs", 7, 7),
    ("replay_size", "123456789012", 123456789012),
    ("learning_rate", "1e-4", 0.0001),
    ("learning_rate", 1, 1.0),
    ("learning_rate_end", None, None),
    *[("dueling", word, True) for word in ("true", "yes", "1", "True", "YES", True, 1)],
    *[("dueling", word, False) for word in ("false", "no", "0", False, 0)],
    ("stochastic_round", "no", False),
    ("exploration_rate_end", "0.1", 0.1),
    ("exploration_rate_end", "0.02,0.1", (0.02, 0.1)),
    ("exploration_rate_end", [0.02, 0.1], (0.02, 0.1)),
    ("exploration_rate_end", (0, 1), (0.0, 1.0)),
    ("csv_file", "a/b.csv", Path("a/b.csv")),
    ("load_experience", "one.x", (Path("one.x"),)),
    ("load_experience", ["one.x", Path("two.x")], (Path("one.x"), Path("two.x"))),
    ("backend", "cpu", "cpu"),
    ("tensorboard", "no", False),
    ("tensorboard", "curves", Path("curves")),
    ("label", "a-b_c.1", "a-b_c.1"),
    ("layer_norm", True, "true"),
]
REFUSED: dict[str, tuple[object, ...]] = {
    "epochs": (-1, 1.5, "1,5", True, None, [3], "nan", "1e999999999"),
    "num_games": (0, "1e-999999999"),
    "frame_skip": (2147483648,),
    "screen_width": (35,),
    "random_seed": (-1, 2**32),
    "learning_rate": ("1e300", "inf", None, True, -0.1),
    "min_reward": ("-1e39",),
    "max_reward": ("nan",),
    "adam_epsilon": (0,),
    "exploration_rate_test": (2,),
    "exploration_rate_end": ([0.1, 0.02], [], [0, 0.1, 0.2], "0.1,2", ","),
    "pixel_mean": (1.5, "automatic"),
    "dueling": ("maybe", 2, None),
    "stochastic_round": (True,),
    "optimizer": ("sgd",),
    "distributional": ("iqn",),
    "network": ("wide", "64,", "0"),
    "observations": ("sounds",),
    "environment_options": ("{", "[]"),
    "backend": (["cpu"],),
    "csv_file": (3,),
    "tensorboard": (1.5,),
    "load_experience": ([3],),
    "label": ("a/b",),
    "game": ("", None),
}


@pytest.mark.parametrize(("name", "written", "meant"), WRITTEN)
def test_values_may_be_written_in_many_ways(name: str, written: object, meant: object) -> None:
    """In Python; text means the same on the command line."""
    value = getattr(dataclasses.replace(DEFAULTS, **{name: written}), name)
    assert value == meant
    assert type(value) is type(meant)
    if isinstance(written, str):
        words = [written] if name == "label" else [f"--{name}", written]
        assert getattr(merge(parse("train", ["pong", *words])), name) == meant


@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name, values in REFUSED.items() for value in values]
)
def test_other_values_are_refused(name: str, value: Any) -> None:
    values = {"game": "pong", name: value}
    with pytest.raises(OptionError, match=rf"^(--)?{name}: [^\n]+$"):
        Settings(**values)


def test_every_number_has_bounds() -> None:
    """The largest ones fit into 64 bits, also as sums over a run, or into a float32."""
    rows = [*OPTIONS, *(row for command in COMMANDS.values() for row in command.own)]
    numbers = [row for row in rows if row.type.metavar in {"N", "X", "N|all", "X|LOW,HIGH"}]
    assert len(numbers) > 35
    for row in numbers:
        for value in ("1e39", "-1e39", "9223372036854775807", "inf", "-inf", "nan"):
            if row.type.metavar == "X" and value.startswith("9"):
                continue
            with pytest.raises(OptionError, match=row.name):
                row.check(value)


@pytest.mark.parametrize("written", ["-1e38", "-1E3", "-.5", "-2", "-0.25", "-1_0.5e-1"])
def test_negative_numbers_may_be_written_in_any_way(written: str) -> None:
    for arguments in (["--min_reward", written], [f"--min_reward={written}"]):
        given = parse("train", ["pong", *arguments, "--epochs", "3"])
        assert given == {"game": "pong", "min_reward": float(written), "epochs": 3}


def test_defaults_are_what_their_rows_say() -> None:
    for row in OPTIONS[1:]:
        assert getattr(DEFAULTS, row.name) == row.default
        assert row.check(row.default) == row.default
        if row.default is not None and row.nargs is None:
            assert row.check(as_text(row.default)) == row.default


def test_every_option_has_a_group_and_a_short_help() -> None:
    rows = [*OPTIONS, PRESET, *(row for command in COMMANDS.values() for row in command.own)]
    for row in rows:
        assert 10 < len(row.help) <= 70
        assert not row.help.endswith(".")
    assert len(make_parser(COMMANDS["train"]).format_help().splitlines()) <= 130
    assert all(row.group for row in OPTIONS if not row.positional)
    names = [row.name for row in OPTIONS]
    assert len(set(names)) == len(names)


def test_what_a_snapshot_keeps_survives_its_header() -> None:
    settings = Settings(
        game="pong", exploration_rate_end=(0.01, 0.1), learning_rate_end=1e-5, epochs=3
    )
    header = json.loads(json.dumps(settings.kept()))
    assert Settings(game="pong", **header) == settings
    assert list(header) == sorted(header)
    gone = {"backend", "device_id", "native_kernels", "replay_device", "display_screen", "game"}
    assert not gone & set(header)
    assert len(header) == len(KEPT)


def make_snapshot(folder: Path, options: dict[str, object]) -> snapshot.Snapshot:
    path = folder / "pong_1.safetensors"
    snapshot.write_snapshot(path, {**HEADER, "label": "x", "options": options}, {})
    return snapshot.read_snapshot(path)


def test_command_line_before_preset_before_snapshot_before_default(tmp_path: Path) -> None:
    preset = tmp_path / "preset.toml"
    preset.write_text("epochs = 2\nn_step = 1e1\nexploration_rate_end = [0.1, 0.2]\n")
    older = {"epochs": 1, "n_step": 1, "history_length": 2, "init_weights": 5}
    loaded = make_snapshot(tmp_path, older)
    settings = merge({"epochs": 3}, preset=str(preset), snapshot=loaded)
    assert (settings.epochs, settings.n_step, settings.history_length) == (3, 10, 2)
    assert settings.exploration_rate_end == (0.1, 0.2)
    assert settings.batch_size == 32
    assert settings.label == "x"


def test_a_wrong_value_names_its_option_wherever_it_stands(tmp_path: Path) -> None:
    preset = tmp_path / "preset.toml"
    preset.write_text("epochs = -2\n")
    with pytest.raises(OptionError, match=r"preset\.toml: --epochs: -2 is out of range"):
        merge({"game": "pong"}, preset=str(preset))
    with pytest.raises(UserError, match=r"pong_1.* --n_step: 'x' is not a whole number"):
        merge({}, snapshot=make_snapshot(tmp_path, {"n_step": "x"}))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        *[(f"{name} = 'x'", "is not an option") for name in ("game", "nothing", "csv_file")],
        ("[nothing]\nx = 1", "is not an option"),
        ("overwrite = true", "is not an option"),
        ("epochs = \n", "cannot read preset"),
        (None, "give a TOML file or one of: cartpole, gpu, laptop, nature"),
    ],
)
def test_a_preset_has_options_only(tmp_path: Path, text: str | None, message: str) -> None:
    preset = tmp_path / "preset.toml"
    if text is not None:
        preset.write_text(text)
    with pytest.raises(UserError, match=message):
        read_preset(str(preset))


def test_a_game_alone_is_played_without_a_snapshot(tmp_path: Path) -> None:
    play = COMMANDS["play"]
    arguments = arguments_of(play, {"snapshot": "breakout", "show_mind": True})
    assert arguments["settings"] == Settings(game="breakout")
    assert arguments["snapshot"] is None
    assert arguments["show_mind"] is True
    assert arguments["display"] == "auto"
    loaded = make_snapshot(tmp_path, {"random_seed": 5, "epochs": 7})
    for name in ("play", "record"):  # each game is another one
        settings = arguments_of(COMMANDS[name], {"snapshot": loaded.path})["settings"]
        assert settings == Settings(game="pong", label="x", epochs=7)
    settings = arguments_of(COMMANDS["nvis"], {"snapshot": loaded.path})["settings"]
    assert settings.random_seed == 5


def test_the_reference_is_todays() -> None:
    """To mend it: python -m simple_dqn.options.reference scripts/README.md."""
    text = (REPOSITORY / "scripts" / "README.md").read_text()
    assert fill(text) == text
    of_runs = text.split("\n## The options of a run\n")[1]
    for row in (*OPTIONS, PRESET):
        assert row.positional or of_runs.count(f"| `--{row.name} ") == 1
    for name, command in COMMANDS.items():
        assert f"\n## {name}\n\n    scripts/{name}.sh {command.usage[len(name) + 1 :]} " in text
        for row in command.own:
            assert row.positional or f"| `--{row.name} " in text


def test_help_of_play_tells_the_keys() -> None:
    """Those that `Play` has, and the steering."""
    text = make_parser(COMMANDS["play"]).format_help().split("keys:")[1]
    message = {key for line in text.splitlines() for key in line[2:22].replace(",", " ").split()}
    play = make_play(make_game(make_console("pong")), Keyboard([]))
    names = {"escape": "Esc", "f12": "F12"}
    keys = {names.get(key, key) for key in play._keys} - {"close"}
    assert message == keys | {"f", "arrows", "or", "WASD", "space", "gamepad"}


def test_help_of_plot_lists_the_columns() -> None:
    text = make_parser(COMMANDS["plot"]).format_help().split("columns:")[1]
    assert tuple(text.replace(",", " ").split()) == COLUMNS


def test_true_needs_no_word() -> None:
    given = parse("train", ["pong", "--dueling", "--tensorboard", "--epochs", "3"])
    assert given == {"game": "pong", "dueling": True, "tensorboard": True, "epochs": 3}
    assert parse("play", ["--show_mind"]) == {"show_mind": True}
    for row in OPTIONS:
        assert (type(row.default) is bool) == row.type.metavar.startswith("BOOL")
