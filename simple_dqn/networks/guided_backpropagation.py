"""What a filter or an action looks at: gradients of its activation, back to the screens.

Guided backpropagation (Springenberg et al. 2015, Striving for simplicity, section 3.4): on its way
back a gradient passes a ReLU only where it is positive and where the ReLU let something through.
"""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from simple_dqn.networks.heads import Head
from simple_dqn.networks.layers import QNetwork

_STATES_AT_ONCE = 128


class Strongest(NamedTuple):
    """Where each filter of a layer was most active; one entry per filter.

    Attributes:
        activations: float32 (filters,), after the ReLU; 0 for a filter that was never active.
        states: int64 (filters,), indexes of the given states.
        rows: int64 (filters,), positions in the layer.
        columns: int64 (filters,), positions in the layer.
    """

    activations: npt.NDArray[np.float32]
    states: npt.NDArray[np.int64]
    rows: npt.NDArray[np.int64]
    columns: npt.NDArray[np.int64]


class ReceptiveField(NamedTuple):
    """The pixels that a position of a layer sees: rows [top, bottom), columns [left, right)."""

    top: int
    left: int
    bottom: int
    right: int


class GuidedNetwork:
    """A Q-network whose ReLUs guide gradients on their way back.

    Attributes:
        num_layers: number of convolutional layers.
    """

    def __init__(self, network: QNetwork, head: Head) -> None:
        """Replace the ReLUs of a network, which is a copy without our kernels."""
        for parent in list(network.modules()):
            for name, child in parent.named_children():
                if isinstance(child, nn.ReLU):
                    setattr(parent, name, _GuidedReLU())
        self._network = network
        self._head = head
        self._convolutions = network.convolutions()
        self.num_layers = len(self._convolutions)

    def strongest(
        self, states: npt.NDArray[np.uint8], *, number: int, apart: int
    ) -> list[list[Strongest]]:
        """Find the strongest activations of every filter.

        Args:
            states: uint8 (n, history, height, width), in their order in time.
            number: how many activations of each filter to find.
            apart: least distance in time between two of them, in states.

        Returns:
            For each layer `number` results, the strongest first; where a filter has no further
            activation above 0 that is far enough apart, its activation is 0.
        """
        found = []
        for highest, places, columns in self._highest(states):
            filters, times = np.arange(highest.shape[1]), np.arange(len(highest))[:, None]
            ranks = []
            for _ in range(number):
                state = highest.argmax(0)
                place = places[state, filters]
                ranks.append(
                    Strongest(highest[state, filters], state, place // columns, place % columns)
                )
                highest = np.where(np.abs(times - state) < apart, np.float32(0), highest)
            found.append(ranks)
        return found

    def _highest(
        self, states: npt.NDArray[np.uint8]
    ) -> list[tuple[npt.NDArray[np.float32], npt.NDArray[np.int64], int]]:
        """Find the highest activation of each layer's filters in each state.

        Returns:
            For each layer the activations, float32 (n, filters); their places, row * columns +
            column, int64 (n, filters); and the layer's number of columns.
        """
        with torch.no_grad():
            batches = [
                [
                    (*layer.flatten(2).max(2), layer.shape[3])
                    for layer in self._layers(self._pixels(states[start : start + _STATES_AT_ONCE]))
                ]
                for start in range(0, len(states), _STATES_AT_ONCE)
            ]
        return [
            (
                torch.cat([highest for highest, _, _ in layer]).numpy(force=True),
                torch.cat([places for _, places, _ in layer]).numpy(force=True),
                layer[0][2],
            )
            for layer in zip(*batches, strict=True)
        ]

    def first_weights(self) -> npt.NDArray[np.float32]:
        """Return the weights of the first convolution, float32 (filters, history, size, size)."""
        return self._convolutions[0].weight.numpy(force=True)

    def project_filters(
        self, states: npt.NDArray[np.uint8], layer: int, strongest: Strongest
    ) -> npt.NDArray[np.float32]:
        """Compute the guided gradients of the strongest activations of a layer.

        Args:
            states: as given to `strongest`.
            layer: number of the convolution, from 0.
            strongest: one of the results of `strongest` for this layer.

        Returns:
            float32 (filters, history, height, width).
        """
        filters = np.arange(len(strongest.activations))
        pixels = self._pixels(states[strongest.states]).requires_grad_()
        outputs = self._layers(pixels, layer + 1)[layer]
        active = outputs[filters, filters, strongest.rows, strongest.columns]
        (gradients,) = torch.autograd.grad(active.sum(), pixels)
        return gradients.numpy(force=True)

    def project_action(self, state: npt.NDArray[np.uint8], action: int) -> npt.NDArray[np.float32]:
        """Compute the guided gradient of an action's value, of the shape of the state, float32."""
        pixels = self._pixels(state[None]).requires_grad_()
        outputs = self._network.of_inputs(pixels)
        values = self._head.values(self._head.predictions(outputs))
        (gradients,) = torch.autograd.grad(values[0, action], pixels)
        return gradients[0].numpy(force=True)

    def receptive_field(self, layer: int, row: int, column: int) -> ReceptiveField:
        """Return the pixels that a position of a layer depends on."""
        bounds = [row, column, row + 1, column + 1]
        for convolution in reversed(self._convolutions[: layer + 1]):
            size, stride = convolution.kernel_size[0], convolution.stride[0]
            top, left, bottom, right = bounds
            ends = (bottom - 1) * stride + size, (right - 1) * stride + size
            bounds = [top * stride, left * stride, *ends]
        return ReceptiveField(*bounds)

    def _pixels(self, states: npt.NDArray[np.uint8]) -> Tensor:
        device = next(self._network.parameters()).device
        return self._network.scale(torch.tensor(states, device=device))

    def _layers(self, pixels: Tensor, number: int | None = None) -> list[Tensor]:
        """Return what convolutions give after ReLU, (n, filters, rows, columns); None: all."""
        found: list[Tensor] = []
        outputs = pixels
        for module in self._network:
            if isinstance(module, nn.Flatten) or len(found) == number:
                break
            outputs = module(outputs)
            if isinstance(module, _GuidedReLU):
                found.append(outputs)
        return found


class _GuideGradients(torch.autograd.Function):
    """ReLU; backward lets positive gradients through where the input was positive."""

    @staticmethod
    def forward(ctx: Any, inputs: Tensor) -> Tensor:
        outputs = inputs.clamp(min=0)
        ctx.save_for_backward(outputs)
        return outputs

    @staticmethod
    def backward(ctx: Any, doutputs: Tensor) -> Tensor:
        outputs: Tensor = ctx.saved_tensors[0]
        return doutputs.clamp(min=0) * (outputs > 0)


class _GuidedReLU(nn.Module):
    def forward(self, inputs: Tensor) -> Tensor:
        """A ReLU."""
        outputs: Tensor = _GuideGradients.apply(inputs)  # type: ignore[no-untyped-call]
        return outputs
