"""The replay memory on disk: what an epoch added to the memory is one file, a piece.

A piece is a line of JSON, which says what is in the piece, and one zstandard stream. The stream
holds the games one after the other, each as blocks of steps; a block holds the observations,
oldest first, then the actions, rewards and endings. Successive screens of one game differ little,
so they shrink to a few percent of their size. A snapshot names the pieces that it needs, each with
its SHA-256.

This module is a friend of `ReplayMemory`: it reads and writes the arrays of the lanes.
"""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import numpy.typing as npt
import zstandard

from simple_dqn.environment import Observations
from simple_dqn.errors import UserError, refusing
from simple_dqn.files import atomic_file
from simple_dqn.replay_memory import CONTINUES, CUT, ReplayMemory

_FORMAT = 1
_LEVEL = 1  # of compression; higher levels gain little on screens and take several times as long
_BLOCK_BYTES = 2**20  # observations that are held at a time, besides the memory itself
_LONGEST_LINE = 10_000  # bytes of JSON
_MOST_WINDOW_BYTES = 2**23  # that the decompressor may allocate; level 1 takes a sixteenth of it


class Piece(NamedTuple):
    """A piece of a replay memory: the steps `start` to `stop` of every lane.

    Attributes:
        name: file name, in the folder of the snapshots.
        sha256: of the whole file.
        start: number of the first step, counted from the first step of the run.
        stop: number of the step after the last.
    """

    name: str
    sha256: str
    start: int
    stop: int


class Steps(NamedTuple):
    """Steps of one game in their order, each field with the steps as its first axis.

    Attributes:
        observations: (n, *observation_shape), seen before acting.
        actions: uint8 (n,).
        rewards: float32 (n,), unclipped.
        endings: uint8 (n,), CONTINUES, TERMINAL or CUT.
    """

    observations: Observations
    actions: npt.NDArray[np.uint8]
    rewards: npt.NDArray[np.float32]
    endings: npt.NDArray[np.uint8]


class _HashingFile:
    """Passes on what is written, and hashes it."""

    def __init__(self, file: BinaryIO) -> None:
        self.sha256 = hashlib.sha256()
        self._file = file

    def write(self, data: bytes) -> int:
        self.sha256.update(data)
        return self._file.write(data)


def write_piece(path: Path, memory: ReplayMemory, start: int) -> Piece:
    """Write what was added to a memory from a step on; the file appears whole or not at all.

    Args:
        path: of the piece.
        memory: replay memory to be kept.
        start: number of the first step of each lane that is not kept yet.

    Raises:
        UserError: the file cannot be written.
    """
    stop = memory.total
    start = max(start, stop - memory.lane_size)
    with atomic_file(path) as plain:
        file = _HashingFile(plain)
        file.write(json.dumps(_facts(memory, start, stop)).encode() + b"\n")
        compressor = zstandard.ZstdCompressor(level=_LEVEL)
        with compressor.stream_writer(file, closefd=False) as stream:  # type: ignore[arg-type]
            for game in range(memory.num_games):
                for first, last in _blocks(memory, start, stop):
                    for column in steps_of(memory, game, first, last):
                        stream.write(column.tobytes())
    return Piece(path.name, file.sha256.hexdigest(), start, stop)


def check_piece(path: Path, memory: ReplayMemory, piece: Piece) -> None:
    """Check that a piece is what a snapshot says of it, before anything of it is used.

    Raises:
        UserError: the file is missing, damaged, or of other games.
    """
    try:
        with path.open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != piece.sha256:
                raise UserError(f"{path} is damaged (truncated or altered)")
            file.seek(0)
            facts = _facts(memory, piece.start, piece.stop)
            with refusing(f"{path} is no piece of a replay memory"):
                theirs = json.loads(file.readline(_LONGEST_LINE))
            if theirs != facts:
                raise UserError(f"{path} is of other games or screens than this run's")
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from error


def read_piece(
    path: Path, memory: ReplayMemory, piece: Piece, forgotten: int = 0, num_actions: int = 256
) -> None:
    """Put the steps of a piece back into a memory, those that the memory still holds.

    No more is allocated than a block, whatever the file says.

    Args:
        path: of the piece, which `check_piece` found whole.
        memory: of the same games; its `total` is that of the memory that was written, less the
            steps that are forgotten.
        piece: what the snapshot says of the file.
        forgotten: steps of every lane, from the first one on, that could not be read.
        num_actions: of the game.

    Raises:
        UserError: the file cannot be read, or holds what is no step.
    """
    try:
        with path.open("rb") as file:
            file.readline(_LONGEST_LINE)
            decompressor = zstandard.ZstdDecompressor(max_window_size=_MOST_WINDOW_BYTES)
            with decompressor.stream_reader(file) as stream:
                for game in range(memory.num_games):
                    _read_lane(stream, memory, game, piece, forgotten, num_actions)
    except (OSError, zstandard.ZstdError) as error:
        raise UserError(f"{path} cannot be read: {error}") from error


