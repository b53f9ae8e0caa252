"""The CPU's kernels against torch in float64, by autograd; and what happens without a compiler."""

import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from simple_dqn.networks.layers import ARCHITECTURES, Convolution
from simple_dqn.networks.native import Kernels, NativeRMSProp, compile_kernels
from simple_dqn.networks.optimizers import GravesRMSProp, make_optimizer

NATURE = ARCHITECTURES["nature"].convolutions
NIPS = ARCHITECTURES["nips"].convolutions

pytestmark = pytest.mark.skipif(not shutil.which("cc"), reason="needs a C compiler")


def make_parameters(convolutions: Sequence[Convolution], channels: int) -> list[Tensor]:
    """Random weights and biases, float64."""
    generator = torch.Generator().manual_seed(3)
    parameters = []
    for filters, size, _ in convolutions:
        shape = (filters, channels, size, size)
        bound = 1 / (channels * size * size) ** 0.5
        for each in (shape, (filters,)):
            draw = torch.rand(each, generator=generator, dtype=torch.float64)
            parameters.append((2 * draw - 1) * bound)
        channels = filters
    return parameters


def make_kernels(
    convolutions: Sequence[Convolution], history: int, shape: tuple[int, int]
) -> Kernels:
    kernels = compile_kernels(convolutions, history, shape)
    assert kernels is not None
    return kernels


def place(kernels: Kernels, parameters: Sequence[Tensor]) -> list[Tensor]:
    """Leaves in float32, stored as the kernels want them."""
    singles = [parameter.detach().float() for parameter in parameters]
    singles[::2] = [kernels.place(layer, weight) for layer, weight in enumerate(singles[::2])]
    return [single.requires_grad_() for single in singles]


def make_states(number: int, history: int, shape: tuple[int, int]) -> Tensor:
    """States as a minibatch has them: views of one more screen."""
    rng = np.random.default_rng(1)
    screens = rng.integers(0, 256, (number, history + 1, *shape), dtype=np.uint8)
    return torch.from_numpy(screens)[:, 1:]


