"""The state that each game is in now: its latest observations."""

from typing import Any

import numpy as np
import numpy.typing as npt

from simple_dqn.environment import Observations


class StateBuffer:
    """The last `history_length` observations of each game, oldest first.

    The buffer exists apart from the replay memory so that test games never enter the memory.
    Observations from before a game's start are zero, as in DeepMind's code (TransitionTable.lua).

    Attributes:
        states: (num_games, history_length, *observation_shape), changed in place by `add`.
    """

    def __init__(
        self,
        *,
        num_games: int,
        history_length: int,
        observation_shape: tuple[int, ...],
        observation_dtype: npt.DTypeLike,
    ) -> None:
        self.states: npt.NDArray[Any] = np.zeros(
            (num_games, history_length, *observation_shape), observation_dtype
        )

    def add(self, observations: Observations, starts: npt.NDArray[np.bool_] | None = None) -> None:
        """Append the next observation of each game.

        Args:
            observations: (num_games, *observation_shape).
            starts: bool (num_games,), True where a game begins with this observation; None: all
                games begin.
        """
        if starts is None:
            self.states.fill(0)
        else:
            self.states[:, :-1] = self.states[:, 1:]
            if starts.any():
                self.states[starts, :-1] = 0
        self.states[:, -1] = observations
