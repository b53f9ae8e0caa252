"""The kernels in bfloat16 against torch in float64, rounded likewise; and their option."""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers import make_network
from test_deep_q_network import gpu, make_batch, weights_of
from test_learning import run
from test_main import refused
from test_native import NATURE, NIPS, make_parameters, make_states, place
from torch import Tensor
from torch.nn import functional

from simple_dqn.checkpoints.snapshot import read_snapshot
from simple_dqn.errors import UserError
from simple_dqn.main import main
from simple_dqn.networks import bfloat16
from simple_dqn.networks.bfloat16 import BFloat16Kernels, in_bfloat16
from simple_dqn.networks.layers import Convolution
from simple_dqn.networks.native import HiddenLayer, Kernels, processor

needs_amx = pytest.mark.skipif(
    "amx_bf16" not in processor() or not shutil.which("cc"), reason="needs AMX and a C compiler"
)
TINY = [
    *("--arithmetic", "bfloat16", "--network", "nips", "--dueling", "true"),
    *("--screen_width", "36", "--screen_height", "36", "--replay_size", "300"),
    *("--random_steps", "100", "--train_steps", "40", "--test_steps", "20", "--batch_size", "5"),
]


def rounded(numbers: Tensor) -> Tensor:
    """Of float64; the gradient passes."""
    return numbers + (numbers.float().bfloat16().double() - numbers).detach()


def with_rounded_gradient(numbers: Tensor) -> Tensor:
    numbers.register_hook(lambda slopes: slopes.float().bfloat16().double())
    return numbers


def assert_near(ours: Tensor | None, exact: Tensor | None, tolerance: float = 1e-3) -> None:
    """A sum may round to the other side, 2^-8 away, here and there."""
    assert ours is not None
    assert exact is not None
    assert (ours - exact).norm() < tolerance * exact.norm()


