"""Which runs a suite is made of, and which of them are finished."""

import dataclasses
import re
from collections import Counter
from pathlib import Path

from simple_dqn.checkpoints.csv_file import CsvRow, read_csv
from simple_dqn.checkpoints.places import game_of, root
from simple_dqn.checkpoints.snapshot import (
    epoch_pattern,
    read_snapshot,
    run_snapshots,
    training_state_path,
)
from simple_dqn.environments import roms
from simple_dqn.errors import UserError
from simple_dqn.files import read_text
from simple_dqn.options.kinds import as_text
from simple_dqn.options.settings import NOT_OF_LEARNING, OPTIONS, Settings
from simple_dqn.run.ending import reason_to_end

ORIGINAL = ("breakout", "pong", "seaquest", "space_invaders")  # of the text of 2015


@dataclasses.dataclass(frozen=True)
class PlannedRun:
    """A run of a suite: a game and a seed. All paths begin at the root folder."""

    settings: Settings
    rom: Path | None  # the user's own ROM of the game
    name: str  # game and seed: `pong_s1`
    csv_file: Path  # where its rows are: `results/<suite>/<name>.csv`
    log_file: Path  # where its messages are
    prefix: Path  # how the paths of its snapshots begin: `snapshots/<suite>/<name>`
    curves: Path  # folder of its curves for TensorBoard

    @property
    def folders(self) -> list[Path]:
        """Where the run writes."""
        return [self.csv_file.parent, self.prefix.parent, self.curves]

    @property
    def last_phase(self) -> str:
        """The phase with which an epoch ends."""
        return "test" if self.settings.test_games or self.settings.test_steps else "train"

    def owns(self, path: Path) -> bool:
        """Whether the run writes the file of a path."""
        if path.parent == self.prefix.parent:
            return epoch_pattern(self.prefix).fullmatch(path.name) is not None
        of_curves = path.parent == self.curves and path.name.startswith("events.out.tfevents.")
        return of_curves or path in (self.csv_file, self.log_file)

    def files(self, folder: Path) -> list[str]:
        """The files of the run in a root folder."""
        found = [path for place in self.folders for path in (folder / place).glob("*")]
        return [str(path) for each in found if self.owns(path := each.relative_to(folder))]

    def command(self, snapshot: Path | None = None) -> list[str]:
        """The command that trains the run in the root folder, or resumes it from a snapshot."""
        begin = ["train", self.settings.game, str(self.settings.label)]
        words = begin if snapshot is None else ["resume", str(snapshot)]
        for row in OPTIONS:
            value = getattr(self.settings, row.name)
            if not row.positional and value != row.default:
                words += [f"--{row.name}", as_text(value)]
        if snapshot is not None and ":" in self.settings.game:  # the suite's command names it
            words += ["--allow_import", "true"]
        return [*words, "--csv_file", str(self.csv_file), "--save_weights_prefix", str(self.prefix)]

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
        snapshots, settings = run_snapshots(folder / self.prefix), self.settings
        return any(
            (row.epoch == settings.epochs or reason_to_end(settings, row.values))
            and (row.phase == self.last_phase and row.epoch in snapshots)
            for row in self.rows(folder)
        )

    def check(self, folder: Path) -> None:
        """Refuse files of the run in a root folder that were made with other options."""
        snapshot = self.newest_snapshot(folder)
        if snapshot is None:
            return
        then = Settings(game=self.settings.game, **read_snapshot(snapshot).header["options"]).kept()
        now = self.settings.kept()
        if now["pixel_mean"] == "auto":  # the run has measured its number
            now["pixel_mean"] = then["pixel_mean"]
        for name in sorted(now.keys() - NOT_OF_LEARNING):
            if then[name] != now[name]:
                raise UserError(
                    f"{snapshot} was made with --{name} {as_text(then[name])}, and this suite has "
                    f"{as_text(now[name])}; give this suite another name"
                )


def plan_runs(settings: Settings, seeds: tuple[int, ...]) -> list[PlannedRun]:
    """Make the runs of a suite, seed after seed; `game` names the games and `label` the suite."""
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
            name = re.sub(r"[^\w.+=-]", "_", f"{run.game}_{run.label}")
            results, prefix = Path("results") / suite, Path("snapshots") / suite / name
            files = results / f"{name}.csv", results / f"{name}.log", prefix
            runs.append(PlannedRun(run, own, name, *files, results / "tensorboard" / name))
    name, times = Counter(run.name for run in runs).most_common(1)[0]
    if times > 1:
        raise UserError(f"{name} is in this suite twice; name each game and seed once")
    return runs


def games_of(text: str, environment: str) -> list[str]:
    """Return the games that are meant: `pong,breakout`, `original`, `atari57` or `games.txt`."""
    if text == "original" and environment == "ale":
        return list(ORIGINAL)
    if text == "atari57" and environment == "ale":
        return sorted(roms.published_scores())
    if text.endswith(".txt"):
        lines = read_text(Path(text), "a text file with a game in each line").split("\n")
        games = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
    else:
        games = [game.strip() for game in text.split(",") if game.strip()]
    if not games:
        raise UserError(f"{text!r} names no game; give names like pong,breakout")
    return games
