from statistics import NormalDist
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pytest
import torch
from helpers import make_network, make_settings
from hypothesis import given
from hypothesis import strategies as st
from reference.naive_dqn import NaiveDQN

from simple_dqn.deep_q_network import DeepQNetwork
from simple_dqn.errors import UserError
from simple_dqn.networks.device import find_device
from simple_dqn.networks.heads import QuantileRegression
from simple_dqn.networks.native import NativeQNetwork
from simple_dqn.replay_memory import Minibatch
from simple_dqn.returns import NStepReturn
from simple_dqn.run import parts


class Batch(NamedTuple):
    """Transitions with their raw rewards, float32 (batch, n_step), for a reference by hand."""

    prestates: npt.NDArray[np.uint8]
    actions: npt.NDArray[np.int64]
    rewards: npt.NDArray[np.float32]
    poststates: npt.NDArray[np.uint8]
    terminals: npt.NDArray[np.bool_]
    weights: npt.NDArray[np.float32] | None = None

    def learned(self) -> Minibatch:
        """As the replay memory gives them, rewards clipped to [-1, 1] and discounted by 0.99."""
        size, n_step = self.rewards.shape
        n_step_return = NStepReturn(n_step, 0.99, -1.0, 1.0)
        returns, discounts = n_step_return(
            self.rewards, self.terminals, np.zeros_like(self.terminals)
        )
        weights = np.ones(size, np.float32) if self.weights is None else self.weights
        indexes = np.arange(size)
        return Minibatch(
            self.prestates, self.actions, returns, discounts, self.poststates, weights, indexes
        )


def make_batch(
    seed: int,
    size: int = 8,
    shape: tuple[int, int] = (36, 40),
    n_step: int = 1,
    weighted: bool = False,
) -> Batch:
    """Random transitions; rewards beyond the clipping range, about every third step terminal."""
    rng = np.random.default_rng(seed)
    screens = rng.integers(0, 256, (size, 4 + n_step, *shape), dtype=np.uint8)
    return Batch(
        screens[:, :4],
        rng.integers(0, 3, size),
        rng.normal(0, 3, (size, n_step)).astype(np.float32),
        screens[:, n_step:],
        np.logical_or.accumulate(rng.random((size, n_step)) < 0.3, axis=1),
        rng.random(size).astype(np.float32) if weighted else None,
    )


def weights_of(network: DeepQNetwork) -> list[npt.NDArray[np.float64]]:
    return [np.asarray(value, np.float64) for value in network.get_weights().values()]


@pytest.mark.parametrize(
    ("settings", "n_step", "weighted"),
    [
        ({}, 1, False),
        ({"clip_error": 0.01}, 1, False),
        ({"clip_error": 0.0}, 1, False),
        ({"double_q": True}, 1, False),
        ({"target_exploration_rate": 0.3}, 1, False),
        ({}, 3, False),
        ({}, 1, True),
        ({"pixel_mean": 0.4}, 1, False),
        (dict(clip_error=0.0, double_q=True, target_exploration_rate=0.3, pixel_mean=0.4), 3, True),
    ],
    ids=str,
)
@pytest.mark.parametrize(
    ("datatype", "native_kernels", "num_threads", "tolerance"),
    [("float64", False, 1, 1e-10), ("float32", False, 1, 1e-5), ("float32", True, 3, 1e-5)],
)
def test_updates_equal_the_reference_by_hand(
    datatype: str,
    native_kernels: bool,
    num_threads: int,
    tolerance: float,
    settings: dict[str, Any],
    n_step: int,
    weighted: bool,
) -> None:
    """Three updates, a target copy, two more: predictions, costs and all weights agree.

    float32 rounds each weight to 6e-8 of its size and RMSProp divides by at least 0.1, so five
    updates of 0.00025 stay well within 1e-5.
    """
    computed: dict[str, Any] = {"datatype": datatype, "native_kernels": native_kernels}
    network = make_network(**computed, num_threads=num_threads, **settings)
    assert isinstance(network._network, NativeQNetwork) == native_kernels
    reference = NaiveDQN(
        weights_of(network), **{"discount_rate": 0.99, "clip_error": 1.0} | settings
    )
    for step in range(5):
        if step == 3:
            network.update_target_network()
            reference.target_weights = [w.copy() for w in reference.weights]
        batch = make_batch(step, n_step=n_step, weighted=weighted)
        network.reset_cost()
        network.train(batch.learned())
        cost = reference.train(*batch)
        if weighted:
            np.testing.assert_allclose(network.errors(), reference.errors, rtol=0, atol=1e-5)
        assert network.mean_cost() == pytest.approx(cost, rel=max(tolerance, 1e-6))
    for ours, theirs in zip(weights_of(network), reference.weights, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=tolerance)
    states = make_batch(9).prestates
    expected = [reference.values(state, reference.weights)[-1] for state in states]
    np.testing.assert_allclose(network.predict(states), expected, rtol=0, atol=1e-5)
    assert network.weight_updates == 5


