"""A window on the first game while a run trains or tests."""

import time
from typing import Any

import numpy as np

from simple_dqn.agent import Callback
from simple_dqn.environment import Observations, TimeStep
from simple_dqn.errors import UserError
from simple_dqn.watch.window import Window

_SECONDS_BETWEEN_PICTURES = 1 / 60
_SIDE = 420  # pixels, about, of the longer side of the picture
_INSTEAD = "leave out --display_screen, or run on a machine with a screen"


class LiveWindow(Callback):
    """Shows what the first game looks like to the network.

    The run learns the same with and without the window. When a person closes the window, the run
    continues.
    """

    def __init__(self) -> None:
        self._window: Window | None = None
        self._title, self._unit = "", ""
        self._total, self._steps, self._score = 0, 0, 0.0
        self._scale, self._next_picture = 1, 0.0

    def on_run_start(self, run: Any) -> None:
        """Open the window.

        Raises:
            UserError: observations are not pictures, or there is no display.
        """
        shape = run.environment.observation_shape
        if len(shape) != 2 or run.environment.observation_dtype != np.uint8:
            raise UserError(
                "--display_screen shows pictures, but what this game shows is not a picture; "
                "leave it out"
            )
        height, width = shape
        self._scale = scale = max(1, round(_SIDE / max(shape)))
        title = f"simple_dqn: {run.settings.game}"
        self._window = Window(title, scale * width, scale * height, instead=_INSTEAD)

    def on_phase_start(self, phase: str, epoch: int, total: int, unit: str) -> None:
        """Begin to count."""
        self._title = phase + (f" {epoch}" if epoch else "")
        self._total, self._unit = total, unit
        self._steps, self._score = 0, 0.0

    def on_step(self, time_step: TimeStep, steps: int, exploration_rate: float) -> None:
        """Show the first game, at most 60 times a second."""
        self._steps += steps
        self._score += float(time_step.rewards[0])
        now = time.perf_counter()
        if self._window is not None and now >= self._next_picture:
            self._next_picture = now + _SECONDS_BETWEEN_PICTURES
            pressed, _ = self._window.poll()
            if {"close", "q", "escape"} & set(pressed):
                self.close()
            else:
                self._show(self._window, time_step.observations[0], exploration_rate)
        if time_step.game_overs[0]:
            self._score = 0.0

    def on_run_end(self) -> None:
        """Close the window."""
        self.close()

    def close(self) -> None:
        """Close the window, if it is still open."""
        if self._window is not None:
            self._window.close()
            self._window = None

    def _show(self, window: Window, screen: Observations, exploration_rate: float) -> None:
        of_all = f" of {self._total:,}" if self._unit == "steps" else ""
        lines = [
            f"{self._title}   step {self._steps:,}{of_all}   score {self._score:g}",
            f"exploration rate {exploration_rate:.3f}   q: close the window, the run continues",
        ]
        large = screen.repeat(self._scale, axis=0).repeat(self._scale, axis=1)
        window.show(np.repeat(large[..., None], 3, axis=2), lines)
