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
    """How far a run has come; None where that is unknown."""

    epoch: int = 0  # the last that was trained and tested
    score: float | None = None  # mean score of its test
    steps_per_second: float | None = None  # of the last training
    seconds_left: float | None = None  # until the last epoch is done


def state_of(run: PlannedRun, folder: Path) -> RunState:
    """Read from its CSV file how far a run has come."""
    path = folder / run.csv_file
    if not path.exists():
        return RunState()
    with path.open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["std_game_reward"]]
    trained = [row for row in rows if row["phase"] == "train"]
    tests = run.settings.test_games or run.settings.test_steps
    ends = [row for row in rows if row["phase"] == "test"] if tests else trained
    if not ends:
        return RunState()
    epoch = int(ends[-1]["epoch"])
    per_epoch = float(ends[-1]["total_time"]) / epoch
    score = float(ends[-1]["average_reward"])
    return RunState(
        epoch,
        None if math.isnan(score) else score,
        float(trained[-1]["steps_per_second"]),
        (run.settings.epochs - epoch) * per_epoch,
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
                before = self._states[run.name].epoch
                self._states[run.name] = state_of(run, self._folder)
                if self._live is None and self._states[run.name].epoch > before:
                    logger.info("%s: %s", run.name, _line(run, self._states[run.name]))
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
            state = self._states[run.name]
            left = state.seconds_left if run.name in status.places else None
            table.add_row(
                run.settings.game,
                str(run.settings.random_seed),
                f"{state.epoch}/{run.settings.epochs}",
                _number(state.steps_per_second, "{:.0f}"),
                _number(state.score, "{:.1f}"),
                "" if left is None else str(datetime.timedelta(seconds=round(left))),
                words.get(run.name, "done"),
            )
        return table


def _line(run: PlannedRun, state: RunState) -> str:
    parts = [
        f"epoch {state.epoch}/{run.settings.epochs}",
        f"score {_number(state.score, '{:.1f}') or 'unknown, no game ended'}",
        f"{_number(state.steps_per_second, '{:.0f}')} steps/s",
    ]
    if state.seconds_left:
        parts.append(f"{datetime.timedelta(seconds=round(state.seconds_left))} left")
    return ", ".join(parts)


def _number(value: float | None, form: str) -> str:
    return "" if value is None else form.format(value)
