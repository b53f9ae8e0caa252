"""The layers between a state and its Q-values."""

import math
from collections.abc import Sequence
from typing import NamedTuple, Self

import torch
from torch import Tensor, nn

from simple_dqn.errors import UserError
from simple_dqn.networks.native import Convolution, Kernels


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
    # No convolutions: two layers of 24, which are enough for the simplest games.
    "mlp": Architecture((), hidden=(24, 24)),
}


class QNetwork(nn.Sequential):
    """One of the `ARCHITECTURES`; this is Nature's for screens of 84x84.

        state  (history, 84, 84) bytes, scaled to [0, 1], less pixel_mean
        conv   32 filters 8x8, stride 4, ReLU -> (32, 20, 20)
        conv   64 filters 4x4, stride 2, ReLU -> (64, 9, 9)
        conv   64 filters 3x3, stride 1, ReLU -> (64, 7, 7)
        linear 512, ReLU
        linear num_actions

    Attributes:
        kernels: do the convolutions where they are given (see `native`), else torch does.
    """

    def __init__(
        self,
        architecture: Architecture,
        num_actions: int,
        history_length: int,
        screen_shape: tuple[int, int],
        *,
        num_atoms: int = 1,
        dueling: bool = False,
        batch_norm: bool = False,
        pixel_mean: float = 0.0,
    ) -> None:
        """Make the layers; their weights are torch's until `init_weights`.

        Args:
            architecture: the layers but the last.
            num_actions: outputs.
            history_length: screens in a state.
            screen_shape: (height, width).
            num_atoms: outputs per action.
            dueling: two fully connected streams; see `Dueling`.
            batch_norm: normalise each hidden layer over the minibatch.
            pixel_mean: subtracted from the scaled pixels.

        Raises:
            UserError: the screens leave no pixel to the last convolution.
        """
        height, width = screen_shape
        least = 1
        for _, size, stride in reversed(architecture.convolutions):
            least = (least - 1) * stride + size
        if min(height, width) < least:
            raise UserError(
                f"screens of {width}x{height} are too small; the network needs {least}x{least}"
            )
        convolutions: list[nn.Module] = []
        channels = history_length
        for filters, size, stride in architecture.convolutions:
            convolutions.append(nn.Conv2d(channels, filters, size, stride))
            if batch_norm:
                convolutions.append(nn.BatchNorm2d(filters))
            convolutions.append(nn.ReLU(inplace=True))
            channels = filters
            height, width = (height - size) // stride + 1, (width - size) // stride + 1
        convolutions.append(nn.Flatten())

        def stream(outputs: int) -> list[nn.Module]:
            layers: list[nn.Module] = []
            inputs = channels * height * width
            for hidden in architecture.hidden:
                layers.append(FullyConnected(inputs, hidden))
                if batch_norm:
                    layers.append(nn.BatchNorm1d(hidden))
                layers.append(nn.ReLU())
                inputs = hidden
            return [*layers, FullyConnected(inputs, outputs)]

        fully_connected = stream(num_actions * num_atoms)
        if dueling:
            fully_connected = [Dueling(stream(num_atoms), fully_connected, num_atoms)]
        super().__init__(*convolutions, *fully_connected)
        self._fully_connected = fully_connected
        self._filters = [p for layer in convolutions for p in layer.parameters()]
        self._has_modes = batch_norm
        self._num_atoms = num_atoms
        self._pixel_mean = pixel_mean
        self.kernels: Kernels | None = None

    def forward(self, states: Tensor) -> Tensor:
        """Outputs (n, num_actions), or (n, num_actions, num_atoms) where there are several.

        Args:
            states: uint8 (n, history, height, width).
        """
        if self.kernels is None:
            return self.of_pixels(self.scale(states))
        layer = self.kernels.features(states, self._with_mean_in_bias(self._filters))
        for module in self._fully_connected:
            layer = module(layer)
        return self._by_atoms(layer)

    def of_pixels(self, pixels: Tensor) -> Tensor:
        """`forward` of what `scale` gave."""
        for module in self:
            pixels = module(pixels)
        return self._by_atoms(pixels)

    def _by_atoms(self, outputs: Tensor) -> Tensor:
        return outputs if self._num_atoms == 1 else outputs.view(len(outputs), -1, self._num_atoms)

    def scale(self, states: Tensor) -> Tensor:
        """States as the first layer sees them, of the weights' type."""
        pixels = states.to(next(self.parameters()).dtype).mul_(1 / 255)
        return pixels.sub_(self._pixel_mean) if self._pixel_mean else pixels

    def _with_mean_in_bias(self, filters: Sequence[Tensor]) -> Sequence[Tensor]:
        """The kernels read bytes, so the mean goes into the first bias: w(x - m) = wx - m sum w."""
        if not self._pixel_mean:
            return filters
        weight, bias, *others = filters
        return [weight, bias - self._pixel_mean * weight.sum((1, 2, 3)), *others]

    def train(self, mode: bool = True) -> Self:
        """Normalise over the minibatch (or, if not `mode`, by what was seen in training)."""
        return super().train(mode) if self._has_modes else self

    def place(self, device: torch.device, dtype: torch.dtype, kernels: Kernels | None) -> None:
        """Move to a device and type; `kernels`, if any, do the convolutions from now on."""
        self.to(device, dtype)
        self.kernels = kernels
        convolutions = [layer for layer in self if isinstance(layer, nn.Conv2d)]
        for index, layer in enumerate(convolutions):
            weight = layer.weight.data
            layer.weight.data = (
                weight.contiguous(memory_format=torch.channels_last)
                if kernels is None
                else kernels.place(index, weight)
            )

    def init_weights(self, random_seed: int) -> None:
        """Draw weights and biases uniformly from +-1/sqrt(fan-in), Torch7's initialisation."""
        generator = torch.Generator().manual_seed(random_seed)
        with torch.no_grad():
            for layer in self.modules():
                if isinstance(layer, nn.Conv2d | nn.Linear):
                    fan_in = layer.weight[0].numel()
                    for parameter in layer.parameters():
                        draw = torch.rand(parameter.shape, generator=generator, dtype=torch.float64)
                        parameter.copy_((2 * draw - 1) / math.sqrt(fan_in))


class Dueling(nn.Module):
    """Q(s, a) = V(s) + A(s, a) - mean_a' A(s, a'), from two streams of layers.

    Wang et al. 2016 (Dueling network architectures), equation 9.
    """

    def __init__(self, value: list[nn.Module], advantages: list[nn.Module], num_atoms: int) -> None:
        """Take over the streams; of their outputs num_atoms belong together."""
        super().__init__()
        self.value = nn.Sequential(*value)
        self.advantages = nn.Sequential(*advantages)
        self._num_atoms = num_atoms

    def forward(self, features: Tensor) -> Tensor:
        """Outputs (n, num_actions * num_atoms) of features (n, num_features)."""
        value: Tensor = self.value(features)[:, None]  # (n, 1, num_atoms)
        advantages = self.advantages(features).view(len(features), -1, self._num_atoms)
        outputs: Tensor = value + advantages - advantages.mean(1, keepdim=True)
        return outputs.flatten(1)


class FullyConnected(nn.Linear):
    """`nn.Linear` with the states as columns: on a CPU, half the time for small batches."""

    def forward(self, rows: Tensor) -> Tensor:
        """Outputs (n, out_features) of inputs (n, in_features)."""
        return torch.addmm(self.bias[:, None], self.weight, rows.t()).t()
