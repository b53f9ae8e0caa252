"""The commands, and what each takes besides the options of a run."""

import dataclasses
from pathlib import Path
from typing import NamedTuple

from simple_dqn.options.kinds import BOOLEAN, Option, ValueType, choice, integer, number, path, text
from simple_dqn.options.settings import OPTIONS

ROWS = {row.name: row for row in OPTIONS}


class Command(NamedTuple):
    """A command."""

    name: str  # also of its module in `simple_dqn.commands` and of the function there
    summary: str  # what it does, in a line
    own: tuple[Option, ...] = ()  # arguments and options that are not options of a run
    roles: tuple[str, ...] = ()  # of the options of a run that it takes, see `Option`
    draws_games: bool = False  # each call draws other games, whatever seed a snapshot has
    more: str = "scripts/README.md says more on each option."  # the end of its help
    extra: tuple[str, ...] = ()  # libraries that only this command needs

    @property
    def usage(self) -> str:
        """The command with its arguments: `train GAME [LABEL]`."""
        words = [self.name]
        for row in self.own:
            if row.positional:
                word = f"{row.type.metavar}..." if row.nargs == "+" else row.type.metavar
                words.append(f"[{word}]" if row.nargs == "?" else word)
        return " ".join(words)

    def options(self) -> dict[str, list[Option]]:
        """Return the options of a run, and `--preset`, that the command takes, by their group."""
        groups: dict[str, list[Option]] = {}
        for row in (*OPTIONS, PRESET):
            if row.group and row.role in self.roles and (row.suite or self.name != "suite"):
                groups.setdefault(row.group, []).append(row)
        return groups


def _snapshot_or_game(value: str) -> Path | str:
    found = Path(value)
    return found if found.suffix in {".safetensors", ".pkl"} else value


def _seeds(value: object) -> tuple[int, ...]:
    """A number N means the seeds 1 to N; several numbers mean themselves."""
    first, *others = str(value).split(",")
    if not others:
        return tuple(range(1, int(integer(1, 1000)(first)) + 1))
    return tuple(int(ROWS["random_seed"].type(text)) for text in (first, *others) if text)


_DISPLAYS = choice("auto", "window", "terminal")
_X_AXES = choice("epochs", "steps", "frames", "hours")
_BANDS = choice("range", "stderr", "bootstrap")
FIELDS = "average_reward,meanq,nr_games,meancost"
_EPOCH = integer(0, 1_000_000)
_EPOCHS = ValueType(lambda value: tuple(map(_EPOCH, str(value).split(","))), "N,N")
_SOME = ValueType(lambda n: None if n in {None, "all"} else integer(1, 10_000)(n), "N|all")
_RAY = ("ray", "rich")

PRESET = Option(
    "preset",
    None,
    text("NAME|FILE"),
    "nature, laptop, online, gpu, cartpole or a TOML file of options",
    role="play",
    group="main loop",
)
GAME, LABEL = ROWS["game"], ROWS["label"]
ALLOW_IMPORT = Option(
    "allow_import", False, BOOLEAN, "import, and so run, the Python modules that a snapshot names"
)
_SNAPSHOT = Option(
    "snapshot",
    None,
    path("SNAPSHOT"),
    "a run's <game>[_<label>]_<epoch>.safetensors",
    positional=True,
)
_SHOW_MIND = Option("show_mind", False, BOOLEAN, "show what the network sees and thinks, too")
_FILE = path("FILE")