def test_two_action_example_by_hand() -> None:
    """Target, clipping and sum with numbers a reader can check: all weights zero but the biases.

    Q(s, .) = (0.5, 2) everywhere. Transition 1: action 0, reward 7 clipped to 1, s' not terminal:
    target 1 + 0.5 * 2 = 2, error -1.5 clipped to -1. Transition 2: action 0, reward -0.25,
    terminal: target -0.25, error 0.75. The bias gradient of action 0 is -1 + 0.75 = -0.25, of
    action 1 it is 0. RMSProp's first step: g = -0.0125, n = 0.003125, and the root of
    n - g^2 + 0.01 = 0.01296875 is 0.11388: the bias moves by 0.00025 * 0.25 / 0.11388.
    """
    network = make_network(num_actions=2, discount_rate=0.5, datatype="float64")
    weights = {name: np.zeros_like(value) for name, value in network.get_weights().items()}
    last_bias = list(weights)[-1]
    weights[last_bias] = np.array([0.5, 2.0])
    network.set_weights(weights)
    screens = np.zeros((2, 5, 36, 40), np.uint8)
    batch = Batch(
        screens[:, :-1],
        np.array([0, 0]),
        np.array([[7], [-0.25]], np.float32),
        screens[:, 1:],
        np.array([[False], [True]]),
    )
    network.train(batch.learned()._replace(discounts=np.array([0.5, 0.0])))
    bias = network.get_weights()[last_bias]
    np.testing.assert_allclose(bias, [0.5 + 0.00025 * 0.25 / 0.01296875**0.5, 2], atol=1e-12)
    assert network.mean_cost() == pytest.approx(((1.5 - 0.5) + 0.75**2 / 2) / 2)


def test_nature_network_has_the_papers_size() -> None:
    network = make_network(num_actions=18, observation_shape=(84, 84))
    weights = network.get_weights()
    assert sum(value.size for value in weights.values()) == 1_693_362
    assert [value.shape for value in weights.values()] == [
        *((32, 4, 8, 8), (32,), (64, 32, 4, 4), (64,), (64, 64, 3, 3), (64,)),
        *((512, 3136), (512,), (18, 512), (18,)),
    ]


def test_weights_start_uniform_within_one_over_root_fan_in() -> None:
    weights = list(make_network(observation_shape=(84, 84)).get_weights().values())
    for weight, bias in zip(weights[::2], weights[1::2], strict=True):
        bound = np.sqrt(1 / weight[0].size)
        for values in (weight, bias):
            assert np.abs(values).max() <= bound
        # The variance of a uniform distribution on +-b is b^2/3; its estimate from n draws has
        # the relative standard error sqrt(0.8/n): 5 of those are allowed.
        assert weight.var() / (bound**2 / 3) == pytest.approx(1, abs=5 * (0.8 / weight.size) ** 0.5)
        assert np.abs(weight).max() > 0.99 * bound


