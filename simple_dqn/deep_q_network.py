"""The deep Q-network: Q-values of all actions from one look at a state, and how they are learned.

Mnih et al. 2015, Methods, Model architecture and Training algorithm. The only core class that
knows torch; NumPy arrays go in and come out. The parts that it is built of are in `networks/`.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from simple_dqn.errors import UserError
from simple_dqn.networks.heads import Head, taken
from simple_dqn.networks.layers import QNetwork
from simple_dqn.networks.next_values import NextValue
from simple_dqn.networks.optimizers import state_like
from simple_dqn.networks.weights import (
    Arrays,
    check_arrays,
    optimizer_state_of,
    to_numpy,
    to_tensors,
    with_prefix,
)
from simple_dqn.replay_memory import Minibatch

_COSTS_BETWEEN_CHECKS = 1000  # updates; looking at the cost waits for the device
Function = Callable[..., None]


class DeepQNetwork:
    """Q(s, a) as a neural network, with its target network and its optimizer.

    Attributes:
        weight_updates: gradient steps taken so far.
    """

    def __init__(
        self,
        *,
        network: QNetwork,
        target_network: QNetwork,
        head: Head,
        next_value: NextValue,
        optimizer: torch.optim.Optimizer,
        as_graph: Callable[[Function], Function],
    ) -> None:
        """Take over the parts, which are on one device and of one type.

        Args:
            network: from states (n, history, *observation_shape) to the head's outputs.
            target_network: copy of the network that changes only with `update_target_network`; or
                the network itself, to learn without a target network.
            head: what the network's outputs mean, their targets and their loss.
            next_value: value of the next state that targets count on.
            optimizer: of the network's parameters.
            as_graph: makes one launch of the gradient step, as `CudaGraph`, or leaves it as it is.
        """
        self.weight_updates = 0
        self.kernels = "torch"  # whose arithmetic it is; others round differently
        self._network = network
        self._target_network = target_network
        self._head = head
        self._next_value = next_value
        self._optimizer = optimizer
        self._as_graph = as_graph
        parameter = next(network.parameters())
        self._device = parameter.device
        self._dtype = torch.promote_types(parameter.dtype, torch.float32)  # of returns and losses
        self._cost_sum = torch.zeros((), dtype=torch.float64, device=self._device)
        self._costs = 0
        self._errors = torch.zeros(0)
        self._step = as_graph(self._gradient_step)
        self.update_target_network()

    def predict(self, states: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        """Return the Q-values of all actions, float32 (n, num_actions).

        Args:
            states: (n, history, *observation_shape).
        """
        with torch.inference_mode():
            return self._head.values(self._predictions(states)).float().cpu().numpy()

    def predict_distribution(
        self, states: npt.NDArray[Any]
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]] | None:
        """Return returns (num_atoms,), probabilities (n, num_actions, num_atoms); see `Head`."""
        with torch.inference_mode():
            found = self._head.distribution(self._predictions(states))
            return found and (found[0].float().cpu().numpy(), found[1].float().cpu().numpy())

    def dead_units(self, states: npt.NDArray[Any]) -> float:
        """Return the share of hidden units that are 0 in all states, see `QNetwork.dead_units`."""
        return self._network.dead_units(torch.as_tensor(states, device=self._device))

    def _predictions(self, states: npt.NDArray[Any]) -> Tensor:
        self._network.eval()
        return self._head.predictions(self._network(torch.as_tensor(states, device=self._device)))

    def train(self, minibatch: Minibatch) -> None:
        """Take one gradient step on a minibatch: bring it to the device, see `_gradient_step`."""
        self._step(
            torch.as_tensor(minibatch.prestates, device=self._device),
            torch.as_tensor(minibatch.actions, device=self._device),
            torch.as_tensor(minibatch.returns, device=self._device, dtype=self._dtype),
            torch.as_tensor(minibatch.discounts, device=self._device, dtype=self._dtype),
            torch.as_tensor(minibatch.poststates, device=self._device),
            torch.as_tensor(minibatch.weights, device=self._device, dtype=self._dtype),
        )
        self.weight_updates += 1
        self._costs += 1
        if self._costs % _COSTS_BETWEEN_CHECKS == 0:
            self.mean_cost()

    def _gradient_step(
        self,
        prestates: Tensor,
        actions: Tensor,
        returns: Tensor,
        discounts: Tensor,
        poststates: Tensor,
        weights: Tensor,
    ) -> None:
        """Take one gradient step on transitions <s, a, r, s'>.

            target  t = r                                            if s' is terminal
                    t = r + discount_rate max_a' Q_target(s', a')    otherwise
            loss      = sum of (t - Q(s, a))^2 / 2, the error t - Q(s, a) clipped

        Mnih et al. 2015, algorithm 1. The gradient is the sum over the minibatch and its error is
        clipped to [-1, 1], as in NeuralQLearner.lua (that is the Huber loss's gradient).

        NB! On a GPU these lines are one CUDA graph, so nothing here may wait for the device.
        """
        with torch.no_grad():
            # 0 and max_a' Q_target(s', a')
            bonuses, next_values = self._next_value(prestates, actions, poststates)
            # r + discount * next value
            targets = self._head.targets(next_values, returns + bonuses, discounts)
        self._network.train()
        predictions = taken(self._network(prestates), actions)  # Q(s, a)
        losses, errors = self._head.losses(predictions, targets)  # Huber(t - Q(s, a)), t - Q(s, a)
        loss = (weights * losses).sum()
        self._optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self._optimizer.step()
        self._errors = errors  # a graph writes its later errors into the same tensor
        self._cost_sum += loss.detach() / len(actions)

    def errors(self) -> npt.NDArray[np.float32]:
        """Return the errors t - Q(s, a) of the last minibatch, (batch,); of C51 the losses."""
        return self._errors.float().cpu().numpy()

    def update_target_network(self) -> None:
        """Copy the network's weights to the target network."""
        if self._target_network is not self._network:
            self._target_network.load_state_dict(self._network.state_dict())

    @property
    def learning_rate(self) -> float:
        """Learning rate of the optimizer, per update."""
        return float(self._optimizer.param_groups[0]["lr"])

    def set_pixel_mean(self, pixel_mean: float) -> None:
        """Let both networks subtract another mean from bytes, see `QNetwork`."""
        self._network.pixel_mean = self._target_network.pixel_mean = pixel_mean

    def set_learning_rate(self, learning_rate: float) -> None:
        """Continue with another learning rate."""
        for group in self._optimizer.param_groups:
            group["lr"] = learning_rate
        self._step = self._as_graph(self._gradient_step)  # a graph has the old rate in it

    def mean_cost(self) -> float:
        """Return the mean loss of a transition over the updates since `reset_cost`; 0 without any.

        Raises:
            UserError: the loss is not finite: the network has diverged.
        """
        cost = self._cost_sum.item() / max(self._costs, 1)
        self._check_finite("the loss", cost)
        return cost

    def check_finite(self) -> None:
        """See that training has not diverged, also in its last update.

        Raises:
            UserError: the loss or a weight is not finite.
        """
        self.mean_cost()
        for name, values in self._network.state_dict().items():
            self._check_finite(f"weight {name}", values.double().sum().item())

    def _check_finite(self, what: str, value: float) -> None:
        if not math.isfinite(value):
            raise UserError(
                f"{what} became {value} by weight update {self.weight_updates}; "
                "go back to the last snapshot with a smaller --learning_rate"
            )

    def reset_cost(self) -> None:
        """Begin a new mean of losses."""
        self._cost_sum.zero_()
        self._costs = 0

    def get_weights(self) -> Arrays:
        """Return copies of the network's weights by name."""
        return to_numpy(self._network.state_dict())

    def set_weights(self, weights: Arrays) -> None:
        """Take over weights from `get_weights`; the target network gets them too.

        Raises:
            UserError: the weights belong to another network.
        """
        check_arrays(weights, self._network.state_dict())
        self._network.load_state_dict(to_tensors(weights))
        self.update_target_network()

    def get_training_state(self) -> Arrays:
        """Return what training needs besides the weights: target network and optimizer."""
        state = {}
        if self._target_network is not self._network:
            state = {f"target.{k}": v for k, v in self._target_network.state_dict().items()}
        for index, values in self._optimizer.state_dict()["state"].items():
            state |= {f"optimizer.{index}.{name}": value for name, value in values.items()}
        return to_numpy(state)

    def set_training_state(self, state: Arrays) -> None:
        """Take over what `get_training_state` gave for the same network and optimizer.

        Raises:
            UserError: the state belongs to another network or optimizer.
        """
        target, of_optimizer = with_prefix(state, "target."), with_prefix(state, "optimizer.")
        if len(target) + len(of_optimizer) < len(state):
            raise UserError("there are arrays that are neither target network nor optimizer")
        if target:
            check_arrays(target, self._network.state_dict())
        if of_optimizer:
            check_arrays(of_optimizer, state_like(self._optimizer))
        if target and self._target_network is not self._network:
            self._target_network.load_state_dict(to_tensors(target))
        if of_optimizer:  # else no update was made yet, or the optimizer begins afresh
            new = optimizer_state_of(to_tensors(of_optimizer), list(self._network.parameters()))
            self._optimizer.load_state_dict({**self._optimizer.state_dict(), "state": new})
        self._step = self._as_graph(self._gradient_step)  # the optimizer has other tensors now
