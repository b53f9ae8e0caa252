"""What a game needs so that a person can watch and play it."""

from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from simple_dqn.environment import Observations


class VisibleGame(Protocol):
    """One game, frame by frame: `console.Console` or `gym_console.GymConsole`.

    Attributes:
        action_meanings: names of the actions, by number.
        keys: actions by the directions that a person holds down; empty where the names say them.
        observation_shape: shape of what the network sees.
        observation_dtype: dtype of what the network sees.
        frames_per_second: frames in a second of the game's own time.
        samples_per_frame: samples of sound in a frame, 8 bits each, mono; 0: there is no sound.
        can_idle: whether a frame can be played without an action.
        frames: frames played in the current game.
    """

    action_meanings: list[str]
    keys: dict[frozenset[str], int]
    observation_shape: tuple[int, ...]
    observation_dtype: np.dtype[Any]
    frames_per_second: int
    samples_per_frame: int
    can_idle: bool
    frames: int

    @property
    def lives(self) -> int:
        """Lives that are left; 0 in games without lives."""

    @property
    def terminal(self) -> bool:
        """Whether the game ended and no reward can follow."""

    @property
    def game_over(self) -> bool:
        """Whether the game ended, or was cut by a time limit of its own."""

    def start_game(self, noops: int) -> None:
        """Start a game with a number of no-op frames."""

    def act(self, action: int | None) -> float:
        """Play a frame; return its reward. The action is None only where `can_idle` is true."""

    def observation(self, frames: int) -> Observations:
        """Return what a step of so many frames showed, (*observation_shape)."""

    def picture(self) -> npt.NDArray[np.uint8]:
        """Return what a person sees, uint8 (height, width, 3), RGB."""

    def sound(self) -> npt.NDArray[np.uint8]:
        """Return the sound of the last frame, uint8 (samples_per_frame,); 128 is silence."""

    def keep(self) -> object | None:
        """Return this moment of the game, for `go_back`; None: the game cannot go back."""

    def go_back(self, moment: Any) -> None:
        """Continue from a moment that `keep` returned."""

    def enlarge(self, picture: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """Enlarge a picture for people, with pixels as wide as high; both sides are even."""
