import math

import numpy as np
import pytest
import torch
from torch import nn

from simple_dqn.networks.optimizers import GravesRMSProp, make_optimizer


def test_graves_rmsprop_equals_a_scalar_twin() -> None:
    """Twenty steps on three weights, gradients from tiny to large, against plain arithmetic."""
    weight = nn.Parameter(torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64))
    optimizer = GravesRMSProp(
        [weight], learning_rate=0.01, decay_rate=0.9, min_squared_gradient=0.01
    )
    expected, g, n = [1.0, -2.0, 0.5], [0.0] * 3, [0.0] * 3
    rng = np.random.default_rng(0)
    for _ in range(20):
        gradients = (rng.normal(size=3) * [1e-6, 0.1, 50]).tolist()
        weight.grad = torch.tensor(gradients, dtype=torch.float64)
        optimizer.step()
        for i, dw in enumerate(gradients):
            g[i] = 0.9 * g[i] + 0.1 * dw
            n[i] = 0.9 * n[i] + 0.1 * dw * dw
            expected[i] -= 0.01 * dw / math.sqrt(n[i] - g[i] * g[i] + 0.01)
        assert weight.tolist() == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("size", [1.0, 100.0, 3000.0, 1e6])
def test_large_gradients_that_hardly_change_stay_finite(size: float) -> None:
    """n - g^2 goes to 0 and, rounded to float32, below; float64 has the true steps."""
    rng = np.random.default_rng(0)
    gradients = size * (1 + 1e-6 * rng.normal(size=(2000, 50)))
    weight = nn.Parameter(torch.zeros(50))
    optimizer = GravesRMSProp(
        [weight], learning_rate=0.00025, decay_rate=0.95, min_squared_gradient=0.01
    )
    g, n = np.zeros(50), np.zeros(50)
    for dw in gradients:
        before = weight.detach().clone()
        weight.grad = torch.from_numpy(dw).float()
        optimizer.step()
        g, n = 0.95 * g + 0.05 * dw, 0.95 * n + 0.05 * dw * dw
        variance = np.maximum(n - g * g, 0)
        # Rounding moves n and g^2 by some units in their last place, 2^-23 of their size.
        wrong = 100 * 2.0**-23 * size**2
        steps = (before - weight.detach()).double().numpy() / (0.00025 * dw)
        slack = 1e-5 + 2.0**-23 * np.abs(weight.detach().numpy()).max() / (0.00025 * size)
        assert np.all(steps <= 1 / np.sqrt(np.maximum(variance - wrong, 0) + 0.01) + slack)
        assert np.all(steps >= 1 / np.sqrt(variance + wrong + 0.01) - slack)


def test_adam_takes_the_summed_gradient_as_a_mean() -> None:
    """Adam forgets the gradient's scale but for its epsilon, which is for the mean."""
    steps = []
    for scale, batch_size in ((1.0, 1), (32.0, 32)):
        weight = nn.Parameter(torch.zeros(1, dtype=torch.float64))
        optimizer = make_optimizer(
            "adam",
            [weight],
            learning_rate=0.1,
            decay_rate=0.95,
            epsilon=1.5e-4,
            batch_size=batch_size,
            own={},
        )
        weight.grad = torch.tensor([1e-4 * scale], dtype=torch.float64)
        optimizer.step()
        steps.append(weight.item())
    assert steps[0] == pytest.approx(-0.1 * 1e-4 / (1e-4 + 1.5e-4))
    assert steps[1] == pytest.approx(steps[0])


@pytest.mark.parametrize(("scale", "counts"), [(1.0, 1.0), (100.0, 10.0)])
def test_radam_limits_the_norm_of_the_mean_gradient(scale: float, counts: float) -> None:
    """Twenty steps on two weights against plain arithmetic (Liu et al. 2020, algorithm 2)."""
    weights = [nn.Parameter(torch.tensor([w], dtype=torch.float64)) for w in (1.0, -2.0)]
    kwargs = {"learning_rate": 0.01, "decay_rate": 0.0, "epsilon": 1e-3, "batch_size": 8}
    optimizer = make_optimizer("radam", weights, gradient_norm=10.0, own={}, **kwargs)
    expected, m, v = [1.0, -2.0], [0.0, 0.0], [0.0, 0.0]
    largest = 2 / (1 - 0.999) - 1
    for t in range(1, 21):
        mean = [0.6 * scale, 0.8 * scale]
        for i, weight in enumerate(weights):
            weight.grad = torch.tensor([8 * mean[i]], dtype=torch.float64)  # the sum of 8
            dw = 8 * mean[i] / scale * counts
            m[i] = 0.9 * m[i] + 0.1 * dw
            v[i] = 0.999 * v[i] + 0.001 * dw * dw
            length = largest - 2 * t * 0.999**t / (1 - 0.999**t)
            step = m[i] / (1 - 0.9**t)
            if length > 5:
                ratio = (length - 4) * (length - 2) * largest
                ratio /= (largest - 4) * (largest - 2) * length
                step *= math.sqrt(ratio * (1 - 0.999**t)) / (math.sqrt(v[i]) + 8e-3)
            expected[i] -= 0.01 * step
        optimizer.step()
        assert [weight.item() for weight in weights] == pytest.approx(expected, rel=1e-6)
