"""Value iteration: the values and policies of a Markov decision process that is known.

A process (S, A, R, P, gamma) has few enough states here that its transitions fit into an array.
"""

from collections.abc import Iterator
from itertools import islice, pairwise
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from simple_dqn.environments.grid_world import Table
from simple_dqn.errors import UserError

Array = npt.NDArray[np.float64]
_MOST_ITERATIONS = 100_000


class Process(NamedTuple):
    """A Markov decision process; the functions below take its discount rate."""

    # P, float64 (S, A, S), of the next state; the rest to 1 is the probability of the game's end.
    transitions: Array
    rewards: Array  # R, float64 (S, A), mean reward


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
    """Yield Q_0 = 0, Q_1, Q_2, ..., each float64 (S, A), which converge to Q*.

        Q_{i+1}(s, a) = E[r + gamma max_a' Q_i(s', a') | s, a]

    The largest error shrinks at least by the factor gamma in each iteration, since the right side
    is a contraction (Bellman 1957; Sutton and Barto 2018, section 4.4).
    """
    values = np.zeros_like(rewards)
    while True:
        yield values
        values = rewards + discount_rate * transitions @ values.max(axis=1)


def policy_evaluation(
    transitions: Array, rewards: Array, discount_rate: float, policy: Array
) -> Iterator[Array]:
    """Yield Q_0 = 0, Q_1, Q_2, ..., each float64 (S, A), which converge to the Q of a policy.

        Q_{i+1}(s, a) = E[r + gamma V_i(s') | s, a],  V_i(s) = sum_a pi(a | s) Q_i(s, a)

    The policy pi is float64 (S, A), the probability of each action (Sutton and Barto 2018, section
    4.1). Q_i is also the mean discounted reward of the first i steps.
    """
    values = np.zeros_like(rewards)
    while True:
        yield values
        values = rewards + discount_rate * transitions @ (policy * values).sum(axis=1)


def limit(iterations: Iterator[Array], tolerance: float = 1e-10) -> Array:
    """Return the first values that differ from those before by at most `tolerance`."""
    for before, after in pairwise(islice(iterations, _MOST_ITERATIONS)):
        if np.abs(after - before).max() <= tolerance:
            return after
    raise UserError("the values do not converge; give a --discount_rate below 1")


def best_actions(values: Array, tolerance: float = 1e-6) -> npt.NDArray[np.bool_]:
    """Return which actions have the highest value, or nearly so, bool (S, A)."""
    best: npt.NDArray[np.bool_] = values >= values.max(axis=1, keepdims=True) - tolerance
    return best


def greedy_policy(values: Array) -> Array:
    """Return the policy that takes one of the best actions at random, float64 (S, A)."""
    best = best_actions(values)
    policy: Array = best / best.sum(axis=1, keepdims=True)
    return policy