def next_values(network: DeepQNetwork, poststates: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        actions = torch.zeros(len(poststates), dtype=torch.int64)
        return network._next_value(poststates, actions, poststates)[1]


@pytest.mark.parametrize("target_steps", [10_000, 0])
def test_target_network_stays_until_it_is_copied(target_steps: int) -> None:
    """Without target network the network is its own."""
    network = make_network(learning_rate=0.01, target_steps=target_steps)
    poststates = torch.from_numpy(make_batch(0).poststates)
    before = next_values(network, poststates)
    network.train(make_batch(0).learned())
    assert torch.equal(next_values(network, poststates), before) == (target_steps > 0)
    network.update_target_network()
    assert not torch.equal(next_values(network, poststates), before)


@pytest.mark.parametrize("optimizer", ["rmsprop", "adam", "adadelta"])
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"batch_norm": True},
        {"layer_norm": "true", "native_kernels": True},
        {"dueling": True, "distributional": "c51", "double_q": True},
        {"dueling": True, "distributional": "qr", "double_q": True, "native_kernels": True},
    ],
    ids=str,
)
def test_training_continues_exactly_from_saved_state(
    optimizer: str, settings: dict[str, Any]
) -> None:
    network = make_network(optimizer=optimizer, **settings)
    for step in range(3):
        network.train(make_batch(step).learned())
        if step == 1:
            network.update_target_network()
    copy = make_network(optimizer=optimizer, random_seed=77, **settings)
    copy.set_weights(network.get_weights())
    copy.set_training_state(network.get_training_state())
    for step in range(3, 6):
        network.train(make_batch(step).learned())
        copy.train(make_batch(step).learned())
    for name, value in network.get_weights().items():
        np.testing.assert_array_equal(copy.get_weights()[name], value)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"optimizer": "adam"},
        {"optimizer": "adadelta", "learning_rate": 1.0},
        {"batch_norm": True, "dueling": True, "native_kernels": True},
        {"datatype": "float16", "network": "nips", "layer_norm": "all"},
        {"target_steps": 0},
        {"network": "mlp", "dueling": True, "layer_norm": "true"},
        {"distributional": "c51", "dueling": True, "double_q": True},
        {"distributional": "qr", "clip_error": 0.0, "native_kernels": True},
        {"distributional": "c51", "network": "mlp", "dueling": True, "datatype": "float16"},
        {"distributional": "qr", "network": "mlp", "dueling": True, "datatype": "float16"},
    ],
    ids=str,
)
def test_repeated_updates_approach_the_targets(settings: dict[str, Any]) -> None:
    """With only terminal transitions the targets are the rewards, a plain regression."""
    network = make_network(**{"learning_rate": 0.001} | settings)
    batch = make_batch(3)._replace(terminals=np.ones((8, 1), np.bool_))
    network.train(batch.learned())
    first = network.mean_cost()
    for _ in range(50):
        network.reset_cost()
        network.train(batch.learned())
    assert network.mean_cost() < 0.5 * first


def test_weights_of_another_network_are_refused() -> None:
    weights = make_network(num_actions=4).get_weights()
    with pytest.raises(UserError, match=r"\(4,|another network"):
        make_network(num_actions=3).set_weights(weights)
    with pytest.raises(UserError, match="another network"):
        make_network().set_weights(make_network(batch_norm=True).get_weights())


def test_divergence_is_noticed() -> None:
    network = make_network(learning_rate=1e30)
    for step in range(10):
        network.train(make_batch(step)._replace(terminals=np.zeros((8, 1), np.bool_)).learned())
        network.update_target_network()
    with pytest.raises(UserError, match="learning_rate"):
        network.mean_cost()


def test_impossible_settings_are_refused() -> None:
    with pytest.raises(UserError, match="36x36"):
        make_network(observation_shape=(35, 84))
    with pytest.raises(UserError, match="not pictures"):
        make_network(observation_shape=(4,))
    with pytest.raises(UserError, match="target_steps"):
        make_network(double_q=True, target_steps=0)
    with pytest.raises(UserError, match="--batch_norm and --layer_norm exclude one another"):
        make_network(batch_norm=True, layer_norm="all")
    with pytest.raises(UserError, match="max_reward"):
        make_network(distributional="c51", max_reward=11.0)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_gpu_that_is_not_there() -> None:
    assert find_device(None, 0) == "cpu"
    with pytest.raises(UserError, match="--backend cpu"):
        find_device("gpu", 0)


