"""StateBuffer: what the agent acts on must be what it later learns from."""

import numpy as np
import numpy.typing as npt
import pytest
from helpers import make_memory
from hypothesis import given, settings
from hypothesis import strategies as st

from simple_dqn.state_buffer import StateBuffer

SCREEN_SHAPE = (1, 3)

# (terminal, game over): the game continues, a lost life, a game's end, a time limit.
ENDS = {"on": (False, False), "life": (True, False), "end": (True, True), "limit": (False, True)}


def make_buffer(num_games: int = 1, history_length: int = 3) -> StateBuffer:
    return StateBuffer(
        num_games=num_games,
        history_length=history_length,
        observation_shape=SCREEN_SHAPE,
        observation_dtype=np.uint8,
    )


def paint(*values: int) -> npt.NDArray[np.uint8]:
    """One screen for each game, all its pixels of one value."""
    return np.array([np.full(SCREEN_SHAPE, value) for value in values], np.uint8)


def values_of(buffer: StateBuffer) -> list[list[int]]:
    """The values of each game's screens, oldest first."""
    assert (buffer.states.min(axis=(2, 3)) == buffer.states.max(axis=(2, 3))).all()
    return buffer.states[:, :, 0, 0].tolist()


def test_screens_shift_towards_the_oldest() -> None:
    buffer = make_buffer(num_games=2)
    assert buffer.states.shape == (2, 3, *SCREEN_SHAPE)
    assert buffer.states.dtype == np.uint8
    screens = paint(0, 0)
    for value in range(5):
        assert values_of(buffer) == [[max(0, f * (value - i)) for i in (2, 1, 0)] for f in (1, 10)]
        screens[:] = paint(value + 1, 10 * (value + 1))
        buffer.add(screens, np.array([False, False]))
        screens.fill(99)  # screens are copied


def test_a_start_blanks_the_history_of_its_game_alone() -> None:
    buffer = make_buffer(num_games=3)
    for value in (1, 2, 3):
        buffer.add(paint(value, 10 * value, 20 * value), np.array([False] * 3))
    buffer.add(paint(4, 40, 80), np.array([False, True, False]))
    assert values_of(buffer) == [[2, 3, 4], [0, 0, 40], [40, 60, 80]]
    buffer.add(paint(5, 50, 100), np.array([True, True, False]))
    assert values_of(buffer) == [[0, 0, 5], [0, 0, 50], [60, 80, 100]]
    buffer.add(paint(6, 60, 120), np.array([False] * 3))
    assert values_of(buffer) == [[0, 5, 6], [0, 50, 60], [80, 100, 120]]
    buffer.add(paint(7, 70, 140))  # without starts all games begin
    assert values_of(buffer) == [[0, 0, 7], [0, 0, 70], [0, 0, 140]]


@pytest.mark.parametrize("history_length", [1, 2, 4])
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_acting_state_is_the_sampled_state(history_length: int, data: st.DataObject) -> None:
    """Both are fed as the agent feeds them, through ends, lost lives, phases and wraps."""
    num_games = data.draw(st.integers(1, 3), "games")
    kind = st.sampled_from(["on", "on", "on", "on", "life", "end", "limit", "phase"])
    steps = data.draw(
        st.lists(st.lists(kind, min_size=num_games, max_size=num_games), min_size=6, max_size=40)
    )
    buffer = make_buffer(num_games, history_length)
    memory = make_memory(
        lane_size=data.draw(st.integers(history_length + 1, 20), "lane"),
        num_games=num_games,
        observation_shape=SCREEN_SHAPE,
        history_length=history_length,
    )

    def screens_at(number: int) -> npt.NDArray[np.uint8]:
        return np.array([[(game + 1, number, 255 - number)] for game in range(num_games)], np.uint8)

    acting: list[npt.NDArray[np.uint8]] = []  # by step, (num_games, history, height, width)
    for number, kinds in enumerate(steps):
        if number == 0 or "phase" in kinds:  # a phase begins; for all games at once
            memory.cut()
            buffer.add(screens_at(number))
        acting.append(buffer.states.copy())
        kinds = ["on" if kind == "phase" else kind for kind in kinds]
        terminals = np.array([ENDS[kind][0] for kind in kinds])
        game_overs = np.array([ENDS[kind][1] for kind in kinds])
        zeros = np.zeros(num_games, np.float32)
        memory.add(buffer.states[:, -1], zeros.astype(np.int64), zeros, terminals, game_overs)
        buffer.add(screens_at(number + 1), terminals | game_overs)

    if not memory.can_sample():
        return
    rng = np.random.default_rng(0)
    for _ in range(5):
        minibatch = memory.get_minibatch(rng, 0)
        for prestate, poststate, discount in zip(
            minibatch.prestates, minibatch.poststates, minibatch.discounts, strict=True
        ):
            game, number, _ = prestate[-1, 0].tolist()
            np.testing.assert_array_equal(prestate, acting[number][game - 1])
            if discount:
                np.testing.assert_array_equal(poststate, acting[number + 1][game - 1])
