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
        activations: float32 (filters,), after the ReLU; 0 for a filter that never was active.
        states: int64 (filters,), which of the given states.
        rows: int64 (filters,), where in the layer.
        columns: int64 (filters,).
    """

    activations: npt.NDArray[np.float32]
    states: npt.NDArray[np.int64]
    rows: npt.NDArray[np.int64]
    columns: npt.NDArray[np.int64]


class ReceptiveField(NamedTuple):
    """The pixels that a position of a layer sees: rows top to bottom - 1, and so on."""

    top: int
    left: int
    bottom: int
    right: int


class GuidedNetwork:
    """A Q-network whose ReLUs guide gradients on their way back.

    Attributes:
        num_layers: convolutional layers.
    """

    def __init__(self, network: QNetwork, head: Head) -> None:
        """Take over a network.

        Args:
            network: a copy, since its ReLUs are replaced; without kernels.
            head: what the network's outputs mean.
        """
        self._network = _with_guided_relus(network)
        self._head = head
        self._convolutions = network.convolutions()
        self.num_layers = len(self._convolutions)

    def strongest(
        self, states: npt.NDArray[np.uint8], *, number: int, apart: int
    ) -> list[list[Strongest]]:
        """Find the strongest activations of every filter.

        Args:
            states: uint8 (n, history, height, width), in their order in time.
            number: of activations of a filter that are found.
            apart: least distance in time, in states, of two of them.

        Returns:
            For each layer so many, the strongest first; where a filter has no other activation
            above 0 that is so far apart, its activation is 0.
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
        """The highest activation of each layer's filters in each state.

        Returns:
            For each layer the activations, float32 (n, filters); where they are, row * columns +
            column, int64 (n, filters); and the layer's columns.
        """
        batches = []
        for start in range(0, len(states), _STATES_AT_ONCE):
            with torch.no_grad():
                layers = self._layers(self._pixels(states[start : start + _STATES_AT_ONCE]))
            batches.append([(layer.flatten(2).max(2), layer.shape[3]) for layer in layers])
        return [
            (
                np.concatenate([highest.values.cpu().numpy() for highest, _ in batch]),
                np.concatenate([highest.indices.cpu().numpy() for highest, _ in batch]),
                batch[0][1],
            )
            for batch in zip(*batches, strict=True)
        ]

    def first_weights(self) -> npt.NDArray[np.float32]:
        """The weights of the first convolution, float32 (filters, history, size, size)."""
        return _to_numpy(self._convolutions[0].weight.detach())

    def project_filters(
        self, states: npt.NDArray[np.uint8], layer: int, strongest: Strongest
    ) -> npt.NDArray[np.float32]:
        """Guided gradients of the strongest activations of a layer.

        Args:
            states: as given to `strongest`.
            layer: which convolution, from 0.
            strongest: one of the layer's that it found.

        Returns:
            float32 (filters, history, height, width).
        """
        filters = np.arange(len(strongest.activations))
        pixels = self._pixels(states[strongest.states]).requires_grad_()
        outputs = self._layers(pixels, layer + 1)[layer]
        active = outputs[filters, filters, strongest.rows, strongest.columns]
        (gradients,) = torch.autograd.grad(active.sum(), pixels)
        return _to_numpy(gradients)

    def project_action(self, state: npt.NDArray[np.uint8], action: int) -> npt.NDArray[np.float32]:
        """Guided gradient of an action's value.

        Args:
            state: uint8 (history, height, width).
            action: by number.

        Returns:
            float32 (history, height, width).
        """
        pixels = self._pixels(state[None]).requires_grad_()
        outputs = self._network.of_inputs(pixels)
        values = self._head.values(self._head.predictions(outputs))
        (gradients,) = torch.autograd.grad(values[0, action], pixels)
        return _to_numpy(gradients[0])

    def receptive_field(self, layer: int, row: int, column: int) -> ReceptiveField:
        """The pixels that a position of a layer depends on."""
        bounds = [row, column, row + 1, column + 1]
        for convolution in reversed(self._convolutions[: layer + 1]):
            size, stride = convolution.kernel_size[0], convolution.stride[0]
            top, left, bottom, right = bounds
            bounds = [
                top * stride,
                left * stride,
                (bottom - 1) * stride + size,
                (right - 1) * stride + size,
            ]
        return ReceptiveField(*bounds)

    def _pixels(self, states: npt.NDArray[np.uint8]) -> Tensor:
        device = next(self._network.parameters()).device
        return self._network.scale(torch.tensor(states, device=device))

    def _layers(self, pixels: Tensor, number: int | None = None) -> list[Tensor]:
        """Outputs of the first (None: all) convolutions after ReLU, (n, filters, rows, columns)."""
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


def _with_guided_relus(network: QNetwork) -> QNetwork:
    """Replace every ReLU, also within streams."""
    for parent in list(network.modules()):
        for name, child in parent.named_children():
            if isinstance(child, nn.ReLU):
                setattr(parent, name, _GuidedReLU())
    return network


def _to_numpy(values: Tensor) -> npt.NDArray[np.float32]:
    array: npt.NDArray[np.float32] = values.cpu().numpy()
    return array
