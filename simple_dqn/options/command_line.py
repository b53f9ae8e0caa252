"""Command lines: which commands there are, what each takes, mistakes told in one clear line.

Nothing here needs torch, an emulator or NumPy: help and mistakes come at once.
"""

import argparse
import dataclasses
import difflib
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from simple_dqn import streams
from simple_dqn.options.settings import (
    BOOLEAN,
    OPTIONS,
    TEXT,
    Kind,
    Option,
    as_text,
    choice,
    integer,
    number,
    path,
)

PRESET = Option(
    "preset",
    None,
    Kind(TEXT.check, "NAME|FILE"),
    "values of options that hold where the command line says nothing: nature, laptop, gpu, "
    "cartpole, or a TOML file",
    group="main loop",
)
GAME, LABEL = OPTIONS[:2]
(_SEED,) = (row for row in OPTIONS if row.name == "random_seed")
_NEGATIVE = re.compile(r"-(\.?\d|inf|nan)", re.IGNORECASE)


class Command(NamedTuple):
    """A command.

    Attributes:
        name: as it is called, and as its function in `simple_dqn.commands` is.
        summary: what it does, in a line.
        own: arguments and options that are no options of a run.
        run_options: whether it takes the options of a run.
        not_from_snapshot: options whose values in a snapshot do not count.
        without: options of a run that the command does not take.
        only: the options of a run that do something in this command; None: all do.
        more: what the end of its help tells.
        extra: libraries that only this command needs.
    """

    name: str
    summary: str
    own: tuple[Option, ...] = ()
    run_options: bool = True
    not_from_snapshot: frozenset[str] = frozenset()
    without: frozenset[str] = frozenset()
    only: frozenset[str] | None = None
    more: str = ""
    extra: tuple[str, ...] = ()

    @property
    def usage(self) -> str:
        """The command with its arguments: `train GAME [LABEL]`."""
        words = [self.name]
        for row in self.own:
            if row.positional:
                word = f"{row.kind.metavar}..." if row.nargs == "+" else row.kind.metavar
                words.append(f"[{word}]" if row.nargs == "?" else word)
        return " ".join(words)


def _snapshot_or_game(value: str) -> Path | str:
    found = Path(value)
    return found if found.suffix in {".safetensors", ".pkl"} else value


def _number_or_all(value: object) -> int | None:
    return None if value in {None, "all"} else int(integer(1, 10_000)(value))


def _seeds(value: object) -> tuple[int, ...]:
    """A number N means the seeds 1 to N; several numbers mean themselves."""
    first, *others = str(value).split(",")
    if not others:
        return tuple(range(1, int(integer(1, 1000)(first)) + 1))
    seeds = [int(_SEED.kind(text)) for text in (first, *others) if text]
    if len(set(seeds)) < len(seeds):
        raise argparse.ArgumentTypeError(f"{str(value)!r} names a seed twice")
    return tuple(seeds)


def _row(name: str, default: object) -> Option:
    """An option of a run, as an option of a command of its own."""
    (row,) = (row for row in OPTIONS if row.name == name)
    return dataclasses.replace(row, default=default, help=row.help.split(" (Nature")[0])


_SNAPSHOT = Option(
    "snapshot",
    None,
    path("SNAPSHOT"),
    "snapshot of a network: snapshots/<game>[_<label>]_<epoch>.safetensors",
    positional=True,
)
_BEGINNING = frozenset({"load_weights", "start_epoch"})  # a snapshot says where to begin
ALLOW_IMPORT = Option(
    "allow_import",
    False,
    BOOLEAN,
    "true: the Python module that the snapshot of a game `module:Id` or of an environment "
    "`module:Class` names is imported, which runs its code; false: such a snapshot is refused",
)
_OF_SNAPSHOT = (_SNAPSHOT, ALLOW_IMPORT)
_SHOW_MIND = Option(
    "show_mind",
    False,
    BOOLEAN,
    "true: beside the game stand the Q-values, their course, what the network sees and which "
    "pixels of it speak for the chosen action",
)

