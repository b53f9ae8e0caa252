"""Guided backpropagation against loops in float64, weights, and small changes of pixels."""

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


def make_network(architecture: Architecture = TINY, screen: int = 9, seed: int = 1) -> QNetwork:
    network = QNetwork(
        architecture,
        num_actions=3,
        history_length=2,
        observation_shape=(screen, screen),
        num_atoms=1,
        dueling=False,
        batch_norm=False,
        pixel_mean=PIXEL_MEAN,
    )
    return network.init_weights(seed)


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


def test_the_strongest_activations_are_found_and_projected() -> None:
    """More states than are computed at once."""
    network, states = make_network(), some_states(150)
    reference = Reference(network)
    inside = guided(network)
    assert inside.num_layers == 2
    outputs = [reference.layers(state) for state in states]
    for layer, (strongest,) in enumerate(inside.strongest(states, number=1, apart=1)):
        activations = np.stack([output[layer] for output in outputs])  # (states, filters, ...)
        projections = inside.project_filters(states, layer, strongest)
        for f in range(activations.shape[1]):
            state, row, column = np.unravel_index(
                activations[:, f].argmax(), activations[:, f].shape
            )
            found = (strongest.states[f], strongest.rows[f], strongest.columns[f])
            assert found == (state, row, column)
            assert strongest.activations[f] == pytest.approx(activations[:, f].max(), rel=1e-5)
            expected = reference.project(states[state], layer, (f, int(row), int(column)))
            np.testing.assert_allclose(projections[f], expected, rtol=1e-4, atol=1e-6)
            assert (expected != 0).any()


def test_further_activations_are_found_at_other_times() -> None:
    """The three strongest of each filter, at least 40 of 150 states apart; the fourth is none."""
    network, states = make_network(), some_states(150)
    reference = Reference(network)
    outputs = [reference.layers(state) for state in states]
    for layer, ranks in enumerate(guided(network).strongest(states, number=5, apart=40)):
        activations = np.stack([output[layer] for output in outputs])
        highest = activations.reshape(*activations.shape[:2], -1).max(axis=2)  # (states, filters)
        for f in range(highest.shape[1]):
            taken: list[int] = []
            for strongest in ranks:
                free = [s for s in range(150) if all(abs(s - t) >= 40 for t in taken)]
                if not free:
                    assert strongest.activations[f] == 0
                    continue
                taken.append(max(free, key=lambda s: highest[s, f]))
                assert strongest.states[f] == taken[-1]
                assert strongest.activations[f] == pytest.approx(highest[taken[-1], f], rel=1e-5)
                place = strongest.rows[f], strongest.columns[f]
                assert activations[taken[-1], f][place] == highest[taken[-1], f]
            assert 2 <= len(taken) <= 4


def test_the_first_weights_are_those_of_the_network() -> None:
    network = make_network()
    weights = guided(network).first_weights()
    np.testing.assert_array_equal(weights, network[0].weight.detach())  # type: ignore[index, union-attr, operator]


@pytest.mark.parametrize("action", [0, 1, 2])
def test_an_actions_value_is_projected(action: int) -> None:
    reference = Reference(network := make_network())
    inside = guided(network)
    for state in some_states(5):
        expected = reference.project_action(state, action)
        np.testing.assert_allclose(
            inside.project_action(state, action), expected, rtol=1e-4, atol=1e-6
        )
        assert (expected != 0).any()


def test_the_plain_gradient_differs() -> None:
    """Else these tests would not notice if nothing was guided."""
    network, state = make_network(), some_states(1)
    pixels = network.scale(torch.from_numpy(state)).requires_grad_()
    (plain,) = torch.autograd.grad(network.of_inputs(pixels)[0, 0], pixels)
    assert not np.allclose(guided(network).project_action(state[0], 0), plain[0].numpy())


def test_where_a_path_is_linear_it_is_the_derivative() -> None:
    """A first-layer filter that is active: pixels changed a little, in float64."""
    network, states = make_network(), some_states(20)
    reference = Reference(network)
    inside = guided(network)
    strongest = inside.strongest(states, number=1, apart=1)[0][0]
    projections = inside.project_filters(states, 0, strongest)
    for f in range(3):
        assert strongest.activations[f] > 0.01
        state = states[strongest.states[f]].astype(np.float64)
        where = (f, strongest.rows[f], strongest.columns[f])
        derivative = np.zeros(state.shape)
        for pixel in np.ndindex(state.shape):
            changed = [state.copy(), state.copy()]
            changed[0][pixel] += 1e-3
            changed[1][pixel] -= 1e-3
            high, low = (reference.layers(screens)[0][where] for screens in changed)
            derivative[pixel] = (high - low) / 2e-3 * 255
        np.testing.assert_allclose(projections[f], derivative, rtol=1e-4, atol=1e-6)


def test_a_filter_that_is_never_active_has_no_projection() -> None:
    network, states = make_network(), some_states(3)
    with torch.no_grad():
        network[0].bias[1] = -100  # type: ignore[index, operator, union-attr]
    inside = guided(network)
    strongest = inside.strongest(states, number=1, apart=1)[0][0]
    assert strongest.activations[1] == 0
    projections = inside.project_filters(states, 0, strongest)
    assert not projections[1].any()
    assert projections[0].any()


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


def test_a_network_without_convolutions_has_no_layers() -> None:
    assert guided(make_network(ARCHITECTURES["mlp"], 36)).num_layers == 0
