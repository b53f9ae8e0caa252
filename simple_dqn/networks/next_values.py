"""The value of the next state that a target counts on: one small choice of DQN's relatives.

Each class gives, for states s' (batch, history, *observation_shape), what the target network
predicts of one action in each: a value (batch,) or a distribution (batch, num_atoms).
"""

from typing import Protocol

from torch import Tensor, nn

from simple_dqn.networks.heads import Head, taken


class NextValue(Protocol):
    """The value of the next state."""

    def __call__(self, states: Tensor) -> Tensor:
        """Return what is predicted of states s', (batch,) or (batch, num_atoms)."""


class MaximumValue:
    """max_a' Q_target(s', a'): DQN (Mnih et al. 2015, algorithm 1)."""

    def __init__(self, target_network: nn.Module, head: Head) -> None:
        self._target_network = target_network
        self._head = head

    def __call__(self, states: Tensor) -> Tensor:
        """Return the prediction for the best action."""
        predictions = self.predictions(states)
        return taken(predictions, self.best_actions(states, predictions))

    def predictions(self, states: Tensor) -> Tensor:
        """Return what the target network predicts of all actions, (batch, num_actions, ...)."""
        self._target_network.eval()
        return self._head.predictions(self._target_network(states))

    def best_actions(self, states: Tensor, predictions: Tensor) -> Tensor:  # noqa: ARG002
        """Return the actions that the target network's own predictions prefer, (batch,)."""
        return self._head.values(predictions).argmax(1)


class DoubleValue(MaximumValue):
    """Q_target(s', argmax_a' Q(s', a')): Double Q-learning (van Hasselt et al. 2016).

    The network chooses the next action, and its target network judges that action.
    """

    def __init__(self, target_network: nn.Module, head: Head, network: nn.Module) -> None:
        super().__init__(target_network, head)
        self._network = network

    def best_actions(self, states: Tensor, predictions: Tensor) -> Tensor:  # noqa: ARG002
        """Return the actions that the network prefers, (batch,)."""
        self._network.eval()
        return self._head.values(self._head.predictions(self._network(states))).argmax(1)


class ExpectedValue:
    """(1 - e) Q_target(s', best a') + e mean_a' Q_target(s', a'): Expected SARSA.

    The target counts on a random next action with probability e (van Seijen et al. 2009; Sutton
    and Barto 2018, equation 6.9).
    """

    def __init__(self, best: MaximumValue, exploration_rate: float) -> None:
        self._best = best
        self._exploration_rate = exploration_rate

    def __call__(self, states: Tensor) -> Tensor:
        """Return the mean over the actions of an epsilon-greedy player."""
        predictions = self._best.predictions(states)
        best = taken(predictions, self._best.best_actions(states, predictions))
        rate = self._exploration_rate
        return (1 - rate) * best + rate * predictions.mean(1)
