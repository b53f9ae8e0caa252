"""Catch: a ball falls, a paddle at the bottom catches it or not. Learned in seconds."""

import numpy as np
import numpy.typing as npt

from simple_dqn.environment import Environment, Observation

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
        self.screen_shape = (GRID * CELL, GRID * CELL)
        self._moves = np.array([0, -1, 1])  # columns, by action
        self._rng = np.random.default_rng(0)
        self._ball_rows = np.zeros(num_games, np.int64)
        self._ball_columns = np.zeros(num_games, np.int64)
        self._paddles = np.zeros(num_games, np.int64)
        self._observation: Observation | None = None

    def restart(self, seed: int) -> npt.NDArray[np.uint8]:
        self._rng = np.random.default_rng(seed)
        self._start(np.ones(self.num_games, np.bool_))
        return self._screens()

    def act(self, actions: npt.NDArray[np.int64]) -> None:
        self._paddles = np.clip(self._paddles + self._moves[actions], 0, GRID - 1)
        self._ball_rows += 1
        ends = self._ball_rows == GRID - 1
        rewards = np.where(self._ball_columns == self._paddles, 1, -1) * ends
        self._start(ends)
        self._observation = Observation(
            self._screens(), rewards.astype(np.float32), ends, ends.copy()
        )

    def observe(self) -> Observation:
        observation, self._observation = self._observation, None
        assert observation is not None, "act before observe"
        return observation

    def _start(self, games: npt.NDArray[np.bool_]) -> None:
        number = np.count_nonzero(games)
        self._ball_rows[games] = self._rng.integers(2, size=number)
        self._ball_columns[games] = self._rng.integers(GRID, size=number)
        self._paddles[games] = GRID // 2

    def _screens(self) -> npt.NDArray[np.uint8]:
        cells = np.zeros((self.num_games, GRID, GRID), np.uint8)
        games = np.arange(self.num_games)
        cells[games, self._ball_rows, self._ball_columns] = 255
        cells[games, GRID - 1, self._paddles] = 255
        return cells.repeat(CELL, axis=1).repeat(CELL, axis=2)
