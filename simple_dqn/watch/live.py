"""A window on the first game while a run trains or tests."""

import time
from typing import Any

import numpy as np

from simple_dqn.agent import Callback
from simple_dqn.environment import TimeStep
from simple_dqn.errors import UserError
from simple_dqn.watch.window import Window

_SECONDS_BETWEEN_PICTURES = 1 / 60
_SCALE = 5  # pixels of the picture for a pixel of the screen
_KEYS = "q: close the window, the run continues"
_INSTEAD = "leave out --display_screen, or run on a machine with a screen"


class LiveWindow(Callback):
    """Shows what the network sees of the first game; the run does not depend on the window."""

    def __init__(self) -> None:
        self._window: Window | None = None
        self._phase, self._total, self._steps, self._score = "", "", 0, 0.0
        self._next_picture = 0.0

    def on_run_start(self, run: Any) -> None:
        """Open the window, if observations are pictures."""
        shape = run.environment.observation_shape
        if len(shape) != 2 or run.environment.observation_dtype != np.uint8:
            raise UserError("--display_screen shows pictures, which this game lacks; leave it out")
        title, (height, width) = f"simple_dqn: {run.settings.game}", shape
        self._window = Window(title, _SCALE * width, _SCALE * height, instead=_INSTEAD)

    def on_phase_start(self, phase: str, epoch: int, total: int, unit: str) -> None:
        """Begin to count."""
        self._phase = phase + (f" {epoch}" if epoch else "")
        self._total = f" of {total:,}" if unit == "steps" else ""
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
                self.on_run_end()
            else:
                screen = time_step.observations[0].repeat(_SCALE, 0).repeat(_SCALE, 1)
                how = f"{self._phase}   step {self._steps:,}{self._total}   score {self._score:g}"
                keys = f"exploration rate {exploration_rate:.3f}   {_KEYS}"
                self._window.show(np.repeat(screen[..., None], 3, axis=2), [how, keys])
        if time_step.game_overs[0]:
            self._score = 0.0

    def on_run_end(self) -> None:
        """Close the window, if it is still open."""
        if self._window is not None:
            self._window.close()
            self._window = None
