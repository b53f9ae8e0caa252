"""Exploration that lasts: a random action is kept for several steps."""

import numpy as np
import numpy.typing as npt

from simple_dqn.agent import Network, Rate, States, choose_actions


class RepeatedActions:
    """Chooses as `choose_actions` does, but keeps a random action for n steps of its game.

        P(n) is proportional to n^-2, n = 1 ... longest

    Dabney, Ostrovski and Barreto 2020 (Temporally-extended epsilon-greedy exploration), appendix B,
    with the zeta distribution of exponent 2. The exploration rate is the probability that a random
    action begins, so a greater part of all steps is random.
    """

    def __init__(self, num_games: int, longest: int) -> None:
        """Begin without an action to keep; each game has its own, for `longest` steps at most."""
        shares = np.arange(1, longest + 1) ** -2.0
        self._probabilities = shares / shares.sum()  # of n = 1 ... longest
        self._kept = np.zeros(num_games, np.int64)  # actions; those of random steps count
        self._left = np.zeros(num_games, np.int64)  # steps for which an action is still kept

    def __call__(
        self,
        network: Network,
        states: States,
        exploration_rate: Rate,
        num_actions: int,
        rng: np.random.Generator,
    ) -> npt.NDArray[np.int64]:
        """Choose the actions of a step, int64 (num_games,); see `choose_actions`."""
        keeps = self._left > 0
        begins = ~keeps & (rng.random(len(states)) < exploration_rate)
        durations = 1 + rng.choice(len(self._probabilities), begins.sum(), p=self._probabilities)
        self._left[begins] = durations
        random = (keeps | begins).astype(np.float64)  # an exploration rate of 1 or 0
        actions = choose_actions(network, states, random, num_actions, rng)
        self._kept = np.where(keeps, self._kept, actions)
        self._left -= keeps | begins
        return self._kept
