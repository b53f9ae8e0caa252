"""Q-learning with a table of values, which takes the place of a deep Q-network."""

from typing import Any

import numpy as np
import numpy.typing as npt

from simple_dqn.replay_memory import Minibatch


class QTable:
    """Q(s, a) as a table, one row for each state; an `agent.Network`.

    With learning rate 1 an update is the Bellman equation itself, which is exact where nothing is
    random. Otherwise the learning rate of a state and action goes down with the number of their
    updates, as convergence demands (Watkins and Dayan 1992; Even-Dar and Mansour 2003).
    """

    def __init__(self, num_states: int, num_actions: int, *, decay: float) -> None:
        """Make the table; the k-th update of a state and action has the learning rate k^-decay."""
        self.values = np.zeros((num_states, num_actions))  # Q, float64 (S, A)
        self.weight_updates = 0
        self._counts = np.zeros((num_states, num_actions))
        self._decay = decay
        self._errors = np.zeros(0, np.float32)

    def predict(self, states: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        """Return float32 (n, A) for one-hot states (n, 1, S)."""
        return self.values[_numbers(states)].astype(np.float32)

    def train(self, minibatch: Minibatch) -> None:
        """Q[s,a] = Q[s,a] + alpha (r + gamma max_a' Q[s',a'] - Q[s,a]), one after another."""
        before, after = _numbers(minibatch.prestates), _numbers(minibatch.poststates)
        errors = np.zeros(len(before), np.float32)
        for i, (s, a) in enumerate(zip(before, minibatch.actions, strict=True)):
            target = minibatch.returns[i] + minibatch.discounts[i] * self.values[after[i]].max()
            self._counts[s, a] += 1
            errors[i] = target - self.values[s, a]
            self.values[s, a] += self._counts[s, a] ** -self._decay * (target - self.values[s, a])
        self._errors = errors
        self.weight_updates += 1

    def errors(self) -> npt.NDArray[np.float32]:
        """Return target minus Q-value of the last minibatch, before its updates, (batch,)."""
        return self._errors

    def update_target_network(self) -> None:
        """Do nothing: a table needs no target network."""

    def mean_cost(self) -> float:
        """Return half the mean squared error of the last minibatch."""
        return float((self._errors**2).mean() / 2) if len(self._errors) else 0.0

    def reset_cost(self) -> None:
        """Do nothing: the cost is that of the last minibatch."""


def _numbers(states: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    """The numbers of one-hot states (n, 1, S)."""
    numbers: npt.NDArray[np.int64] = np.asarray(states)[:, -1].argmax(axis=1)
    return numbers
