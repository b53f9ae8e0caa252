"""A person's steps: kept, read again, and given to the replay memory."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import HEADER, make_memory
from hypothesis import given, settings
from hypothesis import strategies as st

from simple_dqn.checkpoints.snapshot import write_snapshot
from simple_dqn.environments.roms import Game
from simple_dqn.errors import UserError
from simple_dqn.memory.experience import (
    Experience,
    Recorder,
    Step,
    experience_settings,
    fill_memory,
    read_experience,
    write_experience,
)
from simple_dqn.options.settings import Settings

SHAPE, DTYPE = (3, 2), np.dtype(np.uint8)
SETTINGS = {"game": "pong", "frame_skip": 4, "actions": "NOOP FIRE UP RIGHT LEFT"}
MOST = 100  # steps


def make_step(
    number: int, *, first: bool = False, terminal: bool = False, by_person: bool = True
) -> Step:
    screen = np.full(SHAPE, number, np.uint8)
    return Step(first, screen, number % 5, number / 2, terminal, by_person)


def make_experience(length: int, cuts: tuple[int, ...] = ()) -> Experience:
    recorder = Recorder()
    for number in range(length):
        recorder.add(make_step(number, first=number - 1 in cuts))
    return recorder.experience()


def test_only_the_persons_steps_are_kept_and_parted() -> None:
    recorder = Recorder()
    recorder.add(make_step(0, first=True, by_person=False))
    for number, by_person in enumerate([True, True, False, False, True], 1):
        recorder.add(make_step(number, by_person=by_person, terminal=number == 2))
    recorder.add(make_step(6, first=True))
    recorder.add(make_step(7))
    experience = recorder.experience()
    assert len(recorder) == 5
    assert experience.screens[:, 0, 0].tolist() == [1, 2, 5, 6, 7]
    assert experience.actions.tolist() == [1, 2, 0, 1, 2]
    assert experience.rewards.tolist() == [0.5, 1, 2.5, 3, 3.5]
    assert experience.terminals.tolist() == [False, True, False, False, False]
    assert experience.cuts.tolist() == [False, True, True, False, True]


@given(data=st.data(), length=st.integers(1, 60))
@settings(max_examples=30)
def test_what_is_written_is_read(
    data: st.DataObject, length: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    cuts = tuple(data.draw(st.lists(st.integers(0, length))))
    experience = make_experience(length, cuts)
    path = tmp_path_factory.mktemp("experience") / "played.safetensors"
    write_experience(path, experience, SETTINGS)
    for read, written in zip(
        read_experience(path, SETTINGS, SHAPE, DTYPE, MOST), experience, strict=True
    ):
        np.testing.assert_array_equal(read, written)
        assert read.dtype == written.dtype


def test_other_files_are_refused(tmp_path: Path) -> None:
    good = tmp_path / "good.safetensors"
    write_experience(good, make_experience(3), SETTINGS)
    with pytest.raises(UserError, match="played with frame_skip = 4, this run has 3"):
        read_experience(good, {**SETTINGS, "frame_skip": 3}, SHAPE, DTYPE, MOST)
    bad = tmp_path / "bad.safetensors"
    for content in (good.read_bytes()[:-3], good.read_bytes()[:-1] + b"x", b"", b"text"):
        bad.write_bytes(content)
        with pytest.raises(UserError, match="is damaged"):
            read_experience(bad, SETTINGS, SHAPE, DTYPE, MOST)
    write_snapshot(bad, HEADER, {})
    with pytest.raises(UserError, match="is not a recording of"):
        read_experience(bad, SETTINGS, SHAPE, DTYPE, MOST)
    with pytest.raises(UserError, match="No such file"):
        read_experience(tmp_path / "missing.safetensors", SETTINGS, SHAPE, DTYPE, MOST)


def test_every_value_is_checked(tmp_path: Path) -> None:
    """Numbers, shapes and types must be those of this run's game; it has no action 5."""
    path = tmp_path / "played.safetensors"
    good = make_experience(10)
    bad: list[dict[str, Any]] = [
        {"actions": good.actions + np.uint8(1)},
        {"actions": good.actions.astype(np.int64)},
        {"actions": good.actions[1:]},
        {"rewards": np.full(10, np.nan, np.float32)},
        {"rewards": good.rewards.astype(np.float64)},
        {"terminals": good.terminals.astype(np.uint8)},
        {"cuts": good.cuts[:, None]},
        {"screens": good.screens[..., :1]},
        {"screens": good.screens.astype(np.float32)},
        {field: array[:0][()] for field, array in good._asdict().items() if field != "screens"},
    ]
    for changes in bad:
        write_experience(path, good._replace(**changes), SETTINGS)
        with pytest.raises(UserError, match="holds steps that the game"):
            read_experience(path, SETTINGS, SHAPE, DTYPE, MOST)
    write_experience(path, good, SETTINGS)
    with pytest.raises(UserError, match=r"holds 10 steps, the replay memory 9; .*--replay_size"):
        read_experience(path, SETTINGS, SHAPE, DTYPE, 9)


def test_the_settings_are_what_the_meaning_of_steps_depends_on() -> None:
    game = Game("pong", Path("pong.bin"), "md5")

    def make(**changes: Any) -> dict[str, Any]:
        return experience_settings(Settings(game="pong", **changes).kept(), game, ["NOOP", "UP"])

    assert make() == make()
    for name, value in (("frame_skip", 1), ("screen_width", 42), ("color_averaging", True)):
        assert make(**{name: value}) != make()


@given(
    length=st.integers(5, 40),
    num_games=st.integers(1, 3),
    cuts=st.sets(st.integers(0, 40)),
    seed=st.integers(0, 9),
)
@settings(max_examples=40, deadline=None)
def test_the_memory_holds_what_was_played(
    length: int, num_games: int, cuts: set[int], seed: int
) -> None:
    """Every transition drawn is one of the person's; the screens have their numbers."""
    memory = make_memory(
        lane_size=60 // num_games,
        num_games=num_games,
        observation_shape=SHAPE,
        history_length=2,
        batch_size=16,
    )
    first = np.full((num_games, *SHAPE), 200, np.uint8)
    nothing = np.zeros(num_games, np.bool_)
    memory.add(first, np.zeros(num_games, np.int64), np.zeros(num_games), nothing, nothing)
    added = fill_memory(memory, make_experience(length, tuple(cuts)), num_games)
    assert added == length - length % num_games
    assert len(memory) == added + num_games
    follows = {
        number
        for number in range(added - 1)
        if number not in cuts and (number + 1) % (length // num_games)
    }
    if not memory.can_sample():
        return
    batch = memory.get_minibatch(np.random.default_rng(seed), 0)
    for index in range(16):
        number = int(batch.prestates[index, -1, 0, 0])
        assert number in follows
        assert batch.poststates[index, -1, 0, 0] == number + 1
        assert batch.actions[index] == number % 5
        assert batch.returns[index] == number / 2
        assert batch.prestates[index, 0, 0, 0] in (number - 1, 0)