@needs_amx
@pytest.mark.parametrize(
    ("convolutions", "shape", "number"),
    [
        (NATURE, (84, 84), 32),
        (NATURE, (51, 61), 5),  # strides leave rows and columns over
        (NIPS, (84, 84), 7),
        (NIPS, (47, 53), 3),
    ],
)
def test_convolutions_are_torchs(
    convolutions: Sequence[Convolution],
    shape: tuple[int, int],
    number: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """And however many threads there are, to the bit the same."""
    exact = [p.float().double().requires_grad_() for p in make_parameters(convolutions, 4)]
    states = make_states(number, 4, shape)
    layer = states.double()
    for weight, bias, (_, _, stride) in zip(exact[::2], exact[1::2], convolutions, strict=True):
        scale = 1 / 255 if weight is exact[0] else 1
        sums = functional.conv2d(layer, rounded(weight * scale), None, stride)
        layer = rounded((with_rounded_gradient(sums) + bias[:, None, None]).relu())
    expected = layer.flatten(1)
    slopes = torch.randn(expected.shape, generator=torch.Generator().manual_seed(2))
    expected.backward(slopes.double())  # type: ignore[no-untyped-call]
    results: list[list[Tensor]] = []
    for threads in (1, 3):
        monkeypatch.setattr(Kernels, "num_threads", threads)
        kernels = BFloat16Kernels(convolutions, 4, shape)
        ours = place(kernels, exact)
        features = kernels.features(states, ours)
        assert_near(features, expected)
        with torch.no_grad():
            assert torch.equal(kernels.features(states, ours), features)
        features.backward(slopes)  # type: ignore[no-untyped-call]
        results.append([features])
        for our, their in zip(ours, exact, strict=True):
            # One ReLU whose input rounds to the other side of zero may change a state's gradient.
            assert_near(our.grad, their.grad, 0.02 / number**0.5)
            assert our.grad is not None
            assert our.grad.stride() == our.stride()
            results[-1].append(our.grad)
    assert all(map(torch.equal, *results))


@needs_amx
@pytest.mark.parametrize(("inputs", "outputs", "number"), [(2592, 256, 32), (64, 512, 45)])
def test_hidden_layers_are_torchs(
    inputs: int, outputs: int, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    generator = torch.Generator().manual_seed(5)
    rows, slopes = (torch.randn(number, size, generator=generator) for size in (inputs, outputs))
    layer = BFloat16Kernels(NIPS, 4, (84, 84)).hidden_layer(inputs, outputs)
    ours, exact = rows.clone().requires_grad_(), rows.double().requires_grad_()
    found = layer(ours)
    weight, bias = (p.detach().double().requires_grad_() for p in layer.parameters())
    expected = with_rounded_gradient(rounded(exact) @ rounded(weight).t()) + bias
    found.backward(slopes)
    expected.backward(slopes.double())  # type: ignore[no-untyped-call]
    gradients = ours.grad, layer.weight.grad, layer.bias.grad
    assert exact.grad is not None
    theirs = expected, exact.grad, weight.grad, bias.grad
    for our, their in zip((found, *gradients), theirs, strict=True):
        assert_near(our, their)
    monkeypatch.setattr(Kernels, "num_threads", 3)
    assert torch.equal(layer(ours), found)
    assert all(map(torch.equal, layer.gradients(slopes, rows), gradients))
    with torch.inference_mode():
        assert torch.equal(layer(rows), HiddenLayer.forward(layer, rows))


@pytest.mark.parametrize(
    "device", [pytest.param("cpu", marks=needs_amx), pytest.param("cuda:0", marks=gpu)]
)
def test_gradient_steps_are_rounded_and_acting_in_training(device: str) -> None:
    settings: dict[str, Any] = {"device": device, "native_kernels": True, "double_q": True}
    low, single = (make_network(arithmetic=a, **settings) for a in ("bfloat16", "float32"))
    states = make_batch(0).learned().prestates
    assert np.array_equal(low.predict(states), single.predict(states))
    for step in range(30):
        for network in (low, single):
            network.train(make_batch(step).learned())
    acted, exact = in_bfloat16(low.predict)(states), low.predict(states)
    assert not np.array_equal(acted, exact)
    assert acted == pytest.approx(exact, rel=0.02, abs=0.002)
    assert low.mean_cost() == pytest.approx(single.mean_cost(), rel=0.02)
    assert not all(map(np.array_equal, weights_of(low), weights_of(single)))


@needs_amx
def test_catch_is_learned() -> None:
    settings = {"optimizer": "adam", "learning_rate": 0.001, "train_steps": 2500}
    rows = run(arithmetic="bfloat16", history_length=4, **settings).rows
    assert float(rows[-1]["average_reward"]) > 0.9


@pytest.mark.parametrize("able", [pytest.param(True, marks=needs_amx), False])
def test_auto_is_bfloat16_where_a_cpu_can(
    able: bool, root: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    if not able:
        monkeypatch.setattr(bfloat16, "processor", str)
    words = ["--arithmetic", "auto", "--random_seed", "1", "--epochs", "1"]
    assert main(["train", "pong", *TINY, *words]) == 0
    used = "bfloat16" if able else "float32"
    assert f"--arithmetic auto: {used}" in capsys.readouterr().err
    header = read_snapshot(root / "snapshots" / "pong_1.safetensors").header
    assert header["options"]["arithmetic"] == "auto"
    assert (header["versions"]["kernels"] == "native-amx") == able


@needs_amx
def test_a_run_keeps_its_arithmetic_and_can_be_repeated(
    root: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["train", "pong", *TINY, "--random_seed", "1", "--epochs", "2"]) == 0
    assert "network on cpu with 1 thread(s), bfloat16" in capsys.readouterr().err
    assert main(["train", "pong", "again", *TINY, "--random_seed", "1", "--epochs", "1"]) == 0
    first = root / "snapshots" / "pong_again_1.safetensors"
    assert main(["resume", str(first), "--epochs", "2"]) == 0
    one, other = (
        read_snapshot(root / "snapshots" / f"{name}_2.safetensors")
        for name in ("pong", "pong_again")
    )
    assert other.header["options"]["arithmetic"] == "bfloat16"
    assert all(np.array_equal(one.arrays[key], other.arrays[key]) for key in one.arrays)
    monkeypatch.setattr(bfloat16, "processor", str)  # playing needs no bfloat16
    assert main(["test", str(first), "--test_steps", "20"]) == 0


@pytest.mark.parametrize("changes", [{"batch_norm": True}, {"network": "mlp"}], ids=str)
def test_what_has_no_bfloat16_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="needs a network with convolutions"):
        make_network(**{"native_kernels": True, "arithmetic": "bfloat16"} | changes)


def test_a_machine_without_bfloat16_is_refused(
    root: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ["train", "pong", *TINY]
    assert "needs --history_length 4" in refused(capsys, 1, *command, "--history_length", "3")
    monkeypatch.setattr(bfloat16, "processor", lambda: "flags: amx_bf16")
    monkeypatch.setenv("PATH", str(root))
    monkeypatch.setenv("XDG_CACHE_HOME", str(root))
    assert "gcc 11 or later ([Errno 2]" in refused(capsys, 1, *command)
    monkeypatch.setattr(bfloat16, "processor", str)
    assert "this CPU has no AMX" in refused(capsys, 1, *command)
