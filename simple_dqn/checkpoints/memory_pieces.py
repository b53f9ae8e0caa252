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
import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import zstandard

from simple_dqn.errors import UserError, refusing
from simple_dqn.files import atomic_file
from simple_dqn.options.schema import Piece
from simple_dqn.replay_memory import CUT, ReplayMemory

logger = logging.getLogger(__name__)

_FORMAT = 1
_LEVEL = 1  # of compression; higher levels gain little on screens and take several times as long
_BLOCK_BYTES = 2**20  # observations that are held at a time, besides the memory itself
_LONGEST_LINE = 10_000  # bytes of JSON
_MOST_WINDOW_BYTES = 2**23  # that the decompressor may allocate; level 1 takes a sixteenth of it


def save_memory(
    prefix: Path, epoch: int, memory: ReplayMemory, pieces: Iterable[Piece]
) -> list[Piece]:
    """Write what was added to a memory since its last piece, as `<prefix>_<epoch>.memory`.

    Where this fails the run continues, and the next epoch's piece begins where this one would. The
    pieces of which the memory consists now are returned, oldest first.
    """
    pieces = list(pieces)
    start = pieces[-1].stop if pieces else 0
    if memory.total > start:
        path = prefix.with_name(f"{prefix.name}_{epoch}.memory")
        try:
            pieces.append(write_piece(path, memory, start))
        except UserError as error:
            logger.warning("%s; the replay memory is saved at the next epoch's end", error)
    oldest = memory.total - memory.count
    return [piece for piece in pieces if piece.stop > oldest]


def restore_memory(
    folder: Path, total: int, pieces: Iterable[Piece], memory: ReplayMemory, num_actions: int = 256
) -> list[Piece]:
    """Put a replay memory together from pieces in a folder; return those needed, oldest first.

    `total` steps were ever added to each lane. The memory is empty; it may hold fewer or more steps
    than the one that was saved. Where a piece is missing, damaged or something else, a `UserError`
    says so, and the memory is to be emptied with `forget`.
    """
    oldest = total - min(total, memory.lane_size)
    pieces = [piece for piece in pieces if piece.stop > oldest]
    ends = [*(piece.start for piece in pieces), total]
    if ends[0] > oldest or [piece.stop for piece in pieces] != ends[1:]:
        raise UserError("some of its steps were not saved")
    memory.total = total
    for piece in pieces:
        _read_piece(folder / piece.name, memory, piece, num_actions)
    memory.count_cuts()
    return pieces


def forget(memory: ReplayMemory) -> None:
    """Let a memory forget all steps, where only a part of it could be restored."""
    memory.total = 0
    memory.endings.fill(0)
    memory.count_cuts()


def write_piece(path: Path, memory: ReplayMemory, start: int) -> Piece:
    """Write what was added to a memory from a step on; the file appears complete or not at all."""
    stop = memory.total
    start = max(start, stop - memory.lane_size)
    with atomic_file(path) as file:
        file.write(json.dumps(_facts(memory, start, stop)).encode() + b"\n")
        compressor = zstandard.ZstdCompressor(level=_LEVEL)
        with compressor.stream_writer(file, closefd=False) as stream:
            for game, first, last in _blocks(memory, start, stop):
                positions = np.arange(first, last) % memory.lane_size
                stream.write(memory.observations.get(game, positions).tobytes())
                for column in (memory.actions, memory.rewards, memory.endings):
                    stream.write(column[game, positions].tobytes())
        file.flush()
        with Path(file.name).open("rb") as written:
            sha256 = hashlib.file_digest(written, "sha256").hexdigest()
    return Piece(path.name, sha256, start, stop)


def _read_piece(path: Path, memory: ReplayMemory, piece: Piece, num_actions: int) -> None:
    """Put the steps of a piece back into a memory, those that the memory still holds.

    No more is allocated than a block, whatever the file says.
    """
    oldest = memory.total - memory.count
    shape, dtype = memory.observation_shape, memory.observation_dtype
    held: tuple[npt.NDArray[Any], ...] = memory.actions, memory.rewards, memory.endings
    if not path.is_file():  # it may be a pipe, which waits
        raise UserError(f"{path} cannot be read: there is no such file")
    try:
        with path.open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != piece.sha256:
                raise UserError(f"{path} is damaged (truncated or altered)")
            file.seek(0)
            with refusing(f"{path} is not a piece of a replay memory"):
                facts = json.loads(file.readline(_LONGEST_LINE))
            if facts != _facts(memory, piece.start, piece.stop):
                raise UserError(f"{path} is of other games or screens than this run's")
            decompressor = zstandard.ZstdDecompressor(max_window_size=_MOST_WINDOW_BYTES)
            with decompressor.stream_reader(file) as stream:
                for game, first, last in _blocks(memory, piece.start, piece.stop):
                    observations = _read(stream, (last - first, *shape), dtype)
                    columns = [_read(stream, (last - first,), c.dtype) for c in held]
                    actions, rewards, endings = columns
                    finite = np.isfinite(rewards).all() and np.isfinite(observations).all()
                    if not finite or actions.max() >= num_actions or endings.max() > CUT:
                        raise UserError(f"{piece.name} holds steps that no game has")
                    kept = np.arange(max(first, oldest), last)
                    positions, offsets = kept % memory.lane_size, kept - first
                    for column, values in zip(held, columns, strict=True):
                        column[game, positions] = values[offsets]
                    # NB! Positions may wrap around the lane's end, and a store is written in a row.
                    for part in np.split(kept, np.flatnonzero(positions == 0)):
                        if len(part):
                            position = int(part[0]) % memory.lane_size
                            memory.observations.put(game, position, observations[part - first])
    except (OSError, zstandard.ZstdError) as error:
        raise UserError(f"{path} cannot be read: {error}") from error


def _read(stream: Any, shape: tuple[int, ...], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    """Read an array from a stream."""
    number = math.prod(shape) * np.dtype(dtype).itemsize
    if len(data := stream.read(number)) < number:
        raise zstandard.ZstdError("the file ends too early")
    return np.frombuffer(data, dtype).reshape(shape)


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


def _blocks(memory: ReplayMemory, start: int, stop: int) -> Iterator[tuple[int, int, int]]:
    """Each game's steps, cut into runs (game, first, last + 1) of at most _BLOCK_BYTES."""
    size = memory.observation_dtype.itemsize * int(np.prod(memory.observation_shape))
    length = max(1, _BLOCK_BYTES // size)
    for game in range(memory.num_games):
        for first in range(start, stop, length):
            yield game, first, min(first + length, stop)
