"""The layers between a state and the outputs for each action."""

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple, Self

import torch
from torch import Tensor, nn

from simple_dqn.errors import UserError


class Convolution(NamedTuple):
    """A convolutional layer: number of filters, their side and their distance in pixels."""

    filters: int
    size: int
    stride: int


class Architecture(NamedTuple):
    """Convolutions, then fully connected hidden layers of so many units."""

    convolutions: tuple[Convolution, ...]
    hidden: tuple[int, ...]


ARCHITECTURES = {
    # Mnih et al. 2015, Methods, Model architecture.
    "nature": Architecture(
        (Convolution(32, 8, 4), Convolution(64, 4, 2), Convolution(64, 3, 1)), hidden=(512,)
    ),
    # Mnih et al. 2013, section 4.1.
    "nips": Architecture((Convolution(16, 8, 4), Convolution(32, 4, 2)), hidden=(256,)),
    # No convolutions: two layers of 24 units, which are enough for the simplest games.
    "mlp": Architecture((), hidden=(24, 24)),
}


def architecture_of(name: str) -> Architecture:
    """Return the architecture of a name, or hidden layers of so many units: `64,64`."""
    if name in ARCHITECTURES:
        return ARCHITECTURES[name]
    return Architecture((), tuple(int(units) for units in name.split(",")))


