"""Screens kept by torch are read like those kept by NumPy."""

from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from simple_dqn.memory.device_screens import DeviceScreens
from simple_dqn.replay_memory import Minibatch, ReplayMemory

gpu = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")]


def to_numpy(states: Any) -> npt.NDArray[np.uint8]:
    assert isinstance(states, torch.Tensor)
    assert states.dtype == torch.uint8
    array: npt.NDArray[np.uint8] = states.cpu().numpy()
    return array


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda:0", marks=gpu)])
@given(seed=st.integers(0, 2**32), num_games=st.integers(1, 5), steps=st.integers(10, 60))
@settings(max_examples=30, deadline=None)
def test_minibatches_are_the_same(device: str, seed: int, num_games: int, steps: int) -> None:
    rng = np.random.default_rng(seed)
    make = partial(
        ReplayMemory,
        size=20 * num_games,
        num_games=num_games,
        history_length=3,
        screen_shape=(5, 6),
        batch_size=7,
    )
    memories = [make(), make(store=partial(DeviceScreens, device))]
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
    ours, theirs = (m.get_minibatches(np.random.default_rng(seed), 4) for m in memories)
    kept = [Minibatch(*(field.copy() for field in minibatch[:5])) for minibatch in ours]
    # A tensor that was handed out does not change with the next draw.
    memories[1].get_minibatches(np.random.default_rng(seed + 1), 4)
    for our, their in zip(kept, theirs, strict=True):
        np.testing.assert_array_equal(our.prestates, to_numpy(their.prestates))
        np.testing.assert_array_equal(our.poststates, to_numpy(their.poststates))
        for index in (1, 2, 4):
            np.testing.assert_array_equal(our[index], their[index])
    assert memories[0].nbytes == memories[1].nbytes
