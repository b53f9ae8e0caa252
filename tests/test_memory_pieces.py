"""Pieces of a replay memory: what was written is read again, and damage is found."""

import hashlib
import json
import resource
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zstandard
from helpers import make_memory
from hypothesis import given, settings
from hypothesis import strategies as st

from simple_dqn.checkpoints import memory_pieces
from simple_dqn.checkpoints.memory_pieces import forget, restore_memory, save_memory, write_piece
from simple_dqn.errors import UserError
from simple_dqn.options.schema import Piece
from simple_dqn.replay_memory import ReplayMemory


def fill(memory: ReplayMemory, rng: np.random.Generator, steps: int) -> None:
    games, shape = memory.num_games, memory.observation_shape
    for _ in range(steps):
        observations = rng.integers(0, 200, (games, *shape)).astype(memory.observation_dtype)
        ends = rng.random((2, games)) < 0.2
        rewards = rng.normal(size=games).astype(np.float32)
        memory.add(observations, rng.integers(0, 18, games), rewards, ends[0], ends[1])


def assert_same(left: ReplayMemory, right: ReplayMemory) -> None:
    """All that is held, and what is drawn next."""
    assert (left.total, left.count, len(left)) == (right.total, right.count, len(right))
    assert left.can_sample() == right.can_sample()
    oldest = left.total - left.count
    for game in range(left.num_games):
        positions = np.arange(oldest, left.total) % left.lane_size
        ours, theirs = (m.observations.get(game, positions) for m in (left, right))
        np.testing.assert_array_equal(ours, theirs)
        for name in ("actions", "rewards", "endings"):
            a, b = (getattr(memory, name)[game, positions] for memory in (left, right))
            np.testing.assert_array_equal(a, b)
    if left.can_sample():
        draws = (m.get_minibatch(np.random.default_rng(3), 0) for m in (left, right))
        for a, b in zip(*draws, strict=True):
            np.testing.assert_array_equal(a, b)


@settings(max_examples=40, deadline=None)
@given(
    epochs=st.lists(st.integers(0, 30), min_size=1, max_size=6),
    num_games=st.integers(1, 3),
    prioritized=st.booleans(),
    dtype=st.sampled_from([np.uint8, np.float32]),
    block=st.sampled_from([1, 50, 10**6]),
)
def test_a_memory_is_put_together_from_its_pieces(
    tmp_path_factory: pytest.TempPathFactory,
    epochs: list[int],
    num_games: int,
    prioritized: bool,
    dtype: Any,
    block: int,
) -> None:
    """Through wraps, empty epochs and pieces partly overwritten; needless pieces are gone."""
    folder = tmp_path_factory.mktemp("pieces")
    rng = np.random.default_rng(1)
    options: dict[str, Any] = {
        "lane_size": 25,
        "num_games": num_games,
        "observation_shape": (2, 3),
        "observation_dtype": dtype,
        "prioritized": prioritized,
        "batch_size": 8,
    }
    memory, again = make_memory(**options), make_memory(**options)
    pieces: list[Piece] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(memory_pieces, "_BLOCK_BYTES", block)
        for epoch, steps in enumerate(epochs):
            fill(memory, rng, steps)
            memory.cut()
            pieces = save_memory(folder / "pong", epoch, memory, pieces)
        restored = restore_memory(folder, memory.total, pieces, again)
    again.set_priorities(memory.priorities())
    assert restored == pieces
    assert bool(pieces) == bool(memory.total)
    assert_same(memory, again)


def restore(path: Path, memory: ReplayMemory, piece: Piece, num_actions: int = 256) -> None:
    try:
        restore_memory(path.parent, piece.stop, [piece], memory, num_actions)
    finally:
        forget(memory)


def test_damage_and_other_games_are_found(tmp_path: Path) -> None:
    memory, again = make_memory(lane_size=20), make_memory(lane_size=20)
    fill(memory, np.random.default_rng(0), 15)
    path = tmp_path / "pong_1.memory"
    piece = write_piece(path, memory, 0)
    assert (piece.start, piece.stop) == (0, 15)
    content = path.read_bytes()
    for damaged in (content[:-1], content[:40] + b"x" + content[41:], b"", content + b"x"):
        path.write_bytes(damaged)
        with pytest.raises(UserError, match=r"pong_1\.memory is damaged"):
            restore(path, again, piece)
    path.write_bytes(content)
    with pytest.raises(UserError, match="of other games"):
        restore(path, make_memory(lane_size=20, num_games=2), piece)
    path.unlink()
    with pytest.raises(UserError, match="cannot be read"):
        restore(path, again, piece)