# The options of a run that say how a trained network plays; all others say how one learns.
_PLAYING = frozenset(
    {
        "environment",
        "environment_options",
        "observations",
        "frame_skip",
        "repeat_action_probability",
        "minimal_action_set",
        "color_averaging",
        "screen_width",
        "screen_height",
        "backend",
        "device_id",
        "datatype",
        "native_kernels",
        "exploration_rate_test",
        "random_starts",
        "random_seed",
        "log_level",
    }
)
_WRITING = _PLAYING | {"overwrite"}
_TESTING = _PLAYING | {
    *("display_screen", "num_games", "test_steps", "test_games", "csv_file", "log_games"),
}
KEYS = """keys:
  m                   take the game over, or give it back to the network
  arrows or WASD      steer
  space               fire
  a, s                slower, faster (while the network plays)
  -, +                slower, faster
  [, ]                volume down, up
  p                   pause
  n                   one step
  r                   new game
  v                   show the network's mind
  e, E                the network explores less, more
  backspace           rewind by three seconds
  f                   full screen
  F12                 picture, into videos/
  c                   film from here, into videos/; c again ends it
  h, ?                these keys
  q, Esc              quit
  gamepad             stick: steer; buttons: fire
"""
_COLUMNS = """columns:
  epoch, phase, steps, nr_games, average_reward, min_game_reward,
  max_game_reward, last_exploration_rate, total_train_steps,
  replay_memory_count, meanq, meancost, weight_updates, total_time,
  epoch_time, steps_per_second, std_game_reward

formats of the picture, by the ending of its name:
  .png, .pdf, .svg
"""

