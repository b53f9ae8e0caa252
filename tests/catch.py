"""Catch: a ball falls, a paddle at the bottom catches it or not. Learned in seconds."""

from typing import Any

import numpy as np
import numpy.typing as npt

from simple_dqn.environment import Environment, TimeStep

GRID = 6  # columns and rows of a screen
CELL = 6  # pixels of a cell's side


class Catch(Environment):
    """A ball drops a row a step; a game ends at the bottom row with reward +1 or -1.

    It starts in either of the two top rows, so that games of several copies get out of step;
    a game takes 4 or 5 steps. Random play catches a sixth of the balls.
    """

    def __init__(self, *, num_games: int) -> None:
        self.num_games = num_games
        self.action_meanings = ("NOOP", "LEFT", "RIGHT")
        self.num_actions = len(self.action_meanings)
        self.observation_shape: tuple[int, ...] = (GRID * CELL, GRID * CELL)
        self.observation_dtype: np.dtype[Any] = np.dtype(np.uint8)
        self._moves = np.array([0, -1, 1])  # columns, by action
        self._rng = np.random.default_rng(0)
        self._ball_rows = np.zeros(num_games, np.int64)
        self._ball_columns = np.zeros(num_games, np.int64)
        self._paddles = np.zeros(num_games, np.int64)
        self._time_step: TimeStep | None = None

    def restart(self, seed: int) -> npt.NDArray[Any]:
        self._rng = np.random.default_rng(seed)
        self._start(np.ones(self.num_games, np.bool_))
        return self._observations()

    def act(self, actions: npt.NDArray[np.int64]) -> None:
        self._paddles = np.clip(self._paddles + self._moves[actions], 0, GRID - 1)
        self._ball_rows += 1
        ends = self._ball_rows == GRID - 1
        rewards = np.where(self._ball_columns == self._paddles, 1, -1) * ends
        self._start(ends)
        self._time_step = TimeStep(
            self._observations(), rewards.astype(np.float32), ends, ends.copy()
        )

    def observe(self) -> TimeStep:
        time_step, self._time_step = self._time_step, None
        assert time_step is not None, "act before observe"
        return time_step

    def close(self) -> None:
        pass

    def _start(self, games: npt.NDArray[np.bool_]) -> None:
        number = np.count_nonzero(games)
        self._ball_rows[games] = self._rng.integers(2, size=number)
        self._ball_columns[games] = self._rng.integers(GRID, size=number)
        self._paddles[games] = GRID // 2

    def _observations(self) -> npt.NDArray[Any]:
        cells = np.zeros((self.num_games, GRID, GRID), np.uint8)
        games = np.arange(self.num_games)
        cells[games, self._ball_rows, self._ball_columns] = 255
        cells[games, GRID - 1, self._paddles] = 255
        return cells.repeat(CELL, axis=1).repeat(CELL, axis=2)


class VectorCatch(Catch):
    """The same game seen as numbers: the ball's row and column and the paddle's, from 0 to 1."""

    def __init__(self, *, num_games: int) -> None:
        super().__init__(num_games=num_games)
        self.observation_shape = (3,)
        self.observation_dtype = np.dtype(np.float32)

    def _observations(self) -> npt.NDArray[Any]:
        cells = np.stack([self._ball_rows, self._ball_columns, self._paddles], axis=1)
        return (cells / (GRID - 1)).astype(np.float32)
