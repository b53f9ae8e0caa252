"""The layers between a state and its Q-values."""

import math
from collections.abc import Sequence
from typing import NamedTuple, Self

import torch
from torch import Tensor, nn

from simple_dqn.errors import UserError
from simple_dqn.native import Convolution, Kernels


class Architecture(NamedTuple):
    """Convolutions, then a fully connected hidden layer of so many units."""

    convolutions: tuple[Convolution, ...]
    hidden: int


ARCHITECTURES = {
    # Mnih et al. 2015, Methods, Model architecture.
    "nature": Architecture(
        (Convolution(32, 8, 4), Convolution(64, 4, 2), Convolution(64, 3, 1)), 512
    ),
    # Mnih et al. 2013, section 4.1.
    "nips": Architecture((Convolution(16, 8, 4), Convolution(32, 4, 2)), hidden=256),
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
        batch_norm: bool,
        pixel_mean: float = 0.0,
    ) -> None:
        """Make the layers; their weights are torch's until `init_weights`.

        Args:
            architecture: the layers but the last.
            num_actions: outputs.
            history_length: screens in a state.
            screen_shape: (height, width).
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
        hidden = architecture.hidden
        fully_connected: list[nn.Module] = [FullyConnected(channels * height * width, hidden)]
        if batch_norm:
            fully_connected.append(nn.BatchNorm1d(hidden))
        fully_connected += [nn.ReLU(), FullyConnected(hidden, num_actions)]
        super().__init__(*convolutions, *fully_connected)
        self._convolutions, self._fully_connected = convolutions, fully_connected
        self._filters = [p for layer in convolutions for p in layer.parameters()]
        self._has_modes = batch_norm
        self._pixel_mean = pixel_mean
        self.kernels: Kernels | None = None

    def forward(self, states: Tensor) -> Tensor:
        """Q-values (n, num_actions) of states, uint8 (n, history, height, width)."""
        if self.kernels is not None:
            layer = self.kernels.features(states, self._with_mean_in_bias(self._filters))
        else:
            layer = states.to(self._filters[0].dtype).mul_(1 / 255)
            if self._pixel_mean:
                layer -= self._pixel_mean
            for module in self._convolutions:
                layer = module(layer)
        for module in self._fully_connected:
            layer = module(layer)
        return layer

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
        convolutions = [layer for layer in self._convolutions if isinstance(layer, nn.Conv2d)]
        for index, layer in enumerate(convolutions):
            weight = layer.weight.data
            layer.weight.data = (
                weight.contiguous(memory_format=torch.channels_last)
                if kernels is None
                else kernels.place(index, weight)
            )

    def init_weights(self, distribution: str, random_seed: int) -> None:
        """Draw the weights.

        Args:
            distribution: `torch7`: weights and biases uniform on +-1/sqrt(fan-in), as the paper's
                code had them; `he`: weights normal with variance 2/fan-in, biases 0 (He et al.
                2015, Delving deep into rectifiers, section 2.2).
            random_seed: of the draws.
        """
        generator = torch.Generator().manual_seed(random_seed)
        layers = [layer for layer in self if isinstance(layer, nn.Conv2d | nn.Linear)]
        with torch.no_grad():
            for layer in layers:
                fan_in = layer.weight[0].numel()
                for parameter in layer.parameters():
                    if distribution == "torch7":
                        draw = torch.rand(parameter.shape, generator=generator, dtype=torch.float64)
                        parameter.copy_((2 * draw - 1) / math.sqrt(fan_in))
                    elif parameter is layer.weight:
                        draw = torch.randn(
                            parameter.shape, generator=generator, dtype=torch.float64
                        )
                        parameter.copy_(draw * math.sqrt(2 / fan_in))
                    else:
                        parameter.zero_()


class FullyConnected(nn.Linear):
    """`nn.Linear` with the states as columns: on a CPU, half the time for small batches."""

    def forward(self, rows: Tensor) -> Tensor:
        """Outputs (n, out_features) of inputs (n, in_features)."""
        return torch.addmm(self.bias[:, None], self.weight, rows.t()).t()
