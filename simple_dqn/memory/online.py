"""The newest stretch of many games in place of a replay memory: Q-learning online (PQN).

Gallici et al. 2024 (Simplifying deep temporal difference learning, arXiv 2407.04811), algorithm 1:
no replay memory and no target network; layer normalization and many games keep learning stable.
"""

from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt
from typing_extensions import override

from simple_dqn.agent import Network, Rate, States, choose_actions
from simple_dqn.replay_memory import CUT, TERMINAL, Minibatch, ReplayMemory


class OnlineMemory(ReplayMemory):
    """Hands out the transitions of the newest complete stretch, in random order, with returns.

    The return of a step is Peng's Q(lambda), from the Q-values that were acted on:

        G_t = r_t                                                                   at an end
        G_t = r_t + discount_rate ((1 - lambda) max_a Q(s_t+1, a) + lambda G_t+1)   otherwise
        G_t+1 = max_a Q(s_t+1, a)                             after the stretch, or before a cut

    Gallici et al. 2024, section 4, after Peng and Williams 1994. A transition's discount is 0,
    since its return is its target. All transitions come once before any comes again: each comes
    batch_size / train_frequency times while the next stretch is played.

    Deviates: the paper learns from a stretch before it plays the next one; here the emulators play
    the next stretch meanwhile.
    """

    def __init__(self, *, stretch: int, trace_decay: float, **settings: Any) -> None:
        """Allocate the lanes.

        Args:
            stretch: steps of each game; a lane holds two stretches and a state before them.
            trace_decay: lambda.
            settings: the arguments of `ReplayMemory`.
        """
        super().__init__(**settings)
        self._stretch, self._trace_decay = stretch, trace_decay
        self._values = np.zeros(self.rewards.shape)  # max_a Q(s, a) of each entry's state
        self._returns = np.zeros(self.rewards.shape)
        self.cut()

    def choose_actions(
        self,
        network: Network,
        states: States,
        exploration_rate: Rate,
        num_actions: int,
        rng: np.random.Generator,
    ) -> npt.NDArray[np.int64]:
        """Choose as `choose_actions` does, and keep the values of the states, all of them."""
        values = network.predict(states)
        self._values[:, self._position] = values.max(axis=1)
        if self.total and self.total % self._stretch == 0:
            self._complete_stretch()
        random = rng.random(len(states)) < exploration_rate
        known: Any = SimpleNamespace(predict=lambda _: values[~random])
        return choose_actions(known, states, random.astype(np.float64), num_actions, rng)

    def _complete_stretch(self) -> None:
        """Compute the returns of the last stretch; the value of what follows it is known now."""
        after = self._values[:, self._position]
        returns = after
        positions = np.arange(self.total - self._stretch, self.total) % self.lane_size
        for position in positions[::-1]:
            endings = self.endings[:, position, None]
            reward, discount = self._n_step_return(
                self.rewards[:, position, None], endings == TERMINAL, np.zeros_like(endings, bool)
            )
            mixed = (1 - self._trace_decay) * after + self._trace_decay * returns
            after = self._values[:, position]
            returns = np.where(endings[:, 0] == CUT, after, reward + discount * mixed)
            self._returns[:, position] = returns
        games, steps = np.nonzero(self.endings[:, positions] != CUT)
        self._newest = games * self.lane_size + positions[steps]
        self._order = self._newest[:0]

    @override
    def can_sample(self) -> bool:
        return len(self._newest) > 0

    @override
    def get_minibatch(self, rng: np.random.Generator, step: int) -> Minibatch:
        while len(self._order) < self._batch_size:
            self._order = np.concatenate([self._order, rng.permutation(self._newest)])
        indexes, self._order = np.split(self._order, [self._batch_size])
        minibatch = self._gather(indexes, self._equal_weights)
        returns = self._returns.reshape(-1)[indexes]
        return minibatch._replace(returns=returns, discounts=np.zeros_like(returns))

    @override
    def cut(self) -> None:
        """Forget everything: what is played next follows on none of it."""
        self.total = 0
        self._newest = self._order = np.zeros(0, np.int64)
