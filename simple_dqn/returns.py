"""Returns of n steps: what a transition brings before the next state's value counts."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt


class NStepReturn(NamedTuple):
    """Sums the clipped rewards of n steps; plain DQN has n = 1.

        return    r_1 + discount_rate r_2 + ... + discount_rate^(n-1) r_n, up to the end
        discount  discount_rate^n, or 0 after an end

    Where a time limit cuts the game before n steps, n is the number of steps before the cut
    (Pardo et al. 2018, Time limits in reinforcement learning, Partial-episode bootstrapping).

    Hessel et al. 2018 (Rainbow), Multi-step learning; rewards are clipped as in Mnih et al. 2015.

    Attributes:
        n_step: n.
        discount_rate: weight of a reward one step later.
        min_reward: lower bound to which rewards are clipped.
        max_reward: upper bound to which rewards are clipped.
        terminal_reward: reward of a step that ends the game (or life), whatever the game gave for
            it; None: the game's own. A game that a time limit cuts is not such an end.
    """

    n_step: int
    discount_rate: float
    min_reward: float
    max_reward: float
    terminal_reward: float | None = None

    def __call__(
        self,
        rewards: npt.NDArray[np.float32],
        ended: npt.NDArray[np.bool_],
        cut: npt.NDArray[np.bool_],
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Return returns and discounts, both float64 (batch,).

        Args:
            rewards: float32 (batch, n), unclipped.
            ended: bool (batch, n), whether that step or an earlier one ended the game (or life).
            cut: bool (batch, n), whether the game was cut before that step; never the first.
        """
        clipped = rewards.astype(np.float64).clip(self.min_reward, self.max_reward)
        if self.terminal_reward is not None:
            clipped[ended] = self.terminal_reward  # what follows the first end does not count
        counts = ~cut
        counts[:, 1:] &= ~ended[:, :-1]
        discounts = np.array([self.discount_rate**k for k in range(self.n_step + 1)])
        returns: npt.NDArray[np.float64] = (discounts[:-1] * counts * clipped).sum(axis=1)
        return returns, discounts[self.n_step - cut.sum(axis=1)] * ~ended[:, -1]
