"""The contract between the agent and any game: `num_games` games played in step.

The games are the leading axis of every array; one game is an axis of length 1, not a special case.
A new environment is one subclass; `tests/test_environment_contract.py` says what it must hold.
"""

from abc import ABC, abstractmethod
from typing import NamedTuple

import numpy as np
import numpy.typing as npt


class Observation(NamedTuple):
    """What one step of all games brought.

    Attributes:
        screens: uint8 (num_games, height, width), 0-255; where a game ended, the first screen of
            the next game. Owned by the receiver.
        rewards: float32 (num_games,), raw game scores, unclipped.
        terminals: bool (num_games,), what learning sees: no reward can follow. True at a game's
            end and, in training, at a lost life.
        game_overs: bool (num_games,), what statistics count: the game ended, a new one began.
            A game over without a terminal was cut short (a time limit).
    """

    screens: npt.NDArray[np.uint8]
    rewards: npt.NDArray[np.float32]
    terminals: npt.NDArray[np.bool_]
    game_overs: npt.NDArray[np.bool_]


class Environment(ABC):
    """Several copies of a game, all given an action at a time.

    Use: `screens = restart(seed)`, then again and again `act(actions)`, `observe()`. Games that
    end start anew by themselves.

    Attributes:
        num_games: copies played in step.
        num_actions: legal actions are 0 to num_actions - 1; action 0 is harmless.
        action_meanings: name of each action.
        screen_shape: (height, width) of the screens.
    """

    num_games: int
    num_actions: int
    action_meanings: tuple[str, ...]
    screen_shape: tuple[int, int]

    @abstractmethod
    def restart(self, seed: int) -> npt.NDArray[np.uint8]:
        """Start new games whose randomness is given by `seed` (0 to 2**32 - 1) alone.

        Returns:
            The first screens, uint8 (num_games, height, width).
        """

    @abstractmethod
    def act(self, actions: npt.NDArray[np.int64]) -> None:
        """Start one step of all games with `actions`, (num_games,); may return before its end."""

    @abstractmethod
    def observe(self) -> Observation:
        """Wait for the step that `act` started and return what it brought."""

    def close(self) -> None:
        """Release emulators and windows; the environment is not used afterwards."""
        return