def _read_lane(
    stream: Any,
    memory: ReplayMemory,
    game: int,
    piece: Piece,
    forgotten: int,
    num_actions: int,
) -> None:
    """Read what a piece holds of one game."""
    oldest = forgotten + memory.total - memory.count
    first, last = next(_blocks(memory, piece.start, piece.stop))
    length = last - first
    shape, dtype = memory.observation_shape, memory.observation_dtype
    block = Steps(
        np.empty((length, *shape), dtype),
        np.empty(length, np.uint8),
        np.empty(length, np.float32),
        np.empty(length, np.uint8),
    )
    for first, last in _blocks(memory, piece.start, piece.stop):
        steps = _part(block, slice(0, last - first))
        for column in steps:
            _read_into(stream, column)
        if not _are_steps(steps, num_actions):
            raise UserError(f"{piece.name} holds steps that no game has")
        kept = slice(max(first, oldest) - first, last - first)
        if kept.start < kept.stop:
            _restore(memory, game, first + kept.start - forgotten, _part(steps, kept))


def _part(steps: Steps, part: slice) -> Steps:
    """Return some of the steps, as views."""
    return Steps(
        steps.observations[part], steps.actions[part], steps.rewards[part], steps.endings[part]
    )


def _are_steps(steps: Steps, num_actions: int) -> bool:
    """Whether the numbers, one step at least, are such as a game gives."""
    finite = np.isfinite(steps.rewards).all() and np.isfinite(steps.observations).all()
    return bool(finite and steps.actions.max() < num_actions and steps.endings.max() <= CUT)


def steps_of(memory: ReplayMemory, game: int, start: int, stop: int) -> Steps:
    """Return a copy of one game's steps, numbered from the first step that was ever added."""
    positions = np.arange(start, stop) % memory.lane_size
    return Steps(
        memory._observations.get(game, positions),
        memory._actions[game, positions],
        memory._rewards[game, positions],
        memory._endings[game, positions],
    )


def _restore(memory: ReplayMemory, game: int, start: int, steps: Steps) -> None:
    """Put steps back into a memory whose `total` is that of the memory that was written."""
    positions = np.arange(start, start + len(steps.actions)) % memory.lane_size
    memory._num_cuts += int(np.count_nonzero(steps.endings == CUT))
    memory._num_cuts -= int(np.count_nonzero(memory._endings[game, positions] == CUT))
    before_wrap = memory.lane_size - positions[0]
    for part in (slice(0, before_wrap), slice(before_wrap, None)):
        if len(positions[part]):
            memory._observations.put(game, int(positions[part][0]), steps.observations[part])
    memory._actions[game, positions] = steps.actions
    memory._rewards[game, positions] = steps.rewards
    memory._endings[game, positions] = steps.endings


def forget(memory: ReplayMemory) -> None:
    """Let a memory forget all steps, where a piece was found damaged half-way."""
    memory.total = memory._num_cuts = 0
    memory._endings.fill(CONTINUES)


def _read_into(stream: Any, array: npt.NDArray[Any]) -> None:
    """Fill an array from a stream."""
    view = memoryview(array.reshape(-1).view(np.uint8).data)
    while view:
        number = stream.readinto(view)
        if not number:
            raise zstandard.ZstdError("the file ends too early")
        view = view[number:]


def _facts(memory: ReplayMemory, start: int, stop: int) -> dict[str, Any]:
    """What the first line of a piece says."""
    return {
        "format": _FORMAT,
        "start": start,
        "stop": stop,
        "games": memory.num_games,
        "shape": list(memory.observation_shape),
        "dtype": memory.observation_dtype.str,
    }


def _blocks(memory: ReplayMemory, start: int, stop: int) -> Iterator[tuple[int, int]]:
    """Cut steps into runs whose observations take at most _BLOCK_BYTES."""
    size = memory.observation_dtype.itemsize * int(np.prod(memory.observation_shape))
    length = max(1, _BLOCK_BYTES // size)
    for first in range(start, stop, length):
        yield first, min(first + length, stop)
