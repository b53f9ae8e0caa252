"""Guided backpropagation against loops in float64."""

import math

import numpy as np
import numpy.typing as npt
import pytest
import torch
from helpers import Array, convolve

from simple_dqn.networks.guided_backpropagation import GuidedNetwork, ReceptiveField
from simple_dqn.networks.heads import Values
from simple_dqn.networks.layers import ARCHITECTURES, Architecture, Convolution, QNetwork

TINY = Architecture((Convolution(3, 3, 2), Convolution(4, 2, 1)), hidden=(12,))
PIXEL_MEAN = 0.25


def make_network(architecture: Architecture = TINY, side: int = 9, norm: str = "false") -> QNetwork:
    network = QNetwork(
        architecture,
        num_actions=3,
        history_length=2,
        observation_shape=(side, side),
        num_atoms=1,
        dueling=False,
        batch_norm=False,
        layer_norm=norm,
        pixel_mean=PIXEL_MEAN,
    )
    return network.init_weights(1)


def guided(network: QNetwork) -> GuidedNetwork:
    return GuidedNetwork(network, Values(math.inf))


def some_states(number: int, screen: int = 9, history: int = 2) -> npt.NDArray[np.uint8]:
    rng = np.random.default_rng(1)
    return rng.integers(256, size=(number, history, screen, screen), dtype=np.uint8)


def spread(gradients: Array, weight: Array, stride: int, side: int) -> Array:
    """What a convolution's outputs' gradients are at its inputs."""
    size = weight.shape[2]
    inputs = np.zeros((weight.shape[1], side, side))
    for f, row, column in np.ndindex(gradients.shape):
        top, left = row * stride, column * stride
        window = inputs[:, top : top + size, left : left + size]
        window += gradients[f, row, column] * weight[f]
    return inputs


def guide(gradients: Array, outputs: Array) -> Array:
    return np.where((gradients > 0) & (outputs > 0), gradients, 0)


class Reference:
    """The tiny network by hand."""

    def __init__(self, network: QNetwork) -> None:
        parameters = [p.detach().numpy().astype(np.float64) for p in network.parameters()]
        self.w1, self.b1, self.w2, self.b2, self.w3, self.b3, self.w4, self.b4 = parameters

    def layers(self, state: npt.NDArray[np.uint8]) -> tuple[Array, Array]:
        pixels = state / 255 - PIXEL_MEAN
        first = np.maximum(convolve(pixels, self.w1, self.b1, 2), 0)
        return first, np.maximum(convolve(first, self.w2, self.b2, 1), 0)

    def project(self, state: npt.NDArray[np.uint8], layer: int, where: tuple[int, ...]) -> Array:
        outputs = self.layers(state)
        gradients = np.zeros(outputs[layer].shape)
        gradients[where] = 1
        if layer == 1:
            gradients = spread(guide(gradients, outputs[1]), self.w2, 1, outputs[0].shape[1])
        return spread(guide(gradients, outputs[0]), self.w1, 2, state.shape[1])

    def project_action(self, state: npt.NDArray[np.uint8], action: int) -> Array:
        first, second = self.layers(state)
        hidden = np.maximum(self.w3 @ second.ravel() + self.b3, 0)
        gradients = guide(self.w4[action], hidden) @ self.w3
        gradients = guide(gradients.reshape(second.shape), second)
        return spread(
            guide(spread(gradients, self.w2, 1, first.shape[1]), first), self.w1, 2, state.shape[1]
        )


@pytest.mark.parametrize(("number", "apart"), [(1, 1), (5, 40)])
def test_the_strongest_activations_are_found_and_projected(number: int, apart: int) -> None:
    """More states than are computed at once; at most four of the 150 are 40 states apart."""
    network, states = make_network(), some_states(150)
    reference, inside = Reference(network), guided(network)
    outputs = [reference.layers(state) for state in states]
    for layer, ranks in enumerate(inside.strongest(states, number=number, apart=apart)):
        activations = np.stack([output[layer] for output in outputs])  # (states, filters, ...)
        projections = [inside.project_filters(states, layer, strongest) for strongest in ranks]
        for f in range(activations.shape[1]):
            taken: list[int] = []
            for strongest, projection in zip(ranks, projections, strict=True):
                free = [s for s in range(150) if all(abs(s - t) >= apart for t in taken)]
                if not free:
                    assert strongest.activations[f] == 0
                    continue
                best = max(free, key=lambda s: activations[s, f].max())
                row, column = np.unravel_index(
                    activations[best, f].argmax(), activations[best, f].shape
                )
                found = (strongest.states[f], strongest.rows[f], strongest.columns[f])
                assert found == (best, row, column)
                highest = activations[best, f].max()
                assert strongest.activations[f] == pytest.approx(highest, rel=1e-5)
                expected = reference.project(states[best], layer, (f, int(row), int(column)))
                np.testing.assert_allclose(projection[f], expected, rtol=1e-4, atol=1e-6)
                assert (expected != 0).any()
                taken.append(best)
            assert len(taken) == number or 2 <= len(taken) <= 4


@pytest.mark.parametrize("action", [0, 1, 2])
def test_an_actions_value_is_projected(action: int) -> None:
    network = make_network()
    reference, inside = Reference(network), guided(network)
    for state in some_states(5):
        expected, found = (made.project_action(state, action) for made in (reference, inside))
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)
        assert (expected != 0).any()


@pytest.mark.parametrize("layer_norm", ["false", "true", "all"])
def test_the_plain_gradient_differs(layer_norm: str) -> None:
    """Else these tests would not notice if nothing was guided."""
    network, state = make_network(norm=layer_norm), some_states(1)
    pixels = network.scale(torch.from_numpy(state)).requires_grad_()
    (plain,) = torch.autograd.grad(network.of_inputs(pixels)[0, 0], pixels)
    assert not np.allclose(guided(network).project_action(state[0], 0), plain[0].numpy())


@pytest.mark.parametrize("name", ["nature", "nips"])
def test_the_receptive_field_is_what_can_change_an_output(name: str) -> None:
    """The weights are all 1, so that every pixel of the field has a gradient."""
    network = make_network(ARCHITECTURES[name], 84)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.fill_(1)
    inside = guided(network)
    states = some_states(2, 84)
    for layer, (strongest,) in enumerate(inside.strongest(states, number=1, apart=1)):
        projection = inside.project_filters(states, layer, strongest)[0]
        rows, columns = np.nonzero(projection.any(axis=0))
        field = inside.receptive_field(layer, int(strongest.rows[0]), int(strongest.columns[0]))
        expected = ReceptiveField(rows.min(), columns.min(), rows.max() + 1, columns.max() + 1)
        assert field == expected
