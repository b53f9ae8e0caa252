"""The progress of a suite's runs: a live table on a terminal, a line for each epoch elsewhere."""

import csv
import datetime
import logging
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.live import Live
from rich.table import Table

from simple_dqn.suite.launch import Status
from simple_dqn.suite.plan import PlannedRun

logger = logging.getLogger(__name__)

_OTHER_LINES = 6  # of the table, besides its rows


class RunState(NamedTuple):
    """How far a run has come, as the table shows it; "" where that is unknown."""

    epoch: int = 0  # the last that was trained and tested
    score: str = ""  # mean score of its test
    steps_per_second: str = ""  # of the last training
    time_left: str = ""  # until the last epoch is done


def state_of(run: PlannedRun, folder: Path) -> RunState:
    """Read from its CSV file how far a run has come."""
    path = folder / run.csv_file
    rows = list(csv.DictReader(path.read_text().splitlines())) if path.exists() else []
    ends = [row for row in rows if row["phase"] == run.last_phase]
    if not ends:
        return RunState()
    epoch, score = int(ends[-1]["epoch"]), float(ends[-1]["average_reward"])
    speeds = [float(row["steps_per_second"]) for row in rows if row["phase"] == "train"]
    seconds_left = (run.settings.epochs - epoch) * float(ends[-1]["total_time"]) / epoch
    return RunState(
        epoch,
        "" if math.isnan(score) else f"{score:.1f}",
        f"{speeds[-1]:.0f}" if speeds else "",
        str(datetime.timedelta(seconds=round(seconds_left))),
    )


class Watcher:
    """Shows the progress of runs; a context."""

    def __init__(self, runs: Sequence[PlannedRun], folder: Path) -> None:
        """Prepare to show runs whose files come into a root folder."""
        self._runs, self._folder = runs, folder
        self._states = {run.name: state_of(run, folder) for run in runs}
        self._running: set[str] = set()  # when the runs were shown last
        console = Console(stderr=True)
        self._live = Live(console=console, auto_refresh=False) if sys.stderr.isatty() else None

    def __enter__(self) -> "Watcher":
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self._live is not None:
            self._live.stop()

    def show(self, status: Status) -> None:
        """Show the progress of the runs now."""
        running = set(status.places)
        for run in self._runs:
            if run.name in running | self._running:  # the files of others cannot have changed
                before, state = self._states[run.name], state_of(run, self._folder)
                self._states[run.name] = state
                if self._live is None and state.epoch > before.epoch:
                    logger.info(
                        "%s: epoch %d/%d, score %s, %s steps/s, %s left",
                        *(run.name, state.epoch, run.settings.epochs, *state[1:]),
                    )
        self._running = running
        if self._live is not None:
            fits = len(self._runs) + _OTHER_LINES < self._live.console.height
            shown = [run for run in self._runs if fits or run.name in running]
            self._live.update(self._table(shown, status), refresh=True)

    def _table(self, runs: Sequence[PlannedRun], status: Status) -> Table:
        waiting, running, failed = map(len, status)
        done = len(self._runs) - waiting - running - failed
        table = Table(caption=f"{running} running, {waiting} waiting, {done} done, {failed} failed")
        for heading in ("game", "seed", "epoch", "steps/s", "score", "time left", ""):
            table.add_column(heading, justify="left" if heading in {"game", ""} else "right")
        words = dict.fromkeys(status.waiting, "waiting") | status.places
        words |= {failure.run.name: "failed" for failure in status.failures}
        for run in runs:
            epoch, score, speed, left = self._states[run.name]
            table.add_row(
                run.settings.game,
                str(run.settings.random_seed),
                f"{epoch}/{run.settings.epochs}",
                speed,
                score,
                left if run.name in status.places else "",
                words.get(run.name, "done"),
            )
        return table
