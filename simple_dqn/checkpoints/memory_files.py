"""The files of a run's replay memory, beside its snapshots: what each epoch added is a piece."""

import logging
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from simple_dqn.checkpoints.on_disk import Piece, check_piece, forget, read_piece, write_piece
from simple_dqn.errors import UserError
from simple_dqn.replay_memory import ReplayMemory

logger = logging.getLogger(__name__)

_SHRINKING = 28  # screens take at most 1/28 of their size: 250 bytes for 84x84 pixels


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

        Where this fails the run goes on, and the next epoch's piece begins where this one would.
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
    """What a training state says of the replay memory."""
    return {"total": memory.total, "pieces": [piece._asdict() for piece in pieces]}


class RestoredMemory(NamedTuple):
    """How much of a replay memory could be put together again.

    Attributes:
        pieces: that the memory consists of; none if a part of it is missing.
        whole: whether nothing is missing.
        forgotten: steps of each lane, from the run's first on, that are missing.
    """

    pieces: list[Piece]
    whole: bool
    forgotten: int


def restore_memory(
    folder: Path, header: Mapping[str, Any], memory: ReplayMemory, num_actions: int = 256
) -> RestoredMemory:
    """Put a replay memory together from its pieces, from as many of the newest as are whole.

    Args:
        folder: of the pieces.
        header: what the training state says of the memory, see `memory_header`.
        memory: empty; it may hold fewer or more steps than the one that was saved.
        num_actions: of the game.
    """
    total = int(header["total"])
    pieces = _whole_pieces(folder, [Piece(**piece) for piece in header["pieces"]], memory, total)
    first = pieces[0].start if pieces else total
    memory.total = total
    whole = first <= total - memory.count
    forgotten = 0 if whole else first
    memory.total = total - forgotten
    try:
        for piece in pieces:
            if piece.stop > total - memory.count:
                read_piece(folder / piece.name, memory, piece, forgotten, num_actions)
    except UserError as error:
        logger.warning("%s", error)
        forget(memory)
        return RestoredMemory([], whole=False, forgotten=total)
    return RestoredMemory(pieces if whole else [], whole, forgotten)


def _whole_pieces(
    folder: Path, pieces: list[Piece], memory: ReplayMemory, total: int
) -> list[Piece]:
    """The newest pieces that are whole and follow on one another, oldest first."""
    whole: list[Piece] = []
    for piece in reversed(pieces):
        if piece.stop != (whole[0].start if whole else total):
            break
        try:
            check_piece(folder / piece.name, memory, piece)
        except UserError as error:
            logger.warning("%s", error)
            break
        whole.insert(0, piece)
    return whole


def check_space(
    folder: Path,
    steps: int,
    bytes_per_observation: int,
    *,
    pictures: bool,
    there_already: int,
) -> None:
    """Check that the pieces of a replay memory fit on the disk.

    Args:
        folder: of the pieces.
        steps: that the memory holds at most.
        bytes_per_observation: in memory.
        pictures: whether observations are pictures, which shrink.
        there_already: bytes of the pieces so far.

    Raises:
        UserError: they may not fit.
    """
    needed = steps * (bytes_per_observation // (_SHRINKING if pictures else 1) + 6)
    free = shutil.disk_usage(folder).free + there_already
    if needed > free:
        raise UserError(
            f"the replay memory may take {needed / 1e9:.2f} GB in {folder}, where "
            f"{free / 1e9:.2f} GB are free; make room, choose another place with "
            "--save_weights_prefix, or give --save_memory false"
        )
