"""The replay memory on disk: what an epoch added to the memory is one file, a piece.

A piece is a line of JSON, which says what is in the piece, and one zstandard stream. The stream
holds the games one after the other, each as blocks of steps; a block holds the observations,
oldest first, then the actions, rewards and endings. Successive screens of one game differ little,
so they shrink to a few percent of their size. A training state names the pieces that it needs, each
with its SHA-256.
"""

import hashlib
import json
import logging
import shutil
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import numpy.typing as npt
import zstandard

from simple_dqn.errors import UserError, refusing
from simple_dqn.files import atomic_file
from simple_dqn.replay_memory import CUT, ReplayMemory

logger = logging.getLogger(__name__)

_FORMAT = 1
_LEVEL = 1  # of compression; higher levels gain little on screens and take several times as long
_BLOCK_BYTES = 2**20  # observations that are held at a time, besides the memory itself
_LONGEST_LINE = 10_000  # bytes of JSON
_MOST_WINDOW_BYTES = 2**23  # that the decompressor may allocate; level 1 takes a sixteenth of it
_SHRINKING = 28  # screens take at most 1/28 of their size: 250 bytes for 84x84 pixels


class Piece(NamedTuple):
    """A piece of a replay memory: the steps `start` to `stop` of every lane.

    Attributes:
        name: file name, in the folder of the snapshots.
        sha256: of the complete file.
        start: number of the first step, counted from the first step of the run.
        stop: number of the step after the last.
    """

    name: str
    sha256: str
    start: int
    stop: int


class MemoryFiles:
    """Saves a replay memory piece by piece."""

    def __init__(self, prefix: Path, pieces: Iterable[Piece] = (), *, enabled: bool) -> None:
        """Begin with the pieces that are there.

        Args:
            prefix: of the run's snapshots; a piece is `<prefix>_<epoch>.memory`.
            pieces: saved before, oldest first.
            enabled: whether anything is saved.
        """
        self._enabled = enabled
        self._prefix = prefix
        self._pieces = list(pieces)

    def save(self, memory: ReplayMemory, epoch: int) -> list[Piece]:
        """Write what was added since the last piece; return the pieces that are needed now.

        Where this fails the run continues, and the next epoch's piece begins where this one would.
        """
        start = self._pieces[-1].stop if self._pieces else 0
        if self._enabled and memory.total > start:
            path = self._prefix.with_name(f"{self._prefix.name}_{epoch}.memory")
            try:
                self._pieces.append(write_piece(path, memory, start))
            except UserError as error:
                logger.warning("%s; the replay memory is saved at the next epoch's end", error)
        oldest = memory.total - memory.count
        self._pieces = [piece for piece in self._pieces if piece.stop > oldest]
        return self._pieces


def memory_header(memory: ReplayMemory, pieces: Iterable[Piece]) -> dict[str, Any]:
    """Return what a training state says of the replay memory."""
    return {"total": memory.total, "pieces": [piece._asdict() for piece in pieces]}


def restore_memory(
    folder: Path, header: Mapping[str, Any], memory: ReplayMemory, num_actions: int = 256
) -> list[Piece]:
    """Put a replay memory together from its pieces.

    Args:
        folder: of the pieces.
        header: what the training state says of the memory, see `memory_header`.
        memory: empty; it may hold fewer or more steps than the one that was saved. It stays empty
            where this fails.
        num_actions: of the game.

    Returns:
        The pieces, oldest first.

    Raises:
        UserError: a piece is missing or damaged, or holds something else.
    """
    total, pieces = int(header["total"]), [Piece(**piece) for piece in header["pieces"]]
    oldest = total - min(total, memory.lane_size)
    pieces = [piece for piece in pieces if piece.stop > oldest]
    ends = [*(piece.start for piece in pieces), total]
    if ends[0] > oldest or [piece.stop for piece in pieces] != ends[1:]:
        raise UserError("some of its steps were not saved")
    for piece in pieces:
        _check_piece(folder / piece.name, memory, piece)
    memory.total = total
    try:
        for piece in pieces:
            _read_piece(folder / piece.name, memory, piece, num_actions)
    except UserError:
        forget(memory)
        raise
    memory.count_cuts()
    return pieces


def forget(memory: ReplayMemory) -> None:
    """Let a memory forget all steps, where only a part of it could be restored."""
    memory.total = 0
    memory.endings.fill(0)
    memory.count_cuts()


