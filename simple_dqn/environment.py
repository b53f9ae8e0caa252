"""The contract between the agent and any game: `num_games` games played in step.

The games are the leading axis of every array; one game is an axis of length 1, not a special case.
A new environment is one subclass; `tests/test_environment_contract.py` says what it must hold.
"""

from abc import ABC, abstractmethod
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

# What an environment shows: uint8 pictures (84, 84) in Atari, float32 vectors (4,) in CartPole.
Observations = npt.NDArray[Any]


class TimeStep(NamedTuple):
    """What one step of all games brought.

    Attributes:
        observations: (num_games, *observation_shape); where a game ended, the first observation of
            the next game. Owned by the receiver.
        rewards: float32 (num_games,), the game's own scores, unclipped.
        terminals: bool (num_games,), what learning sees: no reward can follow. True at a game's
            end and, in Atari training, at a lost life.
        game_overs: bool (num_games,), what statistics count: the game ended, and a new one began.
            A game over without a terminal was cut short by a time limit. Its action is not learned,
            so it should be one that did nothing, after a step that showed the last observation.
    """

    observations: Observations
    rewards: npt.NDArray[np.float32]
    terminals: npt.NDArray[np.bool_]
    game_overs: npt.NDArray[np.bool_]


class Environment(ABC):
    """Several copies of a game, all given an action at a time.

    Use: `observations = restart(seed)`, then `act(actions)` and `observe()` in turns. A game that
    ends starts again by itself.

    Attributes:
        num_games: copies of the game, played in step.
        num_actions: number of actions; they are 0 to num_actions - 1. Action 0 need not be
            harmless: the first action of Backgammon fires.
        action_meanings: name of each action.
        observation_shape: shape of what one game shows, (height, width) where it is a picture.
        observation_dtype: dtype of what a game shows, uint8 where it is a picture.
    """

    num_games: int
    num_actions: int
    action_meanings: tuple[str, ...]
    observation_shape: tuple[int, ...]
    observation_dtype: np.dtype[Any]

    @abstractmethod
    def restart(self, seed: int) -> Observations:
        """Start new games whose randomness is given by `seed` (0 to 2**32 - 1) alone.

        Returns:
            The first observations, (num_games, *observation_shape).
        """

    @abstractmethod
    def act(self, actions: npt.NDArray[np.int64]) -> None:
        """Start one step of all games with `actions`, (num_games,); may return before its end."""

    @abstractmethod
    def observe(self) -> TimeStep:
        """Wait for the step that `act` started and return what it brought."""

    @abstractmethod
    def close(self) -> None:
        """Release emulators and windows; the environment is not used afterwards."""