@pytest.mark.parametrize(
    ("convolutions", "history", "shape", "number"),
    [
        *((NATURE, 4, (84, 84), number) for number in (32, 7, 1)),
        (NATURE, 1, (36, 40), 5),
        (NATURE, 3, (51, 61), 5),  # strides leave rows and columns over; odd tiles
        (NATURE, 4, (110, 160), 2),
        (NIPS, 4, (84, 84), 9),
        (NIPS, 2, (47, 53), 3),
    ],
)
def test_features_and_gradients_are_torchs(
    convolutions: Sequence[Convolution],
    history: int,
    shape: tuple[int, int],
    number: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In float64, by autograd; and however many threads there are, to the bit the same."""
    exact = [p.requires_grad_() for p in make_parameters(convolutions, history)]
    states = make_states(number, history, shape)
    layer = states.double() / 255
    for index, (_, _, stride) in enumerate(convolutions):
        layer = functional.conv2d(layer, exact[2 * index], exact[2 * index + 1], stride).relu()
    expected = layer.flatten(1)
    slopes = torch.randn(expected.shape, generator=torch.Generator().manual_seed(2))
    expected.backward(slopes.double())  # type: ignore[no-untyped-call]

    results: list[list[Tensor]] = []
    for threads in (1, 3):
        monkeypatch.setattr(Kernels, "num_threads", threads)
        kernels = make_kernels(convolutions, history, shape)
        ours = place(kernels, exact)
        features = kernels.features(states, ours)
        assert features.shape == (number, kernels.num_features)
        # Sums of up to 576 products of float32s.
        np.testing.assert_allclose(features.detach(), expected.detach(), rtol=0, atol=2e-6)
        with torch.no_grad():
            assert torch.equal(kernels.features(states, ours), features)
        features.backward(slopes)  # type: ignore[no-untyped-call]
        results.append([features])
        for our, their in zip(ours, exact, strict=True):
            assert our.grad is not None
            assert their.grad is not None
            assert our.grad.stride() == our.stride()
            # A ReLU whose input rounds to the other side of zero moves a sum a little.
            size = their.grad.abs().max().item()
            np.testing.assert_allclose(our.grad, their.grad, rtol=0, atol=3e-5 * size)
            results[-1].append(our.grad)
    assert all(map(torch.equal, *results))


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("adam", [False, True])
def test_optimizers_are_the_papers(
    threads: int, adam: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Adam: Kingma and Ba 2015, algorithm 1."""
    monkeypatch.setattr(Kernels, "num_threads", threads)
    kernels = make_kernels(NIPS, 4, (84, 84))
    rng = np.random.default_rng(5)
    arrays = [rng.normal(size=shape) for shape in [(700, 600), (7,), (16, 4, 8, 8)]]
    slopes = [[rng.normal(size=array.shape) for array in arrays] for _ in range(3)]
    parameters = [torch.nn.Parameter(torch.from_numpy(array).float()) for array in arrays]
    optimizer = make_optimizer(
        *("adam" if adam else "rmsprop", parameters),
        **{"learning_rate": 0.00025, "decay_rate": 0.95, "epsilon": 1e-6, "batch_size": 2},
        own=kernels.optimizers(),
    )
    for step in slopes:
        for parameter, slope in zip(parameters, step, strict=True):
            parameter.grad = torch.from_numpy(slope).float()
        optimizer.step()
    for index, w in enumerate(arrays):
        m = v = 0.0
        for t, step in enumerate(slopes, 1):
            if adam:
                m = 0.9 * m + 0.1 * step[index]
                v = 0.999 * v + 0.001 * step[index] ** 2
                unbiased = m / (1 - 0.9**t), v / (1 - 0.999**t)
                w = w - 0.00025 * unbiased[0] / (np.sqrt(unbiased[1]) + 2e-6)
            else:
                m = 0.95 * m + 0.05 * step[index]
                v = 0.95 * v + 0.05 * step[index] ** 2
                w = w - 0.00025 * step[index] / np.sqrt(v - m**2 + 0.01)
        np.testing.assert_allclose(parameters[index].detach(), w, rtol=0, atol=1e-6)
        averages = list(optimizer.state[parameters[index]].values())[-2:]
        for ours, average in zip(averages, (m, v), strict=True):
            np.testing.assert_allclose(ours, average, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("size", [1.0, 3000.0, 1e6])
def test_rmsprop_of_large_gradients_that_hardly_change_is_torchs(size: float) -> None:
    """n - g^2 is rounded to below 0 here and there; torch's is checked against float64."""
    kernels = make_kernels(NIPS, 4, (84, 84))
    settings = {"learning_rate": 0.00025, "decay_rate": 0.95, "min_squared_gradient": 0.01}
    weights = [torch.nn.Parameter(torch.zeros(50)) for _ in range(2)]
    optimizers = [
        GravesRMSProp([weights[0]], **settings),
        NativeRMSProp([weights[1]], kernels=kernels, **settings),
    ]
    rng = np.random.default_rng(0)
    for _ in range(400):
        dw = torch.from_numpy(size * (1 + 1e-6 * rng.normal(size=50))).float()
        for weight, optimizer in zip(weights, optimizers, strict=True):
            weight.grad = dw.clone()
            optimizer.step()
    assert torch.isfinite(weights[1]).all()
    # Where the variance is rounding alone, a step is at most 0.00025 dw / 0.1 and may be less.
    assert torch.all(weights[1].abs() <= 400 * 0.0025 * size * 1.001)
    if size == 1:
        torch.testing.assert_close(weights[1], weights[0], rtol=1e-3, atol=0)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A new folder for what is compiled."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "simple_dqn"


def test_what_was_compiled_is_used_again_until_others_can_write_it(
    cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    make_kernels(NIPS, 2, (40, 40))
    (library,) = cache.iterdir()
    assert cache.stat().st_mode & 0o777 == 0o700
    written = library.stat().st_mtime_ns
    assert make_kernels(NIPS, 2, (40, 40))._library._name == str(library)
    make_kernels(NIPS, 2, (40, 44))
    assert len(list(cache.iterdir())) == 2
    assert library.stat().st_mtime_ns == written
    assert not caplog.records
    for mode in (0o777, 0o775):
        cache.chmod(mode)
        assert make_kernels(NIPS, 2, (40, 40))._library._name != str(library)
        assert library.stat().st_mtime_ns == written
        assert f"chmod 700 {cache}" in caplog.text
        caplog.clear()


@pytest.mark.parametrize("why", ["a file", "no home"])
def test_without_a_folder_kernels_are_compiled_at_each_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, why: str
) -> None:
    """No home: as with `docker run --user 12345`, no HOME and no entry in /etc/passwd."""

    def no_home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file") if why == "a file" else "")
    monkeypatch.setattr(Path, "home", no_home)
    make_kernels(NIPS, 2, (40, 40))
    assert "set XDG_CACHE_HOME" in caplog.text


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        (None, "No such file or directory: 'cc'"),
        ("#!/bin/sh\necho no OpenMP >&2\necho 2nd line >&2\nexit 1\n", "no OpenMP"),
        ("no program", "Exec format error"),
    ],
)
def test_without_a_compiler_torch_does_the_work(
    tmp_path: Path,
    cache: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    script: str | None,
    reason: str,
) -> None:
    if script is not None:
        (tmp_path / "cc").write_text(script)
        (tmp_path / "cc").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert compile_kernels(NIPS, 2, (40, 40)) is None
    (record,) = caplog.records
    assert reason in record.getMessage()
    assert record.getMessage().endswith("install gcc")
    assert not list(cache.iterdir())


def test_c_gets_no_tensor_that_it_was_not_compiled_for() -> None:
    """Each of these would be read or written beyond its end."""
    kernels = make_kernels(NIPS, 2, (40, 40))
    states = make_states(3, 2, (40, 40))
    ours = place(kernels, make_parameters(NIPS, 2))
    features, kept = kernels.forward(states, ours, keep=True)
    for wrong in (
        make_states(3, 2, (40, 39)),
        make_states(3, 1, (40, 40)),
        states.float(),
        states.transpose(2, 3),
    ):
        with pytest.raises(ValueError, match="states"):
            kernels.forward(wrong, ours, keep=False)
    for index in range(4):
        for other in (ours[index][:-1], ours[index].double()):
            with pytest.raises(ValueError, match=f"layer {index // 2}"):
                kernels.forward(states, [*ours[:index], other, *ours[index + 1 :]], keep=False)
    with pytest.raises(ValueError, match="zip"):
        kernels.forward(states, ours[:2], keep=False)
    with pytest.raises(ValueError, match="gradients"):
        kernels.backward(features[:, 1:], ours, kept)
    with pytest.raises(ValueError, match="inputs"):
        kernels.backward(features, ours, kept[:-1])
    group = [torch.zeros(6, 5)]
    for wrong_group in ([torch.zeros(1)], [torch.zeros(5, 6)], [torch.zeros(6, 5).double()]):
        for index in range(4):
            groups = [group, group, group, group]
            groups[index] = wrong_group
            with pytest.raises(ValueError, match="parameter"):
                kernels.optimize(groups, (0.95, 0.00025, 0.01), adam=False)