def test_a_piece_that_cannot_be_written_is_caught_up_with(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The next epoch's piece holds both epochs."""
    memory = make_memory(lane_size=40)
    pieces: list[Piece] = []
    (tmp_path / "pong_1.memory").mkdir()  # nothing can be renamed to it
    for epoch in range(3):
        fill(memory, np.random.default_rng(epoch), 5)
        pieces = save_memory(tmp_path / "pong", epoch, memory, pieces)
    assert "the replay memory is saved at the next epoch's end" in caplog.text
    assert [(piece.start, piece.stop) for piece in pieces] == [(0, 5), (5, 15)]


def write_crafted(path: Path, memory: ReplayMemory, stop: int, content: bytes) -> Piece:
    """Write a piece whose stream holds anything, with a right checksum."""
    line = json.dumps(memory_pieces._facts(memory, 0, stop)).encode() + b"\n"
    path.write_bytes(line + content)
    return Piece(path.name, hashlib.sha256(path.read_bytes()).hexdigest(), 0, stop)


def test_steps_that_no_game_has_are_refused(tmp_path: Path) -> None:
    """Observations of 3 bytes, 10 actions, rewards and endings."""
    memory = make_memory(lane_size=20)
    memory.total = 10
    path = tmp_path / "pong_1.memory"
    actions, rewards, endings = np.full(10, 5, "u1"), np.zeros(10, "f4"), np.full(10, 2, "u1")

    def read(actions: Any, rewards: Any, endings: Any) -> None:
        content = bytes(30) + b"".join(part.tobytes() for part in (actions, rewards, endings))
        piece = write_crafted(path, memory, 10, zstandard.ZstdCompressor().compress(content))
        restore(path, memory, piece, num_actions=6)

    read(actions, rewards, endings)
    one = np.arange(10) == 9
    crafted: list[Any] = [
        (actions + one, rewards, endings),
        *[(actions, rewards + np.where(one, x, 0), endings) for x in (np.nan, np.inf)],
        (actions, rewards, endings + one),
    ]
    for steps in crafted:
        of_types = (part.astype(t) for part, t in zip(steps, ("u1", "f4", "u1"), strict=True))
        with pytest.raises(UserError, match=r"pong_1\.memory holds steps that no game has"):
            read(*of_types)


def test_a_crafted_stream_takes_no_memory(tmp_path: Path) -> None:
    """A stream of 2 GB in some kB is read as far as there are steps; a window of 64 MB, not."""
    memory = make_memory(lane_size=20)
    memory.total = 10
    path = tmp_path / "pong_1.memory"
    compressor = zstandard.ZstdCompressor().compressobj()
    bomb = b"".join(compressor.compress(bytes(2**20)) for _ in range(2000)) + compressor.flush()
    parameters = zstandard.ZstdCompressionParameters.from_level(1, window_log=26)
    wide = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    window = wide.compress(bytes(90)) + wide.flush()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    restore(path, memory, write_crafted(path, memory, 10, bomb))
    with pytest.raises(UserError, match="too much memory"):
        restore(path, memory, write_crafted(path, memory, 10, window))
    long = json.dumps({"x": "y" * 10**6}).encode()
    path.write_bytes(long)
    piece = Piece(path.name, hashlib.sha256(long).hexdigest(), 0, 10)
    with pytest.raises(UserError, match="is not a piece"):
        restore(path, memory, piece)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000  # kB


def test_priorities_of_other_steps_are_refused() -> None:
    memory = make_memory(lane_size=30, num_games=2, prioritized=True, batch_size=8, n_step=2)
    for steps in (3, 20, 20):  # hardly begun, in part, full
        fill(memory, np.random.default_rng(steps), steps)
        good = memory.priorities()
        memory.set_priorities(good)
        crafted: list[dict[str, Any]] = [
            {},
            {"priorities": good["priorities"]},
            {**good, "priorities": good["priorities"][1:]},
            {**good, "priorities": good["priorities"][:, None]},
            {**good, "more": np.zeros(1)},
            *[{**good, "highest_priority": np.array(x)} for x in (0.0, -1.0, np.nan, np.inf)],
            {**good, "highest_priority": np.ones(1)},
            *[{**good, "priorities": good["priorities"] + x} for x in (0.1, np.nan, -0.1, np.inf)],
        ]
        if good["priorities"].any():
            crafted.append({**good, "priorities": np.zeros(60)})
        for priorities in crafted:
            with pytest.raises(UserError, match="priorities"):
                memory.set_priorities(priorities)
        assert all(np.array_equal(memory.priorities()[name], good[name]) for name in good)


def test_pieces_with_a_gap_are_not_restored(tmp_path: Path) -> None:
    memory = make_memory(lane_size=40)
    fill(memory, np.random.default_rng(0), 12)
    piece = write_piece(tmp_path / "a", memory, 6)
    memory = make_memory(lane_size=40)
    for total in (12, 13):
        with pytest.raises(UserError, match="some of its steps were not saved"):
            restore_memory(tmp_path, total, [piece], memory)
    assert len(memory) == 0


def test_a_forgotten_memory_is_as_a_new_one() -> None:
    """Also its count of cuts, which says whether a minibatch can be drawn."""
    memory, new = (make_memory(lane_size=30, batch_size=4) for _ in range(2))
    fill(memory, np.random.default_rng(0), 30)
    forget(memory)
    for steps in range(1, 8):
        for each in (memory, new):
            fill(each, np.random.default_rng(steps), 1)
        assert memory.can_sample() == new.can_sample()
    assert_same(memory, new)