_COMMANDS = (
    Command(
        "train",
        "train a network on a game, with a CSV row per phase and a snapshot per epoch",
        (GAME, LABEL),
    ),
    Command("resume", "go on with the run that wrote a snapshot", _OF_SNAPSHOT, without=_BEGINNING),
    Command(
        "test",
        "play as the run's own test phase did and tell the score",
        _OF_SNAPSHOT,
        only=_TESTING,
    ),
    Command(
        "play",
        "watch a network play, take over and give back; or play a game alone",
        (
            Option(
                "snapshot",
                None,
                Kind(_snapshot_or_game, "SNAPSHOT|GAME"),
                f"{_SNAPSHOT.help}; or the name of a game, to play alone; without an argument, "
                "you choose from the snapshots at hand",
                nargs="?",
                positional=True,
            ),
            ALLOW_IMPORT,
            Option(
                "display",
                "auto",
                choice("auto", "window", "terminal"),
                "place where the game is shown: window is a window with sound, terminal is the "
                "terminal, auto is a window where there is a screen, else the terminal",
            ),
            _SHOW_MIND,
            Option(
                "record_experience",
                None,
                path("FILE"),
                "file (.npz) for the steps that you play, from which scripts/train.sh "
                "--load_experience FILE learns",
            ),
        ),
        not_from_snapshot=frozenset({"random_seed"}),
        only=_WRITING,
        more=KEYS,
    ),
    Command(
        "record",
        "film a network's games by the evaluation protocol, with their sound",
        (
            *_OF_SNAPSHOT,
            Option("play_games", 1, integer(1, 10_000), "number of games in the film"),
            _SHOW_MIND,
            Option(
                "video_file",
                None,
                path("FILE"),
                "file of the film, MP4, GIF or WebP by its ending; GIF and WebP have no sound and "
                "20 pictures a second; without this option it is "
                "videos/<game>[_<label>]_<epoch>.mp4",
            ),
            Option(
                "skip_seconds",
                0.0,
                number(0, 86_400),
                "seconds of play before the film begins",
            ),
            Option(
                "seconds",
                None,
                number(0, 86_400, above=True),
                "seconds after which the film ends; without this option it ends with the last game",
            ),
            Option(
                "width",
                None,
                integer(16, 8192),
                "width of the film in pixels, rounded down to an even number; without this option "
                "it is 640 for a game of Atari, and 1000 with the mind",
            ),
            Option(
                "scale",
                1.0,
                number(0.1, 8),
                "factor by which the film is wider and higher than without this option",
            ),
            Option(
                "record_screen_path",
                None,
                path("FOLDER"),
                "folder into which each of the emulator's screens is written as a PNG, too",
            ),
            Option(
                "record_sound_filename",
                None,
                path("FILE"),
                "file (.wav) into which the sound of the film is written, too",
            ),
        ),
        not_from_snapshot=frozenset({"random_seed"}),
        only=_WRITING,
    ),
    Command(
        "nvis",
        "make a page that shows what excites each filter of a network, and what in it",
        (
            *_OF_SNAPSHOT,
            # Deviates: all filters by default, since a page of all is made in seconds; 4 in 2015.
            Option(
                "visualization_filters",
                None,
                Kind(_number_or_all, "N|all"),
                "number of filters of each layer, the most active ones; without this option the "
                "page shows all filters",
            ),
            Option(
                "visualization_file",
                None,
                path("FILE"),
                "file of the page; without this option it is results/<game>[_<label>]_<epoch>.html",
            ),
        ),
        only=_WRITING,
    ),
    Command(
        "plot",
        "draw the statistics of one or several runs",
        (
            Option(
                "csv_file",
                (),
                path("CSV"),
                "statistics of a run, results/<game>[_<label>].csv; several files are drawn over "
                "one another",
                nargs="+",
                positional=True,
            ),
            Option(
                "fields",
                "average_reward,meanq,nr_games,meancost",
                Kind(TEXT.check, "COLUMN,..."),
                "columns of the CSV file, with a panel for each, left to right and top to bottom",
            ),
            Option(
                "output",
                None,
                path("FILE"),
                "file of the picture, by its ending a PNG, SVG or PDF; without this option it is "
                "the first CSV file's name with .png",
            ),
            Option(
                "dpi",
                130,
                integer(30, 1200),
                "pixels per inch of a PNG, which is 9 inches wide, or 11 with several panels",
            ),
            Option(
                "x_axis",
                "epochs",
                choice("epochs", "steps", "frames", "hours"),
                "what runs to the right: epochs, training steps, training frames or hours of the "
                "run; a step is 4 frames where no snapshot of the run tells another --frame_skip",
            ),
            Option(
                "smooth",
                1,
                integer(1, 1_000_000),
                "number of epochs, the latest ones, whose mean a point of a curve is",
            ),
        ),
        run_options=False,
        more=_COLUMNS,
    ),
    Command(
        "report",
        "tell what the runs of a folder have reached: a table over games and seeds, and its curves",
        (
            Option(
                "results_folder",
                None,
                path("RESULTS_FOLDER"),
                "folder with the CSV files of the runs, results or results/<suite>",
                positional=True,
            ),
            Option(
                "output",
                None,
                path("FILE"),
                "name of the pictures, by its ending PNG, SVG or PDF; FILE without its ending is "
                "the beginning of the names of all files that are written; without this option it "
                "is RESULTS_FOLDER/report.png",
            ),
        ),
        run_options=False,
    ),
    Command(
        "tabular",
        "solve an environment that is known whole, and learn it with a table and with a network",
        (
            Option(
                "environment",
                None,
                Kind(TEXT.check, "ENVIRONMENT"),
                "id of a Gymnasium environment with a table of its transitions, such as "
                "simple_dqn/GridWorld-v0, FrozenLake-v1, CliffWalking-v1 or Taxi-v4",
                positional=True,
            ),
            _row("environment_options", "{}"),
            _row("discount_rate", 0.95),
            Option(
                "train_steps",
                20_000,
                integer(1, 100_000_000),
                "number of steps from which the table and the network learn, each",
            ),
            _row("network", "64,64"),
            _row("random_seed", None),
            Option(
                "output",
                None,
                path("FILE"),
                "file of the picture; without this option it is results/<environment>_tabular.png",
            ),
            Option(
                "csv_file",
                None,
                path("FILE"),
                "file of the errors; without this option it is results/<environment>_tabular.csv",
            ),
            _row("overwrite", False),
        ),
        run_options=False,
    ),
    Command(
        "suite",
        "train several games with several seeds, side by side, on one machine or on many",
        (
            dataclasses.replace(
                GAME,
                kind=Kind(TEXT.check, "GAMES"),
                help="games: pong,breakout; or original, the four games of the original tool; or "
                "atari57; or a file games.txt with a game in each line",
            ),
            dataclasses.replace(
                LABEL,
                kind=Kind(LABEL.kind.check, "NAME"),
                help="name of the suite, whose files are results/NAME/<game>_s<seed>.csv and "
                "snapshots/NAME/<game>_s<seed>_<epoch>.safetensors; without it: suite",
            ),
            Option(
                "seeds",
                (1, 2, 3),
                Kind(_seeds, "N|N,N"),
                "random seeds: a number N means the seeds 1 to N, several numbers mean themselves",
            ),
            Option(
                "dry_run",
                False,
                BOOLEAN,
                "true: print the commands of the runs, and do nothing",
                nargs="?",
            ),
            Option(
                "cpus_per_run",
                1.0,
                number(0, 1024, above=True),
                "cores for each run, which has as many threads",
            ),
            Option(
                "gpus_per_run",
                0.0,
                number(0, 64),
                "GPUs for each run; with 0.25 four runs share a GPU, with 0 the CPU learns",
            ),
            Option(
                "max_runs",
                None,
                integer(1, 100_000),
                "how many runs go on at a time; without this option as many as fit",
            ),
            Option(
                "retries",
                2,
                integer(0, 1000),
                "how often a run that fails is tried again, from its last epoch on; an attempt "
                "that finished a phase is not counted",
            ),
            Option(
                "address",
                None,
                Kind(TEXT.check, "HOST:PORT"),
                "address of a Ray cluster, whose machines all have this version of simple_dqn; "
                "without this option the runs are carried out on this machine",
            ),
        ),
        without=_BEGINNING
        | {"random_seed", "csv_file", "save_weights_prefix", "load_experience"}
        | {"overwrite", "display_screen"},
        extra=("ray", "rich"),
    ),
    Command(
        "benchmark",
        "measure what this machine can do with a run's options, and what bounds it",
        (
            Option("game", "pong", GAME.kind, GAME.help, nargs="?", positional=True),
            Option(
                "seconds", 5.0, number(0, 86_400, above=True), "seconds of measuring for each row"
            ),
            Option(
                "peers",
                False,
                BOOLEAN,
                "true: Stable-Baselines3 trains beside, for comparison",
            ),
        ),
    ),
)
COMMANDS = {command.name: command for command in _COMMANDS}