KEYS = """keys:
  m                   take the game over, or hand it back to the network
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
  epoch_time, steps_per_second, std_game_reward, dead_units
"""
_PLAYER = dataclasses.replace(
    _SNAPSHOT,
    type=ValueType(_snapshot_or_game, "SNAPSHOT|GAME"),
    help="the network that plays, or a game to play alone (you choose)",
    nargs="?",
)
_PLAY = (
    _PLAYER,
    ALLOW_IMPORT,
    Option("display", "auto", _DISPLAYS, "auto: a window if there is a screen, else terminal"),
    _SHOW_MIND,
    Option("record_experience", None, _FILE, "your steps, .safetensors, for --load_experience"),
)
_RECORD = (
    dataclasses.replace(
        _SNAPSHOT, type=path("SNAPSHOT|CSV"), help=f"{_SNAPSHOT.help}, or the run's CSV file"
    ),
    ALLOW_IMPORT,
    Option("play_games", 1, integer(1, 10_000), "games in the film"),
    Option("epochs", (), _EPOCHS, "epochs of the run, filmed one by one"),
    _SHOW_MIND,
    Option("video_file", None, _FILE, "MP4, GIF or WebP file of the film"),
    Option("skip_seconds", 0.0, number(0, 86_400), "seconds of play before the film begins"),
    Option("seconds", None, number(0, 86_400, above=True), "length of the film (all games)"),
    Option("width", None, integer(16, 8192), "width in pixels (640, or 1000 with the mind)"),
    Option("scale", 1.0, number(0.1, 8), "factor of width and height"),
    Option("record_screen_path", None, path("FOLDER"), "folder for each screen as a PNG"),
    Option("record_sound_filename", None, _FILE, "WAV file for the sound"),
)
# Deviates: all filters by default, since a page of all is made in seconds; 4 in 2015.
_FILTERS = Option("visualization_filters", None, _SOME, "most active filters of each layer (all)")
_PAGE = Option("visualization_file", None, _FILE, "HTML file of the page")
_CURVES = Option("csv_file", (), path("CSV"), "statistics of runs", nargs="+", positional=True)
_PLOT = (
    _CURVES,
    Option("fields", FIELDS, text("COLUMN,..."), "columns with a panel each"),
    Option("output", None, _FILE, "PNG, SVG or PDF file of the picture"),
    Option("dpi", 130, integer(30, 1200), "pixels per inch of a PNG"),
    Option("x_axis", "epochs", _X_AXES, "what runs to the right"),
    Option("smooth", 1, integer(1, 1_000_000), "epochs whose mean a point is"),
    Option("band", "range", _BANDS, "what the band around the mean of several seeds shows"),
    Option("title", None, text("TEXT"), "heading (name, seeds and best test)"),
)
_RESULTS = path("RESULTS_FOLDER")
_REPORT = (
    Option("results_folder", None, _RESULTS, "folder of the runs' CSV files", positional=True),
    Option("output", None, _FILE, "name of its files, with the pictures' ending: .png, .svg, .pdf"),
)
_KNOWN = Option(
    "environment", None, text("ENVIRONMENT"), "Gymnasium id, such as FrozenLake-v1", positional=True
)
_LESSONS = integer(1, 100_000_000)
_TABULAR = (
    _KNOWN,
    ROWS["environment_options"],
    dataclasses.replace(ROWS["discount_rate"], default=0.95),
    Option("train_steps", 20_000, _LESSONS, "steps from which table and network learn"),
    dataclasses.replace(ROWS["network"], default="64,64"),
    ROWS["random_seed"],
    Option("output", None, _FILE, "file of the picture"),
    Option("csv_file", None, _FILE, "file of the errors"),
    ROWS["overwrite"],
)
_SUITE = (
    dataclasses.replace(
        GAME, type=text("GAMES"), help="pong,breakout; original; atari57; or a file, games.txt"
    ),
    dataclasses.replace(LABEL, type=ValueType(LABEL.type.check, "NAME"), help="name of the suite"),
    Option("seeds", (1, 2, 3), ValueType(_seeds, "N|N,N"), "seeds 1 to N, or these seeds"),
    Option("dry_run", False, BOOLEAN, "print the commands of the runs, and do nothing"),
    Option("cpus_per_run", 1.0, number(0, 1024, above=True), "cores, and threads, of each run"),
    Option("gpus_per_run", 0.0, number(0, 64), "GPUs of each run; 0.25: four runs share one"),
    Option("max_runs", None, integer(1, 100_000), "runs at a time (as many as fit)"),
    Option("retries", 2, integer(0, 1000), "times that a failed run resumes from its last epoch"),
    Option("address", None, text("HOST:PORT"), "Ray cluster (this machine alone)"),
)
_BENCHMARK = (
    dataclasses.replace(GAME, default="pong", nargs="?"),
    Option("seconds", 5.0, number(0, 86_400, above=True), "seconds of measuring for each row"),
    Option("peers", False, BOOLEAN, "measure Stable-Baselines3 as well"),
)

_OF_SNAPSHOT = (_SNAPSHOT, ALLOW_IMPORT)
_WRITING, _TESTING = ("play", "write"), ("play", "test")
_RESUMING = ("play", "write", "test", "learn")
_TRAINING = (*_RESUMING, "begin")
_COMMANDS = (
    Command("train", "train a network on a game", (GAME, LABEL), _TRAINING),
    Command("resume", "continue the run that wrote a snapshot", _OF_SNAPSHOT, _RESUMING),
    Command("test", "play the test of a snapshot's epoch again", _OF_SNAPSHOT, _TESTING),
    Command("play", "watch a network play, take over; or play alone", _PLAY, _WRITING, True, KEYS),
    Command("record", "film a network's games", _RECORD, _WRITING, draws_games=True),
    Command("nvis", "show what excites each filter", (*_OF_SNAPSHOT, _FILTERS, _PAGE), _WRITING),
    Command("plot", "draw the statistics of one or several runs", _PLOT, more=_COLUMNS),
    Command("report", "compare the runs of a folder: table and curves", _REPORT),
    Command("tabular", "solve a small environment, learn it with a table", _TABULAR),
    Command("suite", "train several games with several seeds", _SUITE, _RESUMING, extra=_RAY),
    Command("benchmark", "measure this machine, and what bounds it", _BENCHMARK, _TRAINING),
)
COMMANDS = {command.name: command for command in _COMMANDS}