class QNetwork(nn.Sequential):
    """The layers of an `Architecture`; these are Nature's for screens of 84x84.

        state  (history, 84, 84) bytes, scaled to [0, 1], less pixel_mean
        conv   32 filters 8x8, stride 4, ReLU -> (32, 20, 20)
        conv   64 filters 4x4, stride 2, ReLU -> (64, 9, 9)
        conv   64 filters 3x3, stride 1, ReLU -> (64, 7, 7)
        linear 512, ReLU
        linear num_actions

    Only this class knows that observations of bytes are scaled; others are taken as they are.

    Attributes:
        pixel_mean: subtracted from bytes after they were scaled to [0, 1].
    """

    def __init__(
        self,
        architecture: Architecture,
        num_actions: int,
        history_length: int,
        observation_shape: tuple[int, ...],
        *,
        num_atoms: int,
        dueling: bool,
        batch_norm: bool,
        layer_norm: str,
        pixel_mean: float,
        wrap: Callable[[nn.Sequential, int], nn.Module] | None = None,
        hidden_layer: Callable[[int, int], nn.Module] | None = None,
    ) -> None:
        """Make the layers; their weights are torch's until `init_weights`.

        Args:
            architecture: all layers but the last.
            num_actions: each has an output, or num_atoms of them.
            history_length: observations in a state.
            observation_shape: (height, width) for convolutions, else any shape.
            num_atoms: see `Head`.
            dueling: whether two fully connected streams make the outputs, see `Dueling`.
            batch_norm: whether each hidden layer is normalised over the minibatch.
            layer_norm: `true`: each fully connected hidden layer is normalised over its outputs
                (Ba, Kiros and Hinton 2016); `all`: each convolution, too, over its filters, rows
                and columns; or `false`.
            pixel_mean: see the class.
            wrap: see `Head.wrap`.
            hidden_layer: makes a hidden layer of so many inputs and outputs; `FullyConnected`.

        Raises:
            UserError: the observations are not pictures, or too small for the convolutions.
        """
        if architecture.convolutions:
            _check_pictures(architecture, observation_shape)
        channels, *shape = history_length, *observation_shape
        convolutional: list[nn.Module] = []
        for filters, size, stride in architecture.convolutions:
            convolutional.append(nn.Conv2d(channels, filters, size, stride))
            channels, shape = filters, [(side - size) // stride + 1 for side in shape]
            if batch_norm:
                convolutional.append(nn.BatchNorm2d(filters))
            if layer_norm == "all":
                convolutional.append(nn.LayerNorm((filters, *shape)))
            convolutional.append(nn.ReLU(inplace=True))
        convolutional.append(nn.Flatten())
        features = channels * math.prod(shape)
        norms = batch_norm, layer_norm != "false"
        make = hidden_layer or FullyConnected
        stream = partial(_stream, features, architecture.hidden, norms, make)
        fully_connected = stream(num_actions * num_atoms)
        if dueling:
            fully_connected = [Dueling(stream(num_atoms), fully_connected, num_atoms)]
        if wrap is not None:
            fully_connected = [wrap(nn.Sequential(*fully_connected), features)]
        if num_atoms > 1:
            fully_connected.append(nn.Unflatten(1, (num_actions, num_atoms)))
        super().__init__(*convolutional, *fully_connected)
        self.pixel_mean = pixel_mean
        self._num_convolutional = len(convolutional)
        self._has_modes = batch_norm or wrap is not None  # switching all layers takes 50 us

    def forward(self, states: Tensor) -> Tensor:
        """Return outputs (n, num_actions), or (n, num_actions, num_atoms) if there are several.

        The states are (n, history, *observation_shape).
        """
        return self.of_inputs(self.scale(states))

    def of_inputs(self, inputs: Tensor) -> Tensor:
        """Return the outputs for scaled states, see `forward` and `scale`."""
        outputs: Tensor = super().forward(inputs)  # type: ignore[no-untyped-call]
        return outputs

    def scale(self, states: Tensor) -> Tensor:
        """Return states as the first layer sees them, of the weights' type."""
        inputs = states.to(next(self.parameters()).dtype)
        if states.dtype != torch.uint8:
            return inputs
        inputs = inputs.mul_(1 / 255)
        return inputs.sub_(self.pixel_mean) if self.pixel_mean else inputs

    @torch.inference_mode()
    def dead_units(self, states: Tensor) -> float:
        """Return the share of the fully connected hidden units whose ReLU is 0 in all states."""
        opened: list[Tensor] = []

        def look(relu: nn.Module, inputs: object, outputs: Tensor) -> None:  # noqa: ARG001
            if outputs.dim() == 2:  # not of a convolution
                opened.append((outputs > 0).any(0))

        hooks = [m.register_forward_hook(look) for m in self.modules() if isinstance(m, nn.ReLU)]
        self.eval()(states)
        for hook in hooks:
            hook.remove()
        return 1 - torch.cat(opened).double().mean().item() if opened else math.nan

    def train(self, mode: bool = True) -> Self:
        """Normalise over the minibatch (or, if not `mode`, by what was seen in training)."""
        return super().train(mode) if self._has_modes else self

    def place(self, device: torch.device, dtype: torch.dtype) -> Self:
        """Move to a device and a type, filters in the order in which convolutions are fastest."""
        self.to(device, dtype)
        for layer in self.convolutions():
            layer.weight.data = layer.weight.data.contiguous(memory_format=torch.channels_last)
        return self

    def convolutions(self) -> list[nn.Conv2d]:
        """Return the convolutional layers."""
        return [layer for layer in self if isinstance(layer, nn.Conv2d)]

    def init_weights(self, random_seed: int) -> Self:
        """Draw weights and biases uniformly from +-1/sqrt(fan-in), Torch7's initialisation."""
        generator = torch.Generator().manual_seed(random_seed)
        with torch.no_grad():
            for layer in self.modules():
                if isinstance(layer, nn.Conv2d | nn.Linear):
                    fan_in = layer.weight[0].numel()
                    for parameter in layer.parameters():
                        draw = torch.rand(parameter.shape, generator=generator, dtype=torch.float64)
                        parameter.copy_((2 * draw - 1) / math.sqrt(fan_in))
        return self


def _check_pictures(architecture: Architecture, observation_shape: tuple[int, ...]) -> None:
    """Check that the observations are pictures, and large enough for the convolutions."""
    if len(observation_shape) != 2:
        raise UserError(
            f"observations of shape {observation_shape} are not pictures, so convolutions cannot "
            "see them; give --network mlp, or --network 64,64"
        )
    least = 1
    for _, size, stride in reversed(architecture.convolutions):
        least = (least - 1) * stride + size
    height, width = observation_shape
    if min(height, width) < least:
        raise UserError(
            f"screens of {width}x{height} are too small for convolutions, which need "
            f"{least}x{least}; give larger ones, or --network mlp"
        )


def _stream(
    inputs: int,
    hidden: Sequence[int],
    norms: tuple[bool, bool],
    make: Callable[[int, int], nn.Module],
    outputs: int,
) -> list[nn.Module]:
    """Return fully connected layers of so many hidden units each, and the last one."""
    layers: list[nn.Module] = []
    batch_norm, layer_norm = norms
    for units in hidden:
        layers.append(make(inputs, units))
        if batch_norm:
            layers.append(nn.BatchNorm1d(units))
        if layer_norm:
            layers.append(nn.LayerNorm(units))
        layers.append(nn.ReLU())
        inputs = units
    return [*layers, FullyConnected(inputs, outputs)]


class Dueling(nn.Module):
    """Q(s, a) = V(s) + A(s, a) - mean_a' A(s, a'), from two streams of layers.

    Wang et al. 2016 (Dueling network architectures), equation 9.
    """

    def __init__(self, value: list[nn.Module], advantages: list[nn.Module], num_atoms: int) -> None:
        """Take over the streams, whose outputs are num_atoms in a row for each action."""
        super().__init__()
        self.value = nn.Sequential(*value)
        self.advantages = nn.Sequential(*advantages)
        self._num_atoms = num_atoms

    def forward(self, features: Tensor) -> Tensor:
        """Return outputs (n, num_actions * num_atoms) of features (n, num_features)."""
        value: Tensor = self.value(features)[:, None]  # (n, 1, num_atoms)
        advantages = self.advantages(features).view(len(features), -1, self._num_atoms)
        outputs: Tensor = value + advantages - advantages.mean(1, keepdim=True)
        return outputs.flatten(1)


class FullyConnected(nn.Linear):
    """`nn.Linear` with the states as columns: on a CPU, half the time for small batches."""

    def forward(self, rows: Tensor) -> Tensor:
        """Return outputs (n, out_features) of inputs (n, in_features)."""
        return torch.addmm(self.bias[:, None], self.weight, rows.t()).t()
