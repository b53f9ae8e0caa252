"""Prioritized experience replay (Schaul et al. 2016)."""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from simple_dqn.errors import UserError
from simple_dqn.memory.sum_tree import SumTree
from simple_dqn.replay_memory import CUT, Minibatch, ReplayMemory

_LEAST_PRIORITY = 1e-3  # added to an error's size, so that every transition may be drawn again


class PrioritizedReplayMemory(ReplayMemory):
    """Draws transitions in proportion to p^priority_exponent, p being the size of the last error.

    Section 3.3 of the paper, proportional prioritization. A transition that was never drawn has
    the highest priority seen so far.
    """

    def __init__(
        self,
        *,
        priority_exponent: float,
        importance_exponent: Callable[[int], float],
        **settings: Any,
    ) -> None:
        """Allocate the lanes and the tree of priorities.

        Args:
            priority_exponent: 0 would be uniform.
            importance_exponent: by training step, the exponent of the weights that make up for
                drawing by priority.
            settings: the arguments of `ReplayMemory`.
        """
        super().__init__(**settings)
        # By index: priority^exponent of the legal transitions, 0 of all others.
        self._priorities = SumTree(self.actions.size)
        self._priority_exponent = priority_exponent
        self._importance_exponent = importance_exponent
        self._highest_priority = 1.0

    @property
    def nbytes(self) -> int:
        """Bytes of all steps and of the tree."""
        return super().nbytes + self._priorities.nbytes

    def add(self, *step: Any, **named: Any) -> None:
        """Store one step of every game, and keep the tree to the legal transitions."""
        super().add(*step, **named)
        newest = self._position - 1
        games = np.arange(len(self.actions))
        if self.count == self.lane_size:
            overwritten = (newest + np.arange(self._history_length)) % self.lane_size
            self._priorities[(games[:, None] * self.lane_size + overwritten).ravel()] = 0.0
        if self.count > self._n_step:
            positions = np.full(len(games), (newest - self._n_step) % self.lane_size)
            legal = self.endings[games, positions] != CUT
            highest = self._highest_priority**self._priority_exponent
            indexes = games * self.lane_size + positions
            self._priorities[indexes] = np.where(legal, highest, 0.0)

    def get_minibatch(self, rng: np.random.Generator, step: int) -> Minibatch:
        """Draw one transition from each of batch_size equal parts of the sum of all priorities.

        Weights make up for drawing by priority: w = (N P)^-importance_exponent, divided by the
        largest of the minibatch, where P is the transition's probability (section 3.4).
        """
        shares = np.arange(self._batch_size) + rng.random(self._batch_size)
        indexes = self._priorities.find(shares / self._batch_size * self._priorities.total)
        priorities = self._priorities[indexes]
        weights = (priorities / priorities.min()) ** -self._importance_exponent(step)
        return self._gather(indexes, weights.astype(np.float32))

    def update_priorities(
        self, minibatch: Minibatch, errors: Callable[[], npt.NDArray[np.float32]]
    ) -> None:
        """Set the priorities of a minibatch by its errors, float (batch,).

        NB! Before the next `add`, while the minibatch's transitions are legal.
        """
        priorities = np.abs(errors().astype(np.float64)) + _LEAST_PRIORITY
        self._highest_priority = max(self._highest_priority, priorities.max())
        self._priorities[minibatch.indexes] = priorities**self._priority_exponent

    def priorities(self) -> dict[str, npt.NDArray[np.generic]]:
        """Return all priorities by index, and the highest priority seen so far."""
        return {
            "priorities": self._priorities[np.arange(self.actions.size)],
            "highest_priority": np.array(self._highest_priority),
        }

    def set_priorities(self, priorities: dict[str, npt.NDArray[np.generic]]) -> None:
        """Take over what `priorities` gave for the same steps; others raise a `UserError`."""
        legal = self._legal()
        shapes = {name: array.shape for name, array in priorities.items()}
        if shapes != {"priorities": legal.shape, "highest_priority": ()}:
            raise UserError(f"the priorities are not those of {legal.size:,} steps")
        numbers = priorities["priorities"].astype(np.float64)
        highest = float(priorities["highest_priority"].astype(np.float64))
        # NB! One illegal transition would be drawn; where none is drawn, there are no weights.
        wrong = not 0 < highest < np.inf or not np.isfinite(numbers.sum()) or (numbers < 0).any()
        if wrong or numbers[~legal].any() or (legal.any() and not numbers.any()):
            raise UserError("the priorities are not those of the replay memory's steps")
        self._priorities[np.arange(legal.size)] = numbers
        self._highest_priority = highest

    def _legal(self) -> npt.NDArray[np.bool_]:
        """Whether a transition begins at each index, bool (num_games * lane_size,)."""
        legal = np.zeros(self.actions.shape, np.bool_)
        first, number = self._first_and_number()
        positions = (first + np.arange(number)) % self.lane_size
        legal[:, positions] = self.endings[:, positions] != CUT
        return legal.reshape(-1)