class _Formatter(argparse.HelpFormatter):
    """Leaves the lines of the help's end as they are."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        lines = text.splitlines()
        return "\n".join(lines) if len(lines) > 1 else super()._fill_text(text, width, indent)


class _Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one line, and which tells when help cannot be written."""

    def print_help(self, file: Any = None) -> None:  # noqa: ARG002 (argparse gives none)
        """Write the help to standard output."""
        streams.write(self.format_help())

    def error(self, message: str) -> NoReturn:
        """Tell what is wrong and exit with status 2."""
        end = " " if message.endswith("?") else "; "
        self.exit(2, f"{self.prog}: {message}{end}--help tells the options\n")


def parse(name: str, arguments: Sequence[str]) -> dict[str, Any]:
    """Parse a command line.

    Returns:
        What was given, by name; what was not given is not there.
    """
    words = _with_negative_numbers(arguments)
    parser = make_parser(COMMANDS[name])
    _check_names(parser, words)
    given = vars(parser.parse_intermixed_args(words))
    return {name: value for name, value in given.items() if value is not None}


def _check_names(parser: argparse.ArgumentParser, words: Sequence[str]) -> None:
    """Tell an option that the command does not have, with the one that was meant."""
    known = [name for name in parser._option_string_actions if name.startswith("--")]
    for word in words:
        name = word.split("=")[0]
        if name == "--":
            return
        if name.startswith("--") and name not in known:
            hint = near_names(name.lower().replace("-", "_").replace("__", "--", 1), known)
            parser.error(f"there is no option {name}{hint}")


def near_names(name: str, known: Iterable[str]) -> str:
    """The names that could have been meant, as the end of a sentence; "" where none is near."""
    near = difflib.get_close_matches(name, list(known), n=2, cutoff=0.7)
    return f", did you mean {' or '.join(near)}?" if near else ""


def _with_negative_numbers(arguments: Sequence[str]) -> list[str]:
    """Write `--min_reward -1e38` as `--min_reward=-1e38`: argparse takes -1e38 for an option."""
    words: list[str] = []
    for argument in arguments:
        last = words[-1] if words else ""
        if _NEGATIVE.match(argument) and re.fullmatch("--[^=]+", last):
            words[-1] += f"={argument}"
        else:
            words.append(argument)
    return words


def make_parser(command: Command) -> argparse.ArgumentParser:
    """Make the parser of a command."""
    parser = _Parser(
        prog=f"simple-dqn {command.name}",
        usage=f"simple-dqn {command.usage} [--OPTION VALUE ...]",
        description=f"{command.summary[0].upper()}{command.summary[1:]}.",
        epilog=command.more,
        formatter_class=_Formatter,
        allow_abbrev=False,
        argument_default=argparse.SUPPRESS,
    )
    positional = [row for row in command.own if row.positional]
    _add(parser, positional)
    _add(parser.add_argument_group(command.name), [r for r in command.own if not r.positional])
    if command.run_options:
        for name, rows in option_groups().items():
            taken = [
                row
                for row in rows
                if row.name not in command.without
                and (command.only is None or row.name in {*command.only, PRESET.name})
            ]
            if taken:
                _add(parser.add_argument_group(name), taken)
    return parser


def option_groups() -> dict[str, list[Option]]:
    """The options of a run and `--preset`, by group."""
    groups: dict[str, list[Option]] = {}
    for row in (*OPTIONS, PRESET):
        if not row.positional:
            groups.setdefault(row.group, []).append(row)
    return groups


def _add(group: "argparse._ActionsContainer", rows: Iterable[Option]) -> None:
    """Let a parser or one of its groups take some options."""
    for row in rows:
        known = row.default not in (None, ())
        keywords: dict[str, Any] = {
            "type": row.kind,
            "metavar": row.kind.metavar,
            "help": row.help.replace("%", "%%")
            + (f" (default: {as_text(row.default)})" if known else ""),
        }
        if row.nargs is not None:
            keywords["nargs"] = row.nargs
        if row.positional:
            # NB! argparse would give a missing argument's default to its type as if it were text.
            group.add_argument(row.name, **keywords, default=None)
        else:
            if row.nargs == "?":
                keywords["const"] = "true"
            group.add_argument(f"--{row.name}", **keywords)
