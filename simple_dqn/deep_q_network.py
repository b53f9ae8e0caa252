"""The deep Q-network: Q-values of all actions from one look at a state.

Mnih et al. 2015, Methods, Model architecture and Training algorithm. The only core class that
knows torch; NumPy arrays go in and come out.
"""

import math
from collections.abc import Callable
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from simple_dqn.errors import UserError
from simple_dqn.networks.cuda_graph import CudaGraph
from simple_dqn.networks.heads import ValueDistribution
from simple_dqn.networks.layers import ARCHITECTURES, QNetwork
from simple_dqn.networks.native import compile_kernels
from simple_dqn.networks.optimizers import make_optimizer

NUM_ATOMS, _LARGEST_RETURN = 51, 10.0  # of c51; Bellemare et al. 2017, section 5
_COSTS_BETWEEN_CHECKS = 1000  # updates; a look at the cost waits for the device


class Transitions(Protocol):
    """A minibatch of transitions; see `replay_memory.Minibatch`."""

    @property
    def prestates(self) -> npt.NDArray[np.uint8] | Tensor:
        """uint8 (batch, history, height, width)."""

    @property
    def actions(self) -> npt.NDArray[np.int64]:
        """int64 (batch,)."""

    @property
    def rewards(self) -> npt.NDArray[np.float32]:
        """float32 (batch, n_step), raw."""

    @property
    def poststates(self) -> npt.NDArray[np.uint8] | Tensor:
        """uint8 (batch, history, height, width), n_step steps later."""

    @property
    def terminals(self) -> npt.NDArray[np.bool_]:
        """Bool (batch, n_step): the game ended at that step or before it."""

    @property
    def weights(self) -> npt.NDArray[np.float32] | None:
        """float32 (batch,): how much each transition counts; None: all alike."""