def write_piece(path: Path, memory: ReplayMemory, start: int) -> Piece:
    """Write what was added to a memory from a step on; the file appears complete or not at all.

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
                    positions = np.arange(first, last) % memory.lane_size
                    stream.write(memory.observations.get(game, positions).tobytes())
                    for column in (memory.actions, memory.rewards, memory.endings):
                        stream.write(column[game, positions].tobytes())
    return Piece(path.name, file.sha256.hexdigest(), start, stop)


class _HashingFile:
    """Passes on what is written, and hashes it."""

    def __init__(self, file: BinaryIO) -> None:
        self.sha256 = hashlib.sha256()
        self._file = file

    def write(self, data: bytes) -> int:
        self.sha256.update(data)
        return self._file.write(data)


def _check_piece(path: Path, memory: ReplayMemory, piece: Piece) -> None:
    """Check that a piece is what a training state says of it, before anything of it is used.

    Raises:
        UserError: the file is missing, damaged, or of other games.
    """
    try:
        with path.open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != piece.sha256:
                raise UserError(f"{path} is damaged (truncated or altered)")
            file.seek(0)
            with refusing(f"{path} is not a piece of a replay memory"):
                theirs = json.loads(file.readline(_LONGEST_LINE))
            if theirs != _facts(memory, piece.start, piece.stop):
                raise UserError(f"{path} is of other games or screens than this run's")
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from error


def _read_piece(path: Path, memory: ReplayMemory, piece: Piece, num_actions: int) -> None:
    """Put the steps of a piece back into a memory, those that the memory still holds.

    No more is allocated than a block, whatever the file says.

    Raises:
        UserError: the file cannot be read, or holds what is not a step.
    """
    oldest = memory.total - memory.count
    shape, dtype = memory.observation_shape, memory.observation_dtype
    try:
        with path.open("rb") as file:
            file.readline(_LONGEST_LINE)
            decompressor = zstandard.ZstdDecompressor(max_window_size=_MOST_WINDOW_BYTES)
            with decompressor.stream_reader(file) as stream:
                for game in range(memory.num_games):
                    for first, last in _blocks(memory, piece.start, piece.stop):
                        number = last - first
                        observations = _read(stream, (number, *shape), dtype)
                        actions = _read(stream, (number,), np.uint8)
                        rewards = _read(stream, (number,), np.float32)
                        endings = _read(stream, (number,), np.uint8)
                        finite = np.isfinite(rewards).all() and np.isfinite(observations).all()
                        if not finite or actions.max() >= num_actions or endings.max() > CUT:
                            raise UserError(f"{piece.name} holds steps that no game has")
                        start = max(first, oldest)
                        positions = np.arange(start, last) % memory.lane_size
                        kept = slice(start - first, None)
                        _put(memory, game, positions, observations[kept])
                        memory.actions[game, positions] = actions[kept]
                        memory.rewards[game, positions] = rewards[kept]
                        memory.endings[game, positions] = endings[kept]
    except (OSError, zstandard.ZstdError) as error:
        raise UserError(f"{path} cannot be read: {error}") from error


def _put(
    memory: ReplayMemory,
    game: int,
    positions: npt.NDArray[np.int64],
    observations: npt.NDArray[Any],
) -> None:
    """Put observations of one game back at positions that may wrap around the lane's end."""
    before_wrap = int(np.argmax(positions == 0)) if 0 in positions else len(positions)
    for part in (slice(0, before_wrap), slice(before_wrap, None)):
        if len(positions[part]):
            memory.observations.put(game, int(positions[part][0]), observations[part])


def _read(stream: Any, shape: tuple[int, ...], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    """Read an array from a stream."""
    array = np.empty(shape, dtype)
    view = memoryview(array.reshape(-1).view(np.uint8).data)
    while view:
        number = stream.readinto(view)
        if not number:
            raise zstandard.ZstdError("the file ends too early")
        view = view[number:]
    return array


def _facts(memory: ReplayMemory, start: int, stop: int) -> dict[str, Any]:
    """Return what the first line of a piece says."""
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


def check_space(prefix: Path, memory: ReplayMemory, steps: int) -> None:
    """Check that the pieces of a replay memory fit on the disk.

    Args:
        prefix: of the run's snapshots.
        memory: that is kept.
        steps: that it will hold at most, of all games together.

    Raises:
        UserError: they may not fit.
    """
    pictures = memory.observation_dtype == np.uint8
    per_step = memory.nbytes // (memory.num_games * memory.lane_size) - 6
    needed = steps * (per_step // (_SHRINKING if pictures else 1) + 6)
    pieces = prefix.parent.glob(f"{prefix.name}_*.memory")
    free = shutil.disk_usage(prefix.parent).free + sum(piece.stat().st_size for piece in pieces)
    if needed > free:
        raise UserError(
            f"the replay memory may take {needed / 1e9:.2f} GB in {prefix.parent}, where "
            f"{free / 1e9:.2f} GB are free; make room, choose another place with "
            "--save_weights_prefix, or give --save_memory false"
        )
