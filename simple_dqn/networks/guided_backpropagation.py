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
    """Where each filter of a layer was most active; all fields are (filters,)."""

    activations: npt.NDArray[np.float32]  # after the ReLU; 0 for a filter that was never active
    states: npt.NDArray[np.int64]  # indexes of the given states
    rows: npt.NDArray[np.int64]  # positions in the layer
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
        """Guide the gradients of a network, which is a copy without our kernels."""
        for module in network.modules():
            if isinstance(module, nn.ReLU):
                module.register_forward_hook(_guide)
        self._network = network
        self._head = head
        self._convolutions = network.convolutions()
        self.num_layers = len(self._convolutions)

    def strongest(
        self, states: npt.NDArray[np.uint8], *, number: int, apart: int
    ) -> list[list[Strongest]]:
        """Find the strongest activations of every filter, `number` of each, the strongest first.

        The states, uint8 (n, history, height, width), are in their order in time; two activations
        are at least `apart` states apart. Where there is no further one above 0, it is 0.
        """
        with torch.no_grad():
            batches = [
                [_highest(outputs) for outputs in self._layers(self._pixels(batch))]
                for batch in np.split(states, range(_STATES_AT_ONCE, len(states), _STATES_AT_ONCE))
            ]
        times = np.arange(len(states))[:, None]
        found = []
        for layer in zip(*batches, strict=True):
            highest, rows, columns = (np.concatenate(parts) for parts in zip(*layer, strict=True))
            filters = np.arange(highest.shape[1])
            ranks = []
            for _ in range(number):
                state = highest.argmax(0)
                at = state, filters
                ranks.append(Strongest(highest[at], state, rows[at], columns[at]))
                highest = np.where(np.abs(times - state) < apart, np.float32(0), highest)
            found.append(ranks)
        return found

    def first_weights(self) -> npt.NDArray[np.float32]:
        """Return the weights of the first convolution, float32 (filters, history, size, size)."""
        return self._convolutions[0].weight.numpy(force=True)

    def project_filters(
        self, states: npt.NDArray[np.uint8], layer: int, strongest: Strongest
    ) -> npt.NDArray[np.float32]:
        """Return the guided gradients of one of the results of `strongest` for a layer.

        They are float32 (filters, history, height, width). Layers are counted from 0.
        """
        filters = np.arange(len(strongest.activations))
        pixels = self._pixels(states[strongest.states]).requires_grad_()
        outputs = self._layers(pixels)[layer]
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
        top, left, bottom, right = row, column, row + 1, column + 1
        for convolution in reversed(self._convolutions[: layer + 1]):
            size, stride = convolution.kernel_size[0], convolution.stride[0]
            top, left = top * stride, left * stride
            bottom, right = (bottom - 1) * stride + size, (right - 1) * stride + size
        return ReceptiveField(top, left, bottom, right)

    def _pixels(self, states: npt.NDArray[np.uint8]) -> Tensor:
        device = next(self._network.parameters()).device
        return self._network.scale(torch.tensor(states, device=device))

    def _layers(self, pixels: Tensor) -> list[Tensor]:
        """Return what the convolutions give after their ReLUs, (n, filters, rows, columns)."""
        found: list[Tensor] = []
        outputs = pixels
        for module in self._network:
            if isinstance(module, nn.Flatten):
                break
            outputs = module(outputs)
            if isinstance(module, nn.ReLU):
                found.append(outputs)
        return found


def _highest(outputs: Tensor) -> tuple[npt.NDArray[Any], ...]:
    """Return each filter's highest output (n, filters), its row and its column in the layer."""
    highest, places = (each.numpy(force=True) for each in outputs.flatten(2).max(2))
    return highest, *np.divmod(places, outputs.shape[3])


def _guide(module: nn.Module, inputs: Any, outputs: Tensor) -> None:  # noqa: ARG001
    """Let positive gradients alone through a ReLU, after its forward pass."""
    if outputs.requires_grad:
        outputs.register_hook(lambda gradients: gradients.clamp(min=0))  # type: ignore[no-untyped-call]