class DeepQNetwork:
    """Q(s, a) as a convolutional network, its target network and its optimizer.

    Attributes:
        weight_updates: gradient steps taken so far.
        has_kernels: whether kernels made for this CPU do the convolutions.
    """

    def __init__(
        self,
        *,
        network: str,
        num_actions: int,
        history_length: int,
        screen_shape: tuple[int, int],
        batch_norm: bool,
        pixel_mean: float,
        learning_rate: float,
        discount_rate: float,
        double_q: bool,
        target_exploration_rate: float,
        dueling: bool,
        distributional: str,
        batch_size: int,
        optimizer: str,
        decay_rate: float,
        adam_epsilon: float,
        clip_error: float,
        min_reward: float,
        max_reward: float,
        target_network: bool,
        device: str,
        datatype: str,
        native_kernels: bool,
        random_seed: int,
        num_threads: int,
    ) -> None:
        """Build the network with random weights.

        Args:
            network: `nature`, `nips` or `mlp`; see `networks`.
            num_actions: outputs.
            history_length: screens in a state.
            screen_shape: (height, width).
            batch_norm: normalise each hidden layer over the minibatch.
            pixel_mean: subtracted from the pixels, which are scaled to [0, 1].
            learning_rate: of the optimizer.
            discount_rate: the weight of a reward one step later.
            double_q: the network chooses the next action, its target network judges it.
            target_exploration_rate: the probability of a random next action that targets count
                on; see `_targets`.
            dueling: a stream for the state's value, one for the actions' advantages; see `Dueling`.
            distributional: `none`, or `c51` to learn the distribution of returns; see
                `ValueDistribution`.
            batch_size: transitions in a minibatch.
            optimizer: `rmsprop`, `adam` or `adadelta`.
            decay_rate: of the optimizer's running averages.
            adam_epsilon: of adam; see `make_optimizer`.
            clip_error: the error counts in the gradient up to this; 0: in full.
            min_reward: rewards are clipped to [min_reward, max_reward].
            max_reward: see min_reward.
            target_network: keep a second network for the targets; without, the network is its own.
            device: `cpu` or `cuda:0`.
            datatype: `float16`, `float32` or `float64`, of weights and arithmetic.
            native_kernels: compile kernels for this CPU where possible; see `native`.
            random_seed: of the initial weights.
            num_threads: threads that compute on the CPU.

        Raises:
            UserError: the screens are too small for the network, no reward is allowed, or Double
                Q-learning has no target network.
        """
        if double_q and not target_network:
            raise UserError("--double_q needs a target network; give --target_steps above 0")
        if min_reward > max_reward:
            raise UserError(
                f"--min_reward {min_reward:g} is above --max_reward {max_reward:g}; swap them"
            )
        torch.set_num_threads(num_threads)
        # The running averages of a dead filter's gradients shrink to denormal numbers and stay
        # there; arithmetic with those is many times slower. They count as zero.
        torch.set_flush_denormal(True)
        self._device = torch.device(device)
        if self._device.type == "cuda":  # by default torch rounds to TF32 and sums in any order
            torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
            torch.backends.cudnn.deterministic = True
        self._dtype: torch.dtype = getattr(torch, datatype)
        self._discount_rate = discount_rate
        self._double_q = double_q
        self._target_exploration_rate = target_exploration_rate
        self._clip_error = clip_error
        self._min_reward, self._max_reward = min_reward, max_reward
        self._distribution: ValueDistribution | None = None
        if distributional == "c51":
            if max(abs(min_reward), abs(max_reward)) > _LARGEST_RETURN:
                raise UserError(
                    f"--distributional c51 knows returns of +-{_LARGEST_RETURN:g} only; "
                    "bring --min_reward and --max_reward within"
                )
            dtype = torch.float64 if self._dtype == torch.float64 else torch.float32
            self._distribution = ValueDistribution(NUM_ATOMS, _LARGEST_RETURN, self._device, dtype)
        architecture = ARCHITECTURES[network]
        kernels = None
        can_use_kernels = device == "cpu" and datatype == "float32" and not batch_norm
        if native_kernels and can_use_kernels and architecture.convolutions:
            kernels = compile_kernels(
                architecture.convolutions, history_length, screen_shape, num_threads
            )

        def make() -> QNetwork:
            made = QNetwork(
                architecture,
                num_actions,
                history_length,
                screen_shape,
                num_atoms=NUM_ATOMS if self._distribution else 1,
                dueling=dueling,
                batch_norm=batch_norm,
                pixel_mean=pixel_mean,
            )
            made.place(self._device, self._dtype, kernels)
            return made

        self._make_network = make
        self._network = make()
        self._network.init_weights(random_seed)
        self._target_network = self._network
        if target_network:
            self._target_network = make().eval()
            self.update_target_network()
        self._optimizer = make_optimizer(
            optimizer,
            self._network.parameters(),
            learning_rate=learning_rate,
            decay_rate=decay_rate,
            epsilon=adam_epsilon,
            batch_size=batch_size,
            kernels=kernels,
        )
        self.weight_updates = 0
        self.has_kernels = kernels is not None
        self._cost_sum = torch.zeros((), dtype=torch.float64, device=self._device)
        self._costs = 0
        self._errors = torch.zeros(batch_size, device=self._device)
        self._gradient_step = self._prepare_gradient_step()

    def predict(self, states: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Return the Q-values of all actions in the given states.

        Args:
            states: uint8 (n, history, height, width).

        Returns:
            float32 (n, num_actions).
        """
        with torch.inference_mode():
            self._network.eval()
            values = self.values(self._network(self._states(states)))  # (n, num_actions)
            return values.float().cpu().numpy()

    def train(self, minibatch: Transitions) -> None:
        """Take one gradient step on a minibatch; `mean_cost` tells its cost.

            target  t = r                              if s' is terminal
                    t = r + discount max_a' Q_target(s', a')  otherwise
            cost      = sum of (t - Q(s, a))^2 / 2, the error t - Q(s, a) clipped

        Mnih et al. 2015, algorithm 1; the gradient is the sum over the minibatch and its error
        clipped to [-1, 1] as in NeuralQLearner.lua (the Huber function's derivative).

        Where n_step steps lie between s and s', the rewards up to the end of the game count
        (Hessel et al. 2018, Rainbow, Multi-step learning):

            target  t = r_1 + discount r_2 + ... + discount^(n-1) r_n
                        + discount^n max_a' Q_target(s', a')
        """
        weights = () if minibatch.weights is None else (self._tensor(minibatch.weights),)
        self._gradient_step(
            self._states(minibatch.prestates),
            torch.from_numpy(minibatch.actions).to(self._device),
            self._tensor(minibatch.rewards),
            self._states(minibatch.poststates),
            self._tensor(minibatch.terminals),
            *weights,
        )
        self.weight_updates += 1
        self._costs += 1
        if self._costs % _COSTS_BETWEEN_CHECKS == 0:
            self.mean_cost()

    def _take_gradient_step(
        self,
        prestates: Tensor,
        actions: Tensor,
        rewards: Tensor,
        poststates: Tensor,
        terminals: Tensor,
        weights: Tensor | None = None,
    ) -> None:
        """`train` on tensors of the device; a CUDA graph there, so nothing here may wait for it."""
        rewards = rewards.clamp(self._min_reward, self._max_reward)
        goes_on = 1 - terminals  # (batch, n_step)
        returns = rewards[:, 0]
        for step in range(1, rewards.shape[1]):
            returns = returns + self._discount_rate**step * goes_on[:, step - 1] * rewards[:, step]
        discounts = self._discount_rate ** rewards.shape[1] * goes_on[:, -1]
        with torch.no_grad():
            targets = self._targets(returns, discounts, poststates)

        self._network.train()
        costs, errors = self._costs_and_errors(_of(self._network(prestates), actions), targets)
        if weights is not None:
            self._errors.copy_(errors)
            costs = weights * costs
        cost = costs.sum()
        self._optimizer.zero_grad()
        cost.backward()  # type: ignore[no-untyped-call]
        self._optimizer.step()
        self._cost_sum += cost.detach() / len(actions)

    def _targets(self, returns: Tensor, discounts: Tensor, poststates: Tensor) -> Tensor:
        """What the network is to learn: t as in `train`, (batch,), or its distribution.

        With double_q the network chooses the next action, t = r + discount Q_target(s', argmax_a'
        Q(s', a')) (van Hasselt et al. 2016, Double Q-learning).

        With a target_exploration_rate e the target is the value of going on epsilon-greedily
        (Expected SARSA: van Seijen et al. 2009; Sutton and Barto 2018, equation 6.9):

            t = r + discount ((1 - e) max_a' Q_target(s', a') + e mean_a' Q_target(s', a'))
        """
        self._target_network.eval()
        outputs = choosing = self._target_network(poststates)
        if self._double_q:
            self._network.eval()
            choosing = self._network(poststates)
        if self._distribution is not None:
            outputs = self._distribution.probabilities(outputs)
        expected = _of(outputs, self.values(choosing).argmax(1))  # of the next action
        if self._target_exploration_rate:
            rate = self._target_exploration_rate
            expected = (1 - rate) * expected + rate * outputs.mean(1)
        if self._distribution is not None:
            return self._distribution.targets(expected, returns, discounts)
        return returns + discounts * expected.to(returns.dtype)

    def _costs_and_errors(self, outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Each transition's cost, and its error for `errors`; both (batch,)."""
        if self._distribution is not None:
            costs = self._distribution.costs(outputs, targets)
            return costs, costs.detach()
        outputs = outputs.to(targets.dtype)
        errors = (targets - outputs).detach()
        if not self._clip_error:
            return (outputs - targets) ** 2 / 2, errors
        costs = functional.huber_loss(outputs, targets, reduction="none", delta=self._clip_error)
        return costs, errors

    def values(self, outputs: Tensor) -> Tensor:
        """Q-values (n, num_actions) of a network's outputs."""
        return outputs if self._distribution is None else self._distribution.means(outputs)

    def errors(self) -> npt.NDArray[np.float32]:
        """The errors t - Q(s, a) of the last minibatch, float32 (batch,), if it had weights.

        With distributional, the costs.
        """
        return self._errors.cpu().numpy()

    def update_target_network(self) -> None:
        """Copy the network's weights to the target network, if there is one."""
        if self._target_network is not self._network:
            self._target_network.load_state_dict(self._network.state_dict())

    def set_learning_rate(self, learning_rate: float) -> None:
        """Go on with another learning rate."""
        for group in self._optimizer.param_groups:
            group["lr"] = learning_rate
        self._gradient_step = self._prepare_gradient_step()  # a CUDA graph has the old one in it

    def mean_cost(self) -> float:
        """Mean cost of a transition over the updates since `reset_cost`; 0 without any.

        Raises:
            UserError: it is not finite: the network has diverged.
        """
        cost = self._cost_sum.item() / max(self._costs, 1)
        if not math.isfinite(cost):
            raise UserError(
                f"the loss became {cost} by weight update {self.weight_updates}; "
                "go back to the last snapshot with a smaller --learning_rate"
            )
        return cost

    def reset_cost(self) -> None:
        """Begin a new mean of costs."""
        self._cost_sum.zero_()
        self._costs = 0

    def copy_network(self) -> QNetwork:
        """The network itself, a copy for looking inside: float32, every layer torch's own."""
        copied = self._make_network()
        copied.load_state_dict(self._network.state_dict())
        copied.place(self._device, torch.float32, None)
        return copied.eval()

    def get_weights(self) -> dict[str, npt.NDArray[np.generic]]:
        """Copies of the network's weights by name."""
        return {name: _to_numpy(value) for name, value in self._network.state_dict().items()}

    def set_weights(self, weights: dict[str, npt.NDArray[np.generic]]) -> None:
        """Take over weights from `get_weights`; the target network gets them too.

        Raises:
            UserError: they belong to another network.
        """
        own = {name: tuple(value.shape) for name, value in self._network.state_dict().items()}
        given = {name: value.shape for name, value in weights.items()}
        for name in own.keys() | given.keys():
            if own.get(name) != given.get(name):
                raise UserError(
                    f"these weights belong to another network: {name} is {given.get(name)} there "
                    f"and {own.get(name)} here; use the options that the snapshot was trained with"
                )
        self._network.load_state_dict(_to_tensors(weights))
        self.update_target_network()

    def get_training_state(self) -> dict[str, npt.NDArray[np.generic]]:
        """What training needs besides the weights: target network and optimizer, by name."""
        state = {}
        if self._target_network is not self._network:
            for name, value in self._target_network.state_dict().items():
                state[f"target.{name}"] = _to_numpy(value)
        for index, values in self._optimizer.state_dict()["state"].items():
            for name, value in values.items():
                state[f"optimizer.{index}.{name}"] = _to_numpy(value)
        return state

    def set_training_state(self, state: dict[str, npt.NDArray[np.generic]]) -> None:
        """Take over what `get_training_state` gave for the same network and optimizer."""
        tensors = _to_tensors(state)
        target = _with_prefix(tensors, "target.")
        if target:
            self._target_network.load_state_dict(target)
        parameters = list(self._network.parameters())
        optimizer_state: dict[int, dict[str, Tensor]] = {}
        for key, value in _with_prefix(tensors, "optimizer.").items():
            index, name = key.split(".", 1)
            parameter = parameters[int(index)]
            if value.shape == parameter.shape:
                # NB! In the parameter's memory order: torch's fused Adam goes by it alone.
                value = torch.empty_like(parameter, requires_grad=False).copy_(value)
            optimizer_state.setdefault(int(index), {})[name] = value
        self._optimizer.load_state_dict({**self._optimizer.state_dict(), "state": optimizer_state})
        self._gradient_step = self._prepare_gradient_step()  # the optimizer has other tensors now

    def _prepare_gradient_step(self) -> Callable[..., None]:
        step = self._take_gradient_step
        return CudaGraph(step) if self._device.type == "cuda" else step

    def _states(self, states: npt.NDArray[np.uint8] | Tensor) -> Tensor:
        """Bring states to the device, as bytes."""
        return torch.as_tensor(states, device=self._device)

    def _tensor(self, array: npt.NDArray[np.generic]) -> Tensor:
        """Bring rewards or flags to the device, as float32 at least."""
        dtype = torch.float64 if self._dtype == torch.float64 else torch.float32
        return torch.from_numpy(array).to(self._device, dtype)


def _of(outputs: Tensor, actions: Tensor) -> Tensor:
    """Of outputs (batch, num_actions, ...) those of one action each, (batch, ...)."""
    index = actions.view(-1, *[1] * (outputs.dim() - 1)).expand(-1, 1, *outputs.shape[2:])
    return outputs.gather(1, index)[:, 0]


def find_device(backend: str | None, device_id: int) -> str:
    """Name the device to compute on.

    Args:
        backend: `cpu`, `gpu`, or None for the GPU where there is one.
        device_id: which GPU.

    Raises:
        UserError: a GPU was asked for that is not there.
    """
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if backend == "cpu" or (backend is None and not gpus):
        return "cpu"
    if device_id >= gpus:
        raise UserError(
            f"there is no CUDA GPU {device_id} that torch {torch.__version__} can use "
            f"({gpus} found); use --backend cpu, or install a CUDA build of torch"
        )
    return f"cuda:{device_id}"


def _to_numpy(value: Tensor) -> npt.NDArray[np.generic]:
    return value.detach().cpu().contiguous().clone().numpy()


def _to_tensors(arrays: dict[str, npt.NDArray[np.generic]]) -> dict[str, Tensor]:
    return {name: torch.from_numpy(array.copy()) for name, array in arrays.items()}


def _with_prefix(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {
        name.removeprefix(prefix): value
        for name, value in tensors.items()
        if name.startswith(prefix)
    }
