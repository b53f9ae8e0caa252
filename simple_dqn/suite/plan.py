"""Which runs a suite is made of, and which of them are finished."""

import dataclasses
import re
from pathlib import Path

from simple_dqn.checkpoints.csv_file import CsvRow, read_csv
from simple_dqn.checkpoints.places import game_of, root
from simple_dqn.checkpoints.snapshot import read_snapshot, run_snapshots, training_state_path
from simple_dqn.environments import roms
from simple_dqn.errors import UserError
from simple_dqn.options.settings import OPTIONS, Settings

ORIGINAL = ("breakout", "pong", "seaquest", "space_invaders")  # of the text of 2015
_OTHER_OPTIONS_MAY_DIFFER = {"epochs", "save_memory"}


@dataclasses.dataclass(frozen=True)
class PlannedRun:
    """A run of a suite: a game and a seed.

    Its files are `results/<suite>/<name>.csv`, a log beside it, and `snapshots/<suite>/<name>_*`.

    Attributes:
        suite: name of the suite.
        settings: the run's options.
        rom: the user's own ROM of the game, from the root folder on, or None.
    """

    suite: str
    settings: Settings
    rom: Path | None

    @property
    def name(self) -> str:
        """Game and seed: `pong_s1`."""
        return re.sub(r"[^\w.+=-]", "_", f"{self.settings.game}_{self.settings.label}")

    @property
    def csv_file(self) -> Path:
        """Where the rows of the run are, from the root folder on."""
        return Path("results") / self.suite / f"{self.name}.csv"

    @property
    def log_file(self) -> Path:
        """Where the run's messages are, from the root folder on."""
        return self.csv_file.with_suffix(".log")

    @property
    def prefix(self) -> Path:
        """How the paths of the run's snapshots begin, from the root folder on."""
        return Path("snapshots") / self.suite / self.name

    @property
    def curves(self) -> Path:
        """Folder of the run's curves for TensorBoard, from the root folder on."""
        return self.csv_file.parent / "tensorboard" / self.name

    @property
    def folders(self) -> list[Path]:
        """Where the run writes, from the root folder on."""
        return [self.csv_file.parent, self.prefix.parent, self.curves]

    def owns(self, path: str) -> bool:
        """Whether a path, from the root folder on, is one of the files that the run writes."""
        of_an_epoch = r"_\d+\.(safetensors|training\.safetensors|memory)"
        of_curves = r"/events\.out\.tfevents\.[^/]+"  # time and machine
        return path in {str(self.csv_file), str(self.log_file)} or bool(
            re.fullmatch(re.escape(str(self.prefix)) + of_an_epoch, path)
            or re.fullmatch(re.escape(str(self.curves)) + of_curves, path)
        )

    def files(self, folder: Path) -> list[str]:
        """The files of the run in a root folder, from that folder on."""
        found = [path for place in self.folders for path in (folder / place).glob("*")]
        return [str(path) for each in found if self.owns(str(path := each.relative_to(folder)))]

    def command(self, snapshot: Path | None = None) -> list[str]:
        """The command that trains the run in the root folder, or resumes it from a snapshot."""
        settings = self.settings
        words = (
            ["train", settings.game, str(settings.label)]
            if snapshot is None
            else ["resume", str(snapshot)]
        )
        for row in OPTIONS:
            value = getattr(settings, row.name)
            if not row.positional and value != row.default:
                words += [f"--{row.name}", _as_argument(value)]
        places = {"csv_file": self.csv_file, "save_weights_prefix": self.prefix}
        for name, path in places.items():
            words += [f"--{name}", str(path)]
        return words

    def newest_snapshot(self, folder: Path) -> Path | None:
        """The newest snapshot in a root folder from which the run can be resumed exactly."""
        found = run_snapshots(folder / self.prefix)
        complete = [path for path in found.values() if training_state_path(path).exists()]
        return complete[-1] if complete else None

    def rows(self, folder: Path) -> list[CsvRow]:
        """The rows that the run has written in a root folder."""
        return read_csv(folder / self.csv_file)

    def is_finished(self, folder: Path) -> bool:
        """Whether the last epoch is trained, tested and saved in a root folder."""
        epochs = self.settings.epochs
        tests = self.settings.test_games or self.settings.test_steps
        last = ("test" if tests else "train", epochs)
        return epochs in run_snapshots(folder / self.prefix) and any(
            (row.phase, row.epoch) == last for row in self.rows(folder)
        )

    def check(self, folder: Path) -> None:
        """Check that the files of the run in a root folder were made with its options.

        Raises:
            UserError: they were made with other options.
        """
        snapshot = self.newest_snapshot(folder)
        if snapshot is None:
            return
        then = Settings(game=self.settings.game, **read_snapshot(snapshot).header["options"]).kept()
        now = self.settings.kept()
        for name in sorted(now.keys() - _OTHER_OPTIONS_MAY_DIFFER):
            if then[name] != now[name]:
                raise UserError(
                    f"{snapshot} was made with --{name} {_as_argument(then[name])}, and this suite "
                    f"has {_as_argument(now[name])}; give this suite another name"
                )


def plan_runs(settings: Settings, seeds: tuple[int, ...]) -> list[PlannedRun]:
    """Make the runs of a suite, seed after seed; `game` names the games and `label` the suite.

    Raises:
        UserError: a game or a file of games is unknown, or a game is named twice.
    """
    suite = settings.label or "suite"
    if not suite.strip("."):
        raise UserError(f"{suite} cannot be a folder; give the suite another name")
    if isinstance(settings.tensorboard, Path):
        raise UserError(
            f"--tensorboard {settings.tensorboard}: the curves of a suite are always in "
            "results/<suite>/tensorboard; give --tensorboard true"
        )
    runs = []
    for seed in seeds:
        for game in games_of(settings.game, settings.environment):
            named = dataclasses.replace(settings, game=game)
            found = game_of(named)
            is_own = found.rom_path.parent == root() / "roms"
            own = Path("roms") / found.rom_path.name if is_own else None
            run = dataclasses.replace(named, game=found.name, label=f"s{seed}", random_seed=seed)
            runs.append(PlannedRun(suite, run, own))
    names = [run.name for run in runs]
    for name in names:
        if names.count(name) > 1:
            raise UserError(f"{name} is in this suite twice; name each game and seed once")
    return runs


def games_of(text: str, environment: str) -> list[str]:
    """Return the games that are meant: `pong,breakout`, `original`, `atari57` or `games.txt`.

    Raises:
        UserError: the file cannot be read, or holds no names.
    """
    if text == "original" and environment == "ale":
        return list(ORIGINAL)
    if text == "atari57" and environment == "ale":
        return sorted(roms.published_scores())
    if text.endswith(".txt"):
        try:
            lines = Path(text).read_text("utf-8").split("\n")
        except (OSError, UnicodeError) as error:
            raise UserError(f"cannot read games from {text}: {error}") from error
        games = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
    else:
        games = [game.strip() for game in text.split(",") if game.strip()]
    if not games:
        raise UserError(f"{text!r} names no game; give names like pong,breakout")
    return games


def _as_argument(value: object) -> str:
    """An option's value as a word of a command line, exactly."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return ",".join(str(each) for each in value)
    return str(value)
