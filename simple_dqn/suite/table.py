"""The progress of a suite's runs: a live table on a terminal, a line for each epoch elsewhere."""

import logging
import math
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.live import Live
from rich.table import Table

from simple_dqn.reports.progress import duration
from simple_dqn.suite.launch import Status
from simple_dqn.suite.plan import PlannedRun

logger = logging.getLogger(__name__)

_OTHER_LINES = 3  # of the table, besides its rows
_TAIL = 4096  # letters at the end of a log among which is the last line of progress:
# train 3/200: 50,000 of 250,000 steps, reward 1.5, loss 0.01, 3 h 05 min left, 99 steps/s
_PROGRESS = re.compile(
    r" (\w+) ?(\d*)\S*: ([\d,]+) of ([\d,]+) \w+, "
    r"reward ([^,]+).*?(?:, ([^,]+) left)?, (\d+) steps/s"
)


class RunState(NamedTuple):
    """How far a run has come, as the table shows it; "" where that is unknown."""

    epoch: int = 0  # the last that was trained and tested
    score: str = ""  # mean score of its test, or of the games of the present phase
    steps_per_second: str = ""  # of the last training, or of the present phase
    time_left: str = ""  # until the last epoch is done
    now: str = ""  # what is done of the next epoch: `train 45%`


def state_of(run: PlannedRun, folder: Path) -> RunState:
    """Read from its CSV file and its log, which has a line a minute, how far a run has come."""
    log, rows, state = folder / run.log_file, run.rows(folder), RunState()
    if ends := [row for row in rows if row.phase == run.last_phase]:
        epoch, mean = ends[-1].epoch, float(ends[-1].values["average_reward"])
        score = "" if math.isnan(mean) else f"{mean:.1f}"
        speeds = [float(row.values["steps_per_second"]) for row in rows if row.phase == "train"]
        speed = f"{speeds[-1]:.0f}" if speeds else ""
        seconds_left = (run.settings.epochs - epoch) * ends[-1].total_time / epoch
        state = RunState(epoch, score, speed, duration(seconds_left))
    found = _PROGRESS.findall(log.read_text(errors="replace")[-_TAIL:]) if log.exists() else []
    if found and int(found[-1][1] or 1) > state.epoch:
        phase, _, done, total, score, left, speed = found[-1]
        score = state.score if score == "-" else score  # no game has ended yet
        percent = int(done.replace(",", "")) / int(total.replace(",", ""))
        now = f"{phase} {percent:.0%}"
        state = RunState(state.epoch, score, speed, left or state.time_left, now)
    return state


class Watcher:
    """Shows the progress of runs; on a terminal within the context `live`."""

    def __init__(self, runs: Sequence[PlannedRun], folder: Path) -> None:
        """Prepare to show runs whose files come into a root folder."""
        self._runs, self._folder = runs, folder
        self._states = {run.name: state_of(run, folder) for run in runs}
        self._running: set[str] = set()  # when the runs were shown last
        console = Console(stderr=True)
        self.live = Live(console=console, auto_refresh=False) if sys.stderr.isatty() else None

    def show(self, status: Status) -> None:
        """Show the progress of the runs now."""
        running = set(status.places)
        for run in self._runs:
            if run.name in running | self._running:  # the files of others cannot have changed
                before, state = self._states[run.name], state_of(run, self._folder)
                self._states[run.name] = state
                if self.live is None and state.epoch > before.epoch:
                    logger.info(
                        "%s: epoch %d/%d, score %s, %s steps/s, %s left",
                        *(run.name, state.epoch, run.settings.epochs, *state[1:4]),
                    )
        self._running = running
        if self.live is not None:
            fits = len(self._runs) + _OTHER_LINES < self.live.console.height
            shown = [run for run in self._runs if fits or run.name in running]
            self.live.update(self._table(shown, status), refresh=True)

    def _table(self, runs: Sequence[PlannedRun], status: Status) -> Table:
        waiting, running, failed = map(len, status)
        done = len(self._runs) - waiting - running - failed
        table = Table(
            box=None, caption=f"{running} running, {waiting} waiting, {done} done, {failed} failed"
        )
        for heading in ("game", "seed", "epoch", "now", "steps/s", "score", "time left", ""):
            table.add_column(heading, justify="left" if heading in {"game", ""} else "right")
        words = dict.fromkeys(status.waiting, "waiting") | status.places
        words |= {run.name: "failed" for run, _ in status.failures}
        for run in runs:
            epoch, score, speed, left, now = self._states[run.name]
            table.add_row(
                run.settings.game,
                str(run.settings.random_seed),
                f"{epoch}/{run.settings.epochs}",
                now if run.name in status.places else "",
                speed,
                score,
                left if run.name in status.places else "",
                words.get(run.name, "done"),
            )
        return table
