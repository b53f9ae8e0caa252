"""A progress bar for each phase on a terminal, a log line a minute elsewhere."""

import logging
import sys
import time
from collections.abc import Callable, Collection
from contextlib import AbstractContextManager

import numpy as np
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from simple_dqn.environment import TimeStep

logger = logging.getLogger(__name__)

_SECONDS_BETWEEN_REFRESHES = 0.5
_SECONDS_BETWEEN_LOG_LINES = 60.0


class Progress:
    """Watches the agent; shows how far the phase is and how it goes."""

    def __init__(self, *, rewards: Collection[float], mean_cost: Callable[[], float]) -> None:
        """Prepare to show.

        Args:
            rewards: of the phase's latest games; read, never changed.
            mean_cost: of the phase's updates; asked at each refresh.
        """
        self._rewards = rewards
        self._mean_cost = mean_cost
        self._on_terminal = sys.stderr.isatty()
        self._interval = (
            _SECONDS_BETWEEN_REFRESHES if self._on_terminal else _SECONDS_BETWEEN_LOG_LINES
        )
        self._bar = tqdm(disable=True)
        self._next_refresh = 0.0
        self._title, self._unit = "", ""
        self._done, self._total = 0, 0

    def on_phase_start(self, phase: str, epoch: int, total: int, unit: str) -> None:
        """Open a bar."""
        title = phase + (f" {epoch}" if epoch else "")
        self._bar = tqdm(
            total=total,
            desc=title,
            unit=f" {unit}",
            disable=not self._on_terminal,
            leave=False,
            dynamic_ncols=True,
            mininterval=_SECONDS_BETWEEN_REFRESHES,
        )
        self._title, self._total, self._unit, self._done = title, total, unit, 0
        self._next_refresh = time.perf_counter() + self._interval

    def on_step(self, time_step: TimeStep, steps: int, exploration_rate: float) -> None:
        """Move the bar on."""
        done = steps if self._unit == "steps" else int(time_step.game_overs.sum())
        self._done += done
        now = time.perf_counter()
        if now >= self._next_refresh:
            self._next_refresh = now + self._interval
            reward = f"{sum(self._rewards) / len(self._rewards):.1f}" if self._rewards else "-"
            text = f"exploration {exploration_rate:.2f}, reward {reward}"
            if cost := self._mean_cost():
                text += f", loss {cost:.4f}"
            self._bar.set_postfix_str(text, refresh=False)
            if not self._on_terminal:
                logger.info(
                    "%s: %d of %d %s, %s", self._title, self._done, self._total, self._unit, text
                )
        self._bar.update(done)

    def on_phase_end(self) -> None:
        """Take the bar away."""
        self._bar.close()


class GameLog:
    """Watches the agent; a line for each game that ends."""

    def __init__(self, num_games: int) -> None:
        """Prepare to follow so many games, played in step."""
        self._scores = np.zeros(num_games, np.float64)
        self._ended, self._of_all = 0, ""

    def on_phase_start(self, phase: str, epoch: int, total: int, unit: str) -> None:  # noqa: ARG002
        """Begin to count."""
        self._scores.fill(0)
        self._ended, self._of_all = 0, f"/{total}" if unit == "games" else ""

    def on_step(self, time_step: TimeStep, steps: int, exploration_rate: float) -> None:  # noqa: ARG002
        """Tell the games that ended with this step."""
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

    def on_phase_end(self) -> None:
        """Do nothing."""


def log_above_bars(level: str) -> AbstractContextManager[None]:
    """Let messages of a level and above appear on stderr, above any progress bar."""
    logging.basicConfig(
        level=level, format="%(asctime)s %(message)s", datefmt="%H:%M:%S", force=True
    )
    redirected: AbstractContextManager[None] = logging_redirect_tqdm()
    return redirected
