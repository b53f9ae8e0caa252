"""Where the runs of a suite stand: a live table on a terminal, a line for each epoch elsewhere."""

import csv
import datetime
import logging
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

from rich.console import Console
from rich.live import Live
from rich.table import Table

from simple_dqn.suite.launch import View
from simple_dqn.suite.plan import PlannedRun

logger = logging.getLogger(__name__)

_OTHER_LINES = 6  # of the table, besides its rows


class Standing(NamedTuple):
    """Where a run stands.

    Attributes:
        epoch: the last that was trained and tested.
        score: mean score of its test, or None where no game ended.
        steps_per_second: of the last training, or None.
        seconds_left: until the last epoch is done, or None.
    """

    epoch: int = 0
    score: float | None = None
    steps_per_second: float | None = None
    seconds_left: float | None = None


def standing_of(run: PlannedRun, folder: Path) -> Standing:
    """Read where a run stands from its CSV file."""
    path = folder / run.csv_file
    if not path.exists():
        return Standing()
    with path.open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["std_game_reward"]]
    trained = [row for row in rows if row["phase"] == "train"]
    tests = run.settings.test_games or run.settings.test_steps
    ends = [row for row in rows if row["phase"] == "test"] if tests else trained
    if not ends:
        return Standing()
    epoch = int(ends[-1]["epoch"])
    per_epoch = float(ends[-1]["total_time"]) / epoch
    score = float(ends[-1]["average_reward"])
    return Standing(
        epoch,
        None if math.isnan(score) else score,
        float(trained[-1]["steps_per_second"]),
        (run.settings.epochs - epoch) * per_epoch,
    )


class Watcher:
    """Shows where the runs stand; a context."""

    def __init__(self, runs: Sequence[PlannedRun], folder: Path) -> None:
        """Prepare to show runs whose files come into a root folder."""
        self._runs, self._folder = runs, folder
        self._told: dict[str, int] = {}
        self._standings: dict[str, Standing] = {}
        self._going: set[str] = set()  # when the runs were shown last
        console = Console(stderr=True)
        self._live = Live(console=console, auto_refresh=False) if sys.stderr.isatty() else None

    def __enter__(self) -> "Watcher":
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def show(self, view: View) -> None:
        """Show where the runs stand now."""
        going, standings = set(view.places), self._standings
        for run in self._runs:  # NB! Files that cannot have changed are not read again.
            if run.name in going | self._going or run.name not in standings:
                standings[run.name] = standing_of(run, self._folder)
        self._going = going
        if self._live is not None:
            self._live.update(self._table(view, standings), refresh=True)
            return
        for run in self._runs:
            standing = standings[run.name]
            if standing.epoch > self._told.get(run.name, 0):
                self._told[run.name] = standing.epoch
                logger.info("%s: %s", run.name, _line(run, standing))

    def _table(self, view: View, standings: dict[str, Standing]) -> Table:
        table = Table(caption=self._caption(view, standings))
        for heading in ("game", "seed", "epoch", "steps/s", "score", "time left", ""):
            table.add_column(heading, justify="left" if heading in {"game", ""} else "right")
        failed = {failure.run.name for failure in view.failures}
        for run in self._shown(view):
            standing, state = standings[run.name], view.places.get(run.name, "done")
            if run.name in view.waiting:
                state = "waiting"
            if run.name in failed:
                state = "failed"
            left = standing.seconds_left if run.name in view.places else None
            table.add_row(
                run.settings.game,
                str(run.settings.random_seed),
                f"{standing.epoch}/{run.settings.epochs}",
                _number(standing.steps_per_second, "{:.0f}"),
                _number(standing.score, "{:.1f}"),
                "" if left is None else str(datetime.timedelta(seconds=round(left))),
                state,
            )
        return table

    def _shown(self, view: View) -> Sequence[PlannedRun]:
        """All runs, or those that go on where a screen is too small for all."""
        going = [run for run in self._runs if run.name in view.places]
        fits = self._live is None or len(self._runs) + _OTHER_LINES < self._live.console.height
        return self._runs if fits else going

    def _caption(self, view: View, standings: dict[str, Standing]) -> str:
        waiting, going, failed = len(view.waiting), len(view.places), len(view.failures)
        done = len(standings) - waiting - going - failed
        return f"{going} go on, {waiting} wait, {done} are done, {failed} failed"


def _line(run: PlannedRun, standing: Standing) -> str:
    parts = [
        f"epoch {standing.epoch}/{run.settings.epochs}",
        f"score {_number(standing.score, '{:.1f}') or 'unknown, no game ended'}",
        f"{_number(standing.steps_per_second, '{:.0f}')} steps/s",
    ]
    if standing.seconds_left:
        parts.append(f"{datetime.timedelta(seconds=round(standing.seconds_left))} left")
    return ", ".join(parts)


def _number(value: float | None, form: str) -> str:
    return "" if value is None else form.format(value)
