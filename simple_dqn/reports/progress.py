"""A progress bar for each phase on a terminal, a log line a minute elsewhere."""

import logging
import sys
import time
from contextlib import AbstractContextManager
from typing import Any

from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm
from typing_extensions import override

from simple_dqn.agent import Callback
from simple_dqn.environment import TimeStep
from simple_dqn.errors import printable

logger = logging.getLogger(__name__)

_SECONDS_BETWEEN_REFRESHES = 0.5
_SECONDS_BETWEEN_LINES = 60.0
_BAR = "{desc} {percentage:3.0f}%|{bar}|"
_BAR_WIDTH = 15  # characters, at least, before facts are left out


class Progress(Callback):
    """Shows how far the phase is, how it goes and how long the run still takes."""

    def __init__(self) -> None:
        self._on_terminal = sys.stderr.isatty()
        self._interval = _SECONDS_BETWEEN_REFRESHES if self._on_terminal else _SECONDS_BETWEEN_LINES
        self._run: Any = None
        self._bar = tqdm(disable=True)
        self._title = self._phase = self._unit = ""
        self._epoch = self._done = self._total = self._steps = 0
        self._started = self._next_refresh = 0.0
        self._seconds: dict[str, float] = {}  # that the latest phase of each kind took

    def on_run_start(self, run: Any) -> None:
        """Keep the run, whose rewards and costs are shown."""
        self._run = run

    def on_phase_start(self, phase: str, epoch: int, total: int, unit: str) -> None:
        """Open a bar."""
        of_all = "" if self._run.only_test else f"/{self._run.settings.epochs}"
        self._title = f"{phase} {epoch}{of_all}" if epoch else phase
        self._bar = tqdm(
            total=total,
            desc=self._title,
            bar_format=_BAR + " ",
            disable=not self._on_terminal,
            leave=False,
            dynamic_ncols=True,
            mininterval=_SECONDS_BETWEEN_REFRESHES,
        )
        self._phase, self._epoch, self._total, self._unit = phase, epoch, total, unit
        self._done = self._steps = 0
        self._started = time.perf_counter()
        self._next_refresh = self._started + self._interval

    def on_step(self, time_step: TimeStep, steps: int, exploration_rate: float) -> None:
        """Move the bar on, or log a line."""
        done = steps if self._unit == "steps" else int(time_step.game_overs.sum())
        self._done += done
        self._steps += steps
        now = time.perf_counter()
        if now >= self._next_refresh:
            self._next_refresh = now + self._interval
            facts = self._facts(now - self._started, exploration_rate)
            if self._on_terminal:
                room = (self._bar.ncols or 80) - len(f"{self._title} 100%|| ") - _BAR_WIDTH
                while len(", ".join(facts)) > room and len(facts) > 1:
                    facts.pop()
                self._bar.bar_format = f"{_BAR} {', '.join(facts)}"
            else:
                progress = f"{self._done:,} of {self._total:,} {self._unit}"
                logger.info("%s: %s, %s", self._title, progress, ", ".join(facts))
        self._bar.update(done)

    def on_phase_end(self) -> None:
        """Take the bar away."""
        self._bar.close()
        self._seconds[self._phase] = time.perf_counter() - self._started

    def _facts(self, elapsed: float, exploration_rate: float) -> list[str]:
        """What is shown beside the bar, the most important first."""
        rewards = self._run.statistics.rewards
        facts = [f"reward {sum(rewards) / len(rewards):.1f}" if rewards else "reward -"]
        if cost := self._run.network.mean_cost():
            facts.append(f"loss {cost:.4f}")
        if (left := self._seconds_left(elapsed)) is not None:
            facts.append(f"{duration(left)} left")
        facts.append(f"{self._steps / elapsed:.0f} steps/s")
        return [*facts, f"exploration {exploration_rate:.2f}"]

    def _seconds_left(self, elapsed: float) -> float | None:
        """Seconds until the run ends, if each phase takes as long as the latest of its kind.

        Tests count only after the first one. None: nothing is known before the first training.
        """
        if not self._done:
            return None
        seconds = self._seconds | {self._phase: elapsed * self._total / self._done}
        left = seconds[self._phase] - elapsed
        if self._run.only_test:
            return left
        if "train" not in seconds:
            return None
        test = seconds.get("test", 0.0)
        if self._phase == "train":
            left += test
        epochs_left = int(self._run.settings.epochs) - self._epoch
        return left + epochs_left * (seconds["train"] + test)


def duration(seconds: float) -> str:
    """A time in words: `40 s`, `12 min`, `3 h 05 min`."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02} min"


class GameLog(Callback):
    """Logs a line for each game that ends."""

    def __init__(self) -> None:
        self._run: Any = None
        self._ended, self._of_all = 0, ""

    def on_run_start(self, run: Any) -> None:
        """Keep the run, whose rewards are logged."""
        self._run = run

    def on_phase_start(self, phase: str, epoch: int, total: int, unit: str) -> None:  # noqa: ARG002
        """Begin to count."""
        self._ended, self._of_all = 0, f"/{total}" if unit == "games" else ""

    def on_step(self, time_step: TimeStep, steps: int, exploration_rate: float) -> None:  # noqa: ARG002
        """Log the games that ended with this step."""
        rewards = self._run.statistics.rewards
        for score in list(rewards)[len(rewards) - int(time_step.game_overs.sum()) :]:
            self._ended += 1
            episode = f"{self._ended}{self._of_all}"
            logger.info("Episode %s: score=%g, eps=%.2f", episode, score, exploration_rate)


class _Plain(logging.Formatter):
    """Keeps commands to the terminal out of messages: a file's name may have some."""

    @override
    def format(self, record: logging.LogRecord) -> str:
        return printable(super().format(record))


def log_above_bars(level: str) -> AbstractContextManager[None]:
    """Let messages of a level and above appear on stderr, above any progress bar."""
    handler = logging.StreamHandler()
    handler.setFormatter(_Plain("%(asctime)s %(message)s", "%H:%M:%S"))
    logging.basicConfig(level=level, handlers=[handler], force=True)
    redirected: AbstractContextManager[None] = logging_redirect_tqdm()
    return redirected
