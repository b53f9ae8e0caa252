"""A progress bar for each phase on a terminal, a log line a minute elsewhere."""

import logging
import shutil
import sys
import textwrap
import time
from collections.abc import Callable, Collection
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from simple_dqn.agent import Callback
from simple_dqn.environment import TimeStep

logger = logging.getLogger(__name__)

_SECONDS_BETWEEN_REFRESHES = 0.5
_SECONDS_BETWEEN_LOG_LINES = 60.0
_BAR = "{desc} {percentage:3.0f}%|{bar}|"
_BAR_WIDTH = 15  # characters, at least, before facts are left out


class Progress(Callback):
    """Shows how far the phase is, how it goes and how long the run still takes."""

    def __init__(self) -> None:
        self._on_terminal = sys.stderr.isatty()
        self._interval = (
            _SECONDS_BETWEEN_REFRESHES if self._on_terminal else _SECONDS_BETWEEN_LOG_LINES
        )
        self._bar = tqdm(disable=True)
        self._rewards: Collection[float] = ()
        self._mean_cost: Callable[[], float] = float
        self._next_refresh = self._started = 0.0
        self._title, self._unit = "", ""
        self._phase, self._epoch = "", 0
        self._epochs: int | None = None  # None: a phase is the complete run
        self._done = self._total = self._steps = 0
        self._seconds: dict[str, float] = {}  # that the latest phase of each kind took

    def on_run_start(self, run: Any) -> None:
        """See whose rewards and costs are shown."""
        self._rewards, self._mean_cost = run.statistics.rewards, run.network.mean_cost
        self._epochs = None if run.only_test else run.settings.epochs

    def on_phase_start(self, phase: str, epoch: int, total: int, unit: str) -> None:
        """Open a bar."""
        self._phase, self._epoch = phase, epoch
        of_all = f"/{self._epochs}" if self._epochs is not None else ""
        self._title = phase + (f" {epoch}{of_all}" if epoch else "")
        self._bar = tqdm(
            total=total,
            desc=self._title,
            bar_format=_BAR + " ",
            disable=not self._on_terminal,
            leave=False,
            dynamic_ncols=True,
            mininterval=_SECONDS_BETWEEN_REFRESHES,
        )
        self._total, self._unit, self._done, self._steps = total, unit, 0, 0
        self._started = time.perf_counter()
        self._next_refresh = self._started + self._interval

    def on_step(self, time_step: TimeStep, steps: int, exploration_rate: float) -> None:
        """Move the bar on."""
        done = steps if self._unit == "steps" else int(time_step.game_overs.sum())
        self._done += done
        self._steps += steps
        now = time.perf_counter()
        if now >= self._next_refresh:
            self._next_refresh = now + self._interval
            facts = self._facts(now - self._started, exploration_rate)
            if self._on_terminal:
                self._bar.bar_format = f"{_BAR} {self._fitting(facts)}"
            else:
                logger.info(
                    "%s: %s of %s %s, %s",
                    self._title,
                    f"{self._done:,}",
                    f"{self._total:,}",
                    self._unit,
                    ", ".join(facts),
                )
        self._bar.update(done)

    def on_phase_end(self) -> None:
        """Take the bar away."""
        self._bar.close()
        self._seconds[self._phase] = time.perf_counter() - self._started

    def _facts(self, elapsed: float, exploration_rate: float) -> list[str]:
        """What is told beside the bar, the most important first."""
        reward = f"{sum(self._rewards) / len(self._rewards):.1f}" if self._rewards else "-"
        facts = [f"reward {reward}"]
        if cost := self._mean_cost():
            facts.append(f"loss {cost:.4f}")
        left = self._seconds_left(elapsed)
        if left is not None:
            facts.append(f"{duration(left)} left")
        facts.append(f"{self._steps / elapsed:.0f} steps/s")
        return [*facts, f"exploration {exploration_rate:.2f}"]

    def _seconds_left(self, elapsed: float) -> float | None:
        """Seconds until the run ends, if each phase takes as long as the latest of its kind.

        Until a test was made, tests count as nothing. None: before the first training nothing is
        known of the run.
        """
        if not self._done:
            return None
        whole = self._seconds | {self._phase: elapsed * self._total / self._done}
        left = whole[self._phase] - elapsed
        if self._epochs is None:
            return left
        if "train" not in whole:
            return None
        test = whole.get("test", 0.0)
        if self._phase == "train":
            left += test
        return left + (self._epochs - self._epoch) * (whole["train"] + test)

    def _fitting(self, facts: list[str]) -> str:
        """As many facts, joined, as leave room for a bar of _BAR_WIDTH characters."""
        room = (self._bar.ncols or 80) - len(f"{self._title} 100%|| ") - _BAR_WIDTH
        text = facts[0]
        for fact in facts[1:]:
            if len(text) + len(f", {fact}") > room:
                break
            text += f", {fact}"
        return text


def duration(seconds: float) -> str:
    """A time in words: `40 s`, `12 min`, `3 h 05 min`."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02} min"


class GameLog(Callback):
    """Logs a line for each game that ends."""

    def __init__(self) -> None:
        self._scores = np.zeros(0, np.float64)
        self._ended, self._of_all = 0, ""

    def on_run_start(self, run: Any) -> None:
        """See how many games are played in step."""
        self._scores = np.zeros(run.settings.num_games, np.float64)

    def on_phase_start(self, phase: str, epoch: int, total: int, unit: str) -> None:  # noqa: ARG002
        """Begin to count."""
        self._scores.fill(0)
        self._ended, self._of_all = 0, f"/{total}" if unit == "games" else ""

    def on_step(self, time_step: TimeStep, steps: int, exploration_rate: float) -> None:  # noqa: ARG002
        """Log the games that ended with this step."""
        self._scores += time_step.rewards
        for score in self._scores[time_step.game_overs]:
            self._ended += 1
            logger.info(
                "Episode %d%s: score=%g, eps=%.2f",
                self._ended,
                self._of_all,
                score,
                exploration_rate,
            )
        self._scores[time_step.game_overs] = 0


class _Lines(logging.Formatter):
    """The time and the message, whose first line is broken between words on a terminal.

    What follows on the first line (commands to copy) stays as it is.
    """

    def format(self, record: logging.LogRecord) -> str:
        text = super().format(record)
        if not sys.stderr.isatty():
            return text
        first, *others = text.split("\n")
        wrapped = textwrap.wrap(
            first,
            shutil.get_terminal_size().columns,
            subsequent_indent=" " * len("00:00:00 "),
            break_long_words=False,
            break_on_hyphens=False,
        )
        return "\n".join([*wrapped, *others])


def log_above_bars(level: str) -> AbstractContextManager[None]:
    """Let messages of a level and above appear on stderr, above any progress bar."""
    handler = logging.StreamHandler()
    handler.setFormatter(_Lines("%(asctime)s %(message)s", datefmt="%H:%M:%S"))
    logging.basicConfig(level=level, handlers=[handler], force=True)
    redirected: AbstractContextManager[None] = logging_redirect_tqdm()
    return redirected
