"""Observations kept by torch are read like those kept by NumPy."""

from functools import partial

import numpy as np
import pytest
import torch
from helpers import make_memory
from hypothesis import given, settings
from hypothesis import strategies as st

from simple_dqn.memory.device_observations import ObservationsOnDevice
from simple_dqn.replay_memory import Minibatch

gpu = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")]


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda:0", marks=gpu)])
@given(seed=st.integers(0, 2**32), num_games=st.integers(1, 5), steps=st.integers(10, 60))
@settings(max_examples=30, deadline=None)
def test_minibatches_are_the_same(device: str, seed: int, num_games: int, steps: int) -> None:
    rng = np.random.default_rng(seed)
    shape, dtype = (5, 6), np.dtype(np.uint8)
    store = ObservationsOnDevice(device, num_games, 20, shape, dtype)
    make = partial(make_memory, lane_size=20, num_games=num_games, history_length=3, batch_size=16)
    memories = [make(observation_shape=shape), make(store=store)]
    for _ in range(steps):
        step = (
            rng.integers(0, 256, (num_games, 5, 6), np.uint8),
            rng.integers(0, 18, num_games),
            rng.normal(size=num_games).astype(np.float32),
            rng.random(num_games) < 0.2,
            rng.random(num_games) < 0.1,
        )
        for memory in memories:
            memory.add(*step)
    if not memories[0].can_sample():
        return
    ours, theirs = (m.get_minibatch(np.random.default_rng(seed), 0) for m in memories)
    kept = Minibatch(*(field.copy() for field in ours))
    # A tensor that was handed out does not change with the next draw.
    memories[1].get_minibatch(np.random.default_rng(seed + 1), 0)
    for name, expected in kept._asdict().items():
        field = getattr(theirs, name)
        assert isinstance(field, torch.Tensor) == name.endswith("states")
        np.testing.assert_array_equal(torch.as_tensor(field).cpu().numpy(), expected)
    assert memories[0].nbytes == memories[1].nbytes


def test_vectors_are_kept_too() -> None:
    """Blank observations are 0, whatever stood in memory before, a NaN included."""
    store = ObservationsOnDevice("cpu", 1, 8, (3,), np.dtype(np.float32))
    store._tensor.fill_(torch.nan)
    memory = make_memory(lane_size=8, history_length=2, store=store)
    for step in range(3):
        no = np.array([False])
        memory.add(
            np.full((1, 3), step, np.float32), np.array([0]), np.zeros(1, np.float32), no, no
        )
    minibatch = memory.get_minibatch(np.random.default_rng(0), 0)
    seen = {tuple(state[:, 0].tolist()) for state in minibatch.prestates}
    assert seen == {(0.0, 0.0), (0.0, 1.0)}