def test_weights_of_either_kind_fit_both() -> None:
    """A snapshot does not know whether kernels or torch did the convolutions."""
    native, plain = make_network(native_kernels=True, random_seed=1), make_network()
    plain.set_weights(native.get_weights())
    states = make_batch(0).prestates
    np.testing.assert_allclose(plain.predict(states), native.predict(states), rtol=0, atol=1e-6)
    native.train(make_batch(1).learned())
    state = native.get_training_state()
    plain.set_weights(native.get_weights())
    plain.set_training_state(state)
    for name, value in plain.get_training_state().items():
        np.testing.assert_array_equal(value, state[name])


@pytest.mark.parametrize("native_kernels", [False, True])
def test_averages_of_dead_gradients_end_at_zero(native_kernels: bool) -> None:
    """Gradients that stay zero leave no denormal numbers behind, in whichever thread."""
    network = make_network(native_kernels=native_kernels, num_threads=2, observation_shape=(84, 84))
    batch = make_batch(0, shape=(84, 84))._replace(terminals=np.ones((8, 1), np.bool_))
    network.train(batch.learned())
    state = network.get_training_state()
    averages = [name for name in state if "mean" in name]
    assert len(averages) == 20
    for name in averages:
        state[name] = np.full_like(state[name], 1.2e-38)  # normal; 0.95 of it is denormal
    network.set_training_state(state)
    values = network.predict(batch.prestates)  # with them as rewards, all errors are zero
    returns = values[np.arange(8), batch.actions].astype(np.float64)
    for _ in range(2):
        network.train(batch.learned()._replace(returns=returns))
    state = network.get_training_state()
    for name in averages:
        small = np.abs(state[name])
        assert not ((small > 0) & (small < np.finfo(np.float32).tiny)).any(), name
        assert (small == 0).mean() > 0.5, name


gpu = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")]


@pytest.mark.parametrize(("datatype", "tolerance"), [("float64", 1e-9), ("float32", 1e-4)])
@pytest.mark.parametrize("device", [pytest.param("cuda:0", marks=gpu)])
def test_gpu_computes_what_the_cpu_does(device: str, datatype: str, tolerance: float) -> None:
    """100 updates with target copies, most of them replayed as a CUDA graph."""
    networks = [make_network(device=place, datatype=datatype) for place in ("cpu", device)]
    for step in range(100):
        for network in networks:
            network.train(make_batch(step).learned())
            if step % 10 == 9:
                network.update_target_network()
    for ours, theirs in zip(*map(weights_of, networks), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=tolerance)


