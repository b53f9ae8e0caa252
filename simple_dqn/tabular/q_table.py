"""Reinforcement learning with few states: where everything can be computed, and a table suffices.

A Markov decision process (S, A, R, P, gamma) that is known whole is solved by value iteration; one
that is only played is learned by Q-learning with a `QTable`, which stands where `DeepQNetwork`
stands when there are too many states for a table.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from simple_dqn.errors import UserError
from simple_dqn.replay_memory import Minibatch

Array = npt.NDArray[np.float64]
# table[s][a] lists (probability, next state, reward, whether the game ends).
Table = dict[int, dict[int, list[tuple[float, int, float, bool]]]]
_MOST_ITERATIONS = 100_000


class Process(NamedTuple):
    """A Markov decision process; its discount rate is given to the functions below.

    Attributes:
        transitions: P, float64 (S, A, S), probability of the next state where the game goes on;
            what is missing to 1 is the probability that the game ends.
        rewards: R, float64 (S, A), mean reward.
    """

    transitions: Array
    rewards: Array


def process_of(table: Table) -> Process:
    """Read the table `P` of Gymnasium's toy-text environments."""
    num_states, num_actions = len(table), len(table[0])
    process = Process(
        np.zeros((num_states, num_actions, num_states)), np.zeros((num_states, num_actions))
    )
    for state, actions in table.items():
        for action, outcomes in actions.items():
            for probability, after, reward, terminal in outcomes:
                process.rewards[state, action] += probability * reward
                process.transitions[state, action, after] += probability * (not terminal)
    return process


def value_iteration(transitions: Array, rewards: Array, discount_rate: float) -> Iterator[Array]:
    """Yield Q_0 = 0, Q_1, Q_2, ..., each float64 (S, A), which come ever closer to Q*.

        Q_{i+1}(s, a) = E[r + gamma max_a' Q_i(s', a') | s, a]

    The largest error shrinks at least by the factor gamma in each iteration, since the right side
    is a contraction (Bellman 1957; Sutton and Barto 2018, section 4.4).

    Args:
        transitions: P, see `Process`.
        rewards: R, see `Process`.
        discount_rate: gamma.
    """
    values = np.zeros_like(rewards)
    while True:
        yield values
        values = rewards + discount_rate * transitions @ values.max(axis=1)


def policy_evaluation(
    transitions: Array, rewards: Array, discount_rate: float, policy: Array
) -> Iterator[Array]:
    """Yield Q_0 = 0, Q_1, ..., which come ever closer to the Q of a policy.

        Q_{i+1}(s, a) = E[r + gamma V_i(s') | s, a],  V_i(s) = sum_a pi(a | s) Q_i(s, a)

    Sutton and Barto 2018, section 4.1.

    Args:
        transitions: P, see `Process`.
        rewards: R, see `Process`.
        discount_rate: gamma.
        policy: pi, float64 (S, A), probability of each action.
    """
    values = np.zeros_like(rewards)
    while True:
        yield values
        values = rewards + discount_rate * transitions @ (policy * values).sum(axis=1)


def limit(iterations: Iterator[Array], tolerance: float = 1e-10) -> Array:
    """Return the values that iterations come to: those that change by no more than `tolerance`.

    Raises:
        UserError: they come to nothing.
    """
    before = next(iterations)
    for _, after in zip(range(_MOST_ITERATIONS), iterations, strict=False):
        change = np.abs(after - before).max()
        if change <= tolerance:
            return after
        if not np.isfinite(change) or np.abs(after).max() > 1e9:
            break
        before = after
    raise UserError("the values have no limit; give a --discount_rate below 1")


def check_ends(transitions: Array) -> None:
    """Check that a walk can end, from every state; without a discount its value has no limit else.

    Raises:
        UserError: from some state it goes on for ever.
    """
    ends = (transitions.sum(axis=2) < 1 - 1e-12).any(axis=1)  # (S,)
    for _ in range(len(ends)):
        ends = ends | (transitions[:, :, ends] > 0).any(axis=(1, 2))
    if not ends.all():
        raise UserError(
            f"from state {int(np.argmin(ends))} the walk goes on for ever, and its value has no "
            "limit; give a --discount_rate below 1"
        )


def best_actions(values: Array, tolerance: float = 1e-6) -> npt.NDArray[np.bool_]:
    """Return which actions are the best, or as good as the best, bool (S, A)."""
    best: npt.NDArray[np.bool_] = values >= values.max(axis=1, keepdims=True) - tolerance
    return best


class QTable:
    """Q(s, a) as a table, one row for each state; an `agent.Network`.

    With learning rate 1 an update is the Bellman equation itself, which is exact where nothing is
    random. Otherwise the learning rate of a state and action goes down with the number of their
    updates, as convergence demands (Watkins and Dayan 1992; Even-Dar and Mansour 2003).

    Attributes:
        values: Q, float64 (S, A).
        weight_updates: updates so far.
    """

    def __init__(self, num_states: int, num_actions: int, *, decay: float) -> None:
        """Begin with zeros.

        Args:
            num_states: S.
            num_actions: A.
            decay: the k-th update of a state and action has the learning rate k^-decay; 0: 1.
        """
        self.values = np.zeros((num_states, num_actions))
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
        """Return the mean squared error of the last minibatch, halved."""
        return float((self._errors**2).mean() / 2) if len(self._errors) else 0.0

    def reset_cost(self) -> None:
        """Do nothing."""


def _numbers(states: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    """The numbers of one-hot states (n, 1, S)."""
    numbers: npt.NDArray[np.int64] = np.asarray(states)[:, -1].argmax(axis=1)
    return numbers
