"""The value of the next state in a target: one small choice of each of DQN's relatives.

A class sees the transitions <s, a, s'> of a minibatch, states (batch, history, *observation_shape)
and actions (batch,). It returns what is added to the return, a number or (batch,), and what the
target network predicts of s': a value (batch,) or a distribution (batch, num_atoms).
"""

from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional
from typing_extensions import override

from simple_dqn.networks.heads import Head, taken


class NextValue(Protocol):
    """The value of the next state."""

    def __call__(
        self, prestates: Tensor, actions: Tensor, poststates: Tensor
    ) -> tuple[Tensor | float, Tensor]:
        """Return what is added to the return, and the prediction of s'; see the module."""


class MaximumValue(NextValue):
    """max_a' Q_target(s', a'): DQN (Mnih et al. 2015, algorithm 1)."""

    def __init__(self, network: nn.Module, target_network: nn.Module, head: Head) -> None:
        """Take over the networks, and the head that knows what their outputs mean."""
        self.network = network
        self.target_network = target_network
        self.head = head

    @override
    def __call__(
        self, prestates: Tensor, actions: Tensor, poststates: Tensor
    ) -> tuple[Tensor | float, Tensor]:
        predictions = self.predictions(poststates)
        return 0.0, taken(predictions, self.best_actions(poststates, predictions))

    def predictions(self, states: Tensor) -> Tensor:
        """Return what the target network predicts of all actions, (batch, num_actions, ...)."""
        self.target_network.eval()
        return self.head.predictions(self.target_network(states))

    def best_actions(self, states: Tensor, predictions: Tensor) -> Tensor:  # noqa: ARG002
        """Return the actions that the target network's own predictions prefer, (batch,)."""
        return self.head.values(predictions).argmax(1)


class NoValue(NextValue):
    """Nothing: returns are complete, as those of `OnlineMemory` are."""

    def __init__(self, head: Head) -> None:
        self._head = head

    @override
    def __call__(
        self, prestates: Tensor, actions: Tensor, poststates: Tensor
    ) -> tuple[Tensor | float, Tensor]:
        atoms = self._head.num_atoms
        shape = (len(actions), atoms) if atoms > 1 else (len(actions),)
        return 0.0, self._head.predictions(torch.zeros(shape, device=actions.device))


class DoubleValue(MaximumValue):
    """Q_target(s', argmax_a' Q(s', a')): Double Q-learning (van Hasselt et al. 2016).

    The network chooses the next action, and its target network judges that action.
    """

    @override
    def best_actions(self, states: Tensor, predictions: Tensor) -> Tensor:
        self.network.eval()
        return self.head.values(self.head.predictions(self.network(states))).argmax(1)


class ExpectedValue(NextValue):
    """(1 - e) Q_target(s', best a') + e mean_a' Q_target(s', a'): Expected SARSA.

    The value of a player whose next action is random with probability e (van Seijen et al. 2009;
    Sutton and Barto 2018, equation 6.9).
    """

    def __init__(self, best: MaximumValue, exploration_rate: float) -> None:
        self._best = best
        self._exploration_rate = exploration_rate

    @override
    def __call__(
        self, prestates: Tensor, actions: Tensor, poststates: Tensor
    ) -> tuple[Tensor | float, Tensor]:
        predictions = self._best.predictions(poststates)
        best = taken(predictions, self._best.best_actions(poststates, predictions))
        rate = self._exploration_rate
        return 0.0, (1 - rate) * best + rate * predictions.mean(1)


class MunchausenValue(MaximumValue):
    """The log-policy is added to the reward, and the next state has its soft value.

        return + scale max(floor, T ln pi(a|s)),  next value sum_a' pi(a'|s') (Q(s', a') - T ln pi)
        where pi = softmax(Q_target / T)

    Vieillard, Pietquin and Geist 2020 (Munchausen reinforcement learning), equation 1, with the
    values of section 4. Quantiles are averaged one by one, as in its M-IQN.
    """

    temperature, scale, floor = 0.03, 0.9, -1.0  # the paper's tau, alpha and l_0

    @override
    def __call__(
        self, prestates: Tensor, actions: Tensor, poststates: Tensor
    ) -> tuple[Tensor | float, Tensor]:
        log_policy = taken(self._log_policy(self.predictions(prestates)), actions)  # times T
        predictions = self.predictions(poststates)
        next_log_policy = self._log_policy(predictions)
        policy = (next_log_policy / self.temperature).exp()
        for _ in range(predictions.dim() - 2):  # (batch, num_actions, num_atoms)
            policy, next_log_policy = policy[..., None], next_log_policy[..., None]
        next_value = (policy * (predictions - next_log_policy)).sum(1)
        return self.scale * log_policy.clamp(self.floor, 0.0), next_value

    def _log_policy(self, predictions: Tensor) -> Tensor:
        """Return T ln pi, (batch, num_actions)."""
        values = self.head.values(predictions)
        return self.temperature * functional.log_softmax(values / self.temperature, 1)