@pytest.mark.parametrize("optimizer", ["rmsprop", "adam", "adadelta"])
@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda:0", marks=gpu)])
def test_the_same_seed_gives_the_same_run(device: str, optimizer: str) -> None:
    networks = [make_network(device=device, optimizer=optimizer) for _ in range(2)]
    for step in range(20):
        for network in networks:
            network.train(make_batch(step).learned())
    for ours, theirs in zip(*map(weights_of, networks), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def outputs_by_hand(
    weights: list[npt.NDArray[np.float64]],
    state: npt.NDArray[np.uint8],
    num_atoms: int,
    *,
    dueling: bool = False,
) -> npt.NDArray[np.float64]:
    """Outputs for three actions, (3, num_atoms), by `NaiveDQN`; Wang et al. 2016, equation 9.

    A dueling network has four weights for the value's stream before those for the advantages.
    """
    streams = [weights[6:10], weights[10:]] if dueling else [weights[6:]]
    *value, outputs = (
        NaiveDQN([], discount_rate=0, clip_error=0)
        .values(state, weights[:6] + stream)[-1]
        .reshape(-1, num_atoms)
        for stream in streams
    )
    return value[0] + outputs - outputs.mean(0) if dueling else outputs


@pytest.mark.parametrize("native_kernels", [False, True])
def test_dueling_streams_are_joined_as_in_the_paper(native_kernels: bool) -> None:
    """By the saved weights: the streams meet only in Q = V + A - mean A."""
    datatype = "float32" if native_kernels else "float64"
    network = make_network(dueling=True, native_kernels=native_kernels, datatype=datatype)
    network.train(make_batch(1).learned())
    names, weights = list(network.get_weights()), weights_of(network)
    assert [name.split(".")[1] for name in names[6:]] == ["value"] * 4 + ["advantages"] * 4
    states = make_batch(2).prestates
    for state, values in zip(states, network.predict(states), strict=True):
        expected = outputs_by_hand(weights, state, 1, dueling=True)[:, 0]
        np.testing.assert_allclose(values, expected, atol=1e-5)


def normalized(outputs: torch.Tensor, gains: torch.Tensor, offsets: torch.Tensor) -> torch.Tensor:
    """Each state's outputs of a layer; Ba et al. 2016, equation 4."""
    axes = tuple(range(1, outputs.dim()))
    centred = outputs - outputs.mean(axes, keepdim=True)
    return gains * centred / (centred.square().mean(axes, keepdim=True) + 1e-5).sqrt() + offsets


def values_with_layer_norm(
    states: npt.NDArray[np.uint8], weights: list[torch.Tensor], settings: dict[str, Any]
) -> torch.Tensor:
    """Nature's network in float64, without a layer of the package or of torch.nn."""
    left = iter(weights)
    outputs = torch.from_numpy(states).double() / 255
    for stride in (4, 2, 1):
        outputs = torch.conv2d(outputs, next(left), next(left), stride)
        if settings["layer_norm"] == "all":
            outputs = normalized(outputs, next(left), next(left))
        outputs = outputs.relu()
    streams = []
    for _ in range(2 if "dueling" in settings else 1):
        hidden = outputs.flatten(1) @ next(left).T + next(left)
        hidden = normalized(hidden, next(left), next(left)).relu()
        streams.append(hidden @ next(left).T + next(left))
    *value, advantages = streams
    return value[0] + advantages - advantages.mean(1, keepdim=True) if value else advantages


@pytest.mark.parametrize(
    "settings",
    [
        {"layer_norm": "true", "datatype": "float64"},
        {"layer_norm": "all", "datatype": "float64", "dueling": True},
        {"layer_norm": "true", "native_kernels": True, "dueling": True},
    ],
)
def test_layer_norm_equals_a_reference_by_hand(settings: dict[str, Any]) -> None:
    """Q-values, and the first update by RMSProp, whose averages begin at 0."""
    network, batch = make_network(**settings), make_batch(3)
    native = isinstance(network._network, NativeQNetwork)
    assert native == settings.get("native_kernels", False)
    rng = np.random.default_rng(1)
    drawn = {k: v + rng.normal(0, 0.01, v.shape) for k, v in network.get_weights().items()}
    network.set_weights({k: v.astype(np.float32) for k, v in drawn.items()})  # no gain is 1
    weights = [torch.from_numpy(w).requires_grad_() for w in weights_of(network)]
    values = values_with_layer_norm(batch.prestates, weights, settings)
    np.testing.assert_allclose(network.predict(batch.prestates), values.detach(), atol=1e-5)
    targets = torch.from_numpy(batch.rewards[:, 0]).double().clamp(-1, 1)
    errors = (values[range(8), batch.actions] - targets).abs()
    loss = torch.where(errors < 1, errors**2 / 2, errors - 0.5).sum()
    gradients = torch.autograd.grad(loss, weights)
    network.train(batch._replace(terminals=np.ones((8, 1), np.bool_)).learned())
    for new, old, dw in zip(weights_of(network), weights, gradients, strict=True):
        expected = old.detach() - 0.00025 * dw / (0.05 * dw**2 - (0.05 * dw) ** 2 + 0.01).sqrt()
        np.testing.assert_allclose(new, expected, rtol=0, atol=1e-6 if native else 1e-12)


@pytest.mark.parametrize(
    ("settings", "dead"),
    [
        ({"layer_norm": "true", "dueling": True, "native_kernels": True}, 6 / 1024),
        ({"network": "30,20", "datatype": "float16"}, 6 / 50),
    ],
)
def test_dead_units_are_counted(settings: dict[str, Any], dead: float) -> None:
    """One that a single state opens is not; then three in each hidden layer never open."""
    network, states = make_network(**settings), make_batch(1).prestates
    assert network.dead_units(states) < network.dead_units(states[:1]) < 1
    with torch.no_grad():
        for layer in network._network.modules():
            if isinstance(layer, torch.nn.Linear):
                layer.weight.zero_()
                layer.bias.fill_(1)
                layer.bias[:3] = -1
    assert network.dead_units(states) == pytest.approx(dead)


class Distributions(NamedTuple):
    """A distributional network after three updates, and what a reference needs to know of it."""

    network: DeepQNetwork
    batch: Batch  # weighted, to be learned next
    online: list[npt.NDArray[np.float64]]
    target: list[npt.NDArray[np.float64]]

    def transition(self, index: int) -> tuple[float, float]:
        """Discounted rewards, clipped, up to the end of the game; and the next value's discount."""
        rewards, terminals = self.batch.rewards[index].clip(-1, 1), self.batch.terminals[index]
        steps = min(len(rewards), 1 + np.count_nonzero(~terminals))
        returned = sum(0.99**k * float(rewards[k]) for k in range(steps))
        return returned, 0.0 if terminals[-1] else 0.99 ** len(rewards)

    def check(self, values: Any, costs: Any, errors: Any, tolerance: float) -> None:
        """Compare values (batch, num_actions), costs and errors (batch,) of the next update."""
        predicted = self.network.predict(self.batch.prestates)
        np.testing.assert_allclose(predicted, values, rtol=1e-5, atol=1e-5)
        self.network.reset_cost()
        self.network.train(self.batch.learned())
        np.testing.assert_allclose(self.network.errors(), errors, rtol=tolerance, atol=tolerance)
        assert self.batch.weights is not None
        cost = np.mean(self.batch.weights * costs)
        assert self.network.mean_cost() == pytest.approx(cost, rel=tolerance)


def make_distributions(n_step: int, **settings: Any) -> Distributions:
    datatype = "float32" if settings.get("native_kernels") else "float64"
    network = make_network(**settings, datatype=datatype)
    for step in range(3):  # so that network and target network differ
        network.train(make_batch(step, n_step=n_step).learned())
    state = network.get_training_state()
    target = [v.astype(np.float64) for k, v in state.items() if k.startswith("target.")]
    batch = make_batch(9, n_step=n_step, weighted=True)
    return Distributions(network, batch, weights_of(network), target)


@pytest.mark.parametrize("head", ["c51", "hl_gauss"])
@pytest.mark.parametrize(
    ("double_q", "exploration", "n_step"),
    [(False, 0.0, 1), (True, 0.0, 1), (False, 0.0, 3), (False, 0.3, 1), (True, 0.3, 3)],
)
def test_c51_targets_and_costs_equal_a_reference_by_hand(
    head: str, double_q: bool, exploration: float, n_step: int
) -> None:
    """Bellemare et al. 2017, algorithm 1, one transition and one atom after the other.

    The same for HL-Gauss, whose target is a Gaussian around a number.
    """
    settings = {"double_q": double_q, "target_exploration_rate": exploration}
    known = make_distributions(n_step, distributional=head, **settings)
    atoms = [-10 + 0.4 * i for i in range(51)]
    values, errors = [], []
    for index in range(8):
        r, discount = known.transition(index)
        distributions = [
            softmax(outputs_by_hand(weights, known.batch.poststates[index], 51))
            for weights in (known.target, known.online)
        ]
        chosen = np.argmax(distributions[double_q] @ atoms)
        m = [0.0] * 51
        mixed = (1 - exploration) * distributions[0][chosen]
        for distribution in distributions[0]:
            mixed = mixed + exploration / 3 * distribution
        if head == "hl_gauss":
            number = min(max(r + discount * float(mixed @ atoms), -10), 10)
            gauss = NormalDist(number, 0.3)
            m = [gauss.cdf(atom + 0.2) - gauss.cdf(atom - 0.2) for atom in atoms]
            m = [share / sum(m) for share in m]
            mixed = [0.0] * 51
        for atom, p in zip(atoms, mixed, strict=True):
            b = (min(max(r + discount * atom, -10), 10) + 10) / 0.4
            lower, upper = int(np.floor(b)), int(np.ceil(b))
            if lower == upper:
                m[lower] += p
            else:
                m[lower] += p * (upper - b)
                m[upper] += p * (b - lower)
        own = softmax(outputs_by_hand(known.online, known.batch.prestates[index], 51))
        values.append(own @ atoms)
        log_p = np.log(own)[known.batch.actions[index]]
        errors.append(sum(x * (np.log(x) - y) for x, y in zip(m, log_p, strict=True) if x > 0))
    known.check(values, errors, errors, 1e-6)


def softmax(logits: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    powers: npt.NDArray[np.float64] = np.exp(logits - logits.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


@pytest.mark.parametrize(
    ("settings", "n_step"),
    [
        ({}, 1),
        ({"native_kernels": True}, 1),
        ({"double_q": True, "clip_error": 0.1}, 1),
        ({"dueling": True, "clip_error": 0.0}, 3),
        ({"target_exploration_rate": 0.3}, 1),
        ({"double_q": True, "dueling": True, "target_exploration_rate": 0.3}, 3),
        ({"double_q": True, "dueling": True, "native_kernels": True}, 3),
    ],
    ids=str,
)
def test_quantile_regression_equals_a_reference_by_hand(
    settings: dict[str, Any], n_step: int
) -> None:
    """Dabney et al. 2018, algorithm 1, one transition, quantile and target after the other."""
    native, dueling = settings.get("native_kernels", False), settings.get("dueling", False)
    of_qr = {"distributional": "qr", "optimizer": "adam", "learning_rate": 0.01}
    known = make_distributions(n_step, **of_qr, **settings)
    assert isinstance(known.network._network, NativeQNetwork) == native
    kappa, exploration = settings.get("clip_error", 1.0), settings.get("target_exploration_rate", 0)
    values, costs, errors = [], [], []
    for index in range(8):
        r, discount = known.transition(index)
        judged, online = (
            outputs_by_hand(weights, known.batch.poststates[index], 51, dueling=dueling)
            for weights in (known.target, known.online)
        )
        chooser = online if settings.get("double_q") else judged
        best = judged[np.argmax(chooser.mean(1))]
        expected = (1 - exploration) * best + exploration * judged.mean(0)
        own = outputs_by_hand(known.online, known.batch.prestates[index], 51, dueling=dueling)
        values.append(own.mean(1))
        theta = own[known.batch.actions[index]]
        costs.append(sum(quantile_loss_by_hand(theta, r + discount * expected, kappa)[0]))
        errors.append(np.mean(r + discount * expected) - np.mean(theta))
    known.check(values, costs, errors, 1e-4 if native else 1e-6)


def quantile_loss_by_hand(
    theta: npt.NDArray[np.float64], targets: npt.NDArray[np.float64], kappa: float
) -> tuple[list[float], list[float]]:
    """Each quantile's quantile Huber loss and its derivative; kappa 0 is plain quantile loss."""
    losses, slopes = [], []
    for index, quantile in enumerate(theta):
        tau = (2 * index + 1) / (2 * len(theta))
        loss = slope = 0.0
        for target in targets:
            error = float(target) - float(quantile)
            side = 1 - tau if error < 0 else tau
            if abs(error) <= kappa:
                loss += side * error**2 / 2 / (kappa or 1.0)
                slope -= side * error / (kappa or 1.0)
            else:
                loss += side * (abs(error) - kappa / 2)
                slope -= side * float(np.sign(error))
        losses.append(loss / len(targets))
        slopes.append(slope / len(targets))
    return losses, slopes


@given(st.data())
def test_quantile_losses_and_slopes_equal_a_loop(data: st.DataObject) -> None:
    """Any number of transitions and quantiles, errors around kappa, ends of games."""
    size, number = data.draw(st.integers(1, 4)), data.draw(st.integers(1, 9))
    kappa = data.draw(st.sampled_from([0.0, 0.3, 1.0, 5.0]))
    dtype = data.draw(st.sampled_from([torch.float32, torch.float64]))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    # In steps of 0.1, so that some errors are 0 or kappa.
    outputs, predictions = rng.integers(-20, 20, (2, size, number)) / 10
    returns, discounts = rng.integers(-10, 10, size) / 10, rng.choice([0, 0.9, 1.0], size)
    head = QuantileRegression(number, kappa, torch.device("cpu"), dtype)
    learned = torch.tensor(outputs, dtype=dtype, requires_grad=True)
    targets = head.targets(
        *(torch.tensor(x, dtype=dtype) for x in (predictions, returns, discounts))
    )
    expected = returns[:, None] + discounts[:, None] * predictions
    tolerance = {"rtol": 0, "atol": 1e-5 if dtype == torch.float32 else 1e-12}
    np.testing.assert_allclose(targets, expected, **tolerance)
    losses, errors = head.losses(learned, targets)
    losses.sum().backward()  # type: ignore[no-untyped-call]
    assert learned.grad is not None
    # The reference gets the rounded numbers, since an error may be 0 in one type only.
    for index in range(size):
        theta, own = (x[index].detach().double().numpy() for x in (learned, targets))
        each, slopes = quantile_loss_by_hand(theta, own, kappa)
        np.testing.assert_allclose(losses[index].detach(), sum(each), **tolerance)
        np.testing.assert_allclose(learned.grad[index], slopes, **tolerance)
        np.testing.assert_allclose(errors[index], own.mean() - theta.mean(), **tolerance)


@pytest.mark.parametrize("dueling", [False, True])
def test_a_network_without_convolutions(dueling: bool) -> None:
    """Two layers of 24 units see all of the state; kernels have no part in them."""
    network = make_network(network="mlp", native_kernels=True, dueling=dueling)
    assert not isinstance(network._network, NativeQNetwork)
    shapes = [value.shape for value in network.get_weights().values()]
    pixels = 4 * 36 * 40
    assert shapes[:5] == [(24, pixels), (24,), (24, 24), (24,), (1 if dueling else 3, 24)]


@pytest.mark.parametrize(
    "changes",
    [
        {"native_kernels": True, "pixel_mean": 0.4},
        {"network": "nips", "dueling": True, "distributional": "c51", "batch_norm": True},
        {"distributional": "qr", "dueling": True, "native_kernels": True},
        {"datatype": "float64"},
        {"layer_norm": "all", "distributional": "c51", "dueling": True},
    ],
)
def test_a_copy_for_looking_inside_gives_the_same_values(changes: dict[str, Any]) -> None:
    """Also after updates; and it is a copy."""
    network = make_network(**changes)
    for seed in range(3):
        network.train(make_batch(seed).learned())
    settings = make_settings(**changes)
    guided = parts.make_guided_network(settings, 3, (36, 40), network.get_weights())
    states = make_batch(9).prestates
    predicted = network.predict(states)
    copied = guided._network
    with torch.no_grad():
        values = guided._head.values(guided._head.predictions(copied(torch.from_numpy(states))))
    np.testing.assert_allclose(values, predicted, rtol=1e-4, atol=1e-5)
    with torch.no_grad():
        for parameter in copied.parameters():
            parameter.zero_()
    np.testing.assert_array_equal(network.predict(states), predicted)
