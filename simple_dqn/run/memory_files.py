"""The files of a run's replay memory, beside its snapshots: what each epoch added is a piece."""

import itertools
import logging
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from simple_dqn.errors import UserError
from simple_dqn.memory.on_disk import Piece, forget, read_piece, write_piece
from simple_dqn.replay_memory import ReplayMemory

logger = logging.getLogger(__name__)

_SHRINKING = 28  # screens take at most 1/28 of their size: 250 bytes for 84x84 pixels


class MemoryFiles:
    """Saves a replay memory piece by piece, and puts it together again."""

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

    def save(self, memory: ReplayMemory, epoch: int) -> None:
        """Write what was added since the last piece.

        Where this fails the run goes on, and the next epoch's piece begins where this one would.
        """
        start = self._pieces[-1].stop if self._pieces else 0
        if not self._enabled or memory.total == start:
            return
        path = self._prefix.with_name(f"{self._prefix.name}_{epoch}.memory")
        try:
            self._pieces.append(write_piece(path, memory, start))
        except UserError as error:
            logger.warning("%s; the replay memory is saved at the next epoch's end", error)

    def header(self, memory: ReplayMemory) -> dict[str, Any]:
        """What a snapshot says of the replay memory."""
        pieces = [piece._asdict() for piece in self._needed(memory)]
        return {"total": memory.total, "pieces": pieces}

    def drop_forgotten(self, memory: ReplayMemory) -> None:
        """Remove the pieces whose steps the memory has all overwritten."""
        needed = self._needed(memory)
        for piece in self._pieces:
            if piece not in needed:
                self._prefix.with_name(piece.name).unlink(missing_ok=True)
        self._pieces = needed

    def _needed(self, memory: ReplayMemory) -> list[Piece]:
        oldest = memory.total - memory.count
        return [piece for piece in self._pieces if piece.stop > oldest]


def restore_memory(folder: Path, header: Mapping[str, Any], memory: ReplayMemory) -> list[Piece]:
    """Put a replay memory together from its pieces; leave it empty if one is missing or damaged.

    Args:
        folder: of the pieces.
        header: what the snapshot says of the memory, see `MemoryFiles.header`.
        memory: empty; it may hold fewer or more steps than the one that was saved.

    Returns:
        The pieces; none if the memory could not be restored.
    """
    pieces = [Piece(**piece) for piece in header["pieces"]]
    memory.total = int(header["total"])
    oldest = memory.total - memory.count
    whole = bool(pieces) and pieces[0].start <= oldest and pieces[-1].stop == memory.total
    whole &= all(a.stop == b.start for a, b in itertools.pairwise(pieces))
    try:
        for piece in pieces if whole else []:
            read_piece(folder / piece.name, memory, piece)
    except UserError as error:
        logger.warning("%s", error)
        whole = False
    if whole:
        return pieces
    forget(memory)
    return []


def check_space(folder: Path, steps: int, bytes_per_observation: int, *, pictures: bool) -> None:
    """Check that the pieces of a replay memory fit on the disk.

    Args:
        folder: of the pieces.
        steps: that the memory holds at most.
        bytes_per_observation: in memory.
        pictures: whether observations are pictures, which shrink.

    Raises:
        UserError: they may not fit.
    """
    needed = steps * (bytes_per_observation // (_SHRINKING if pictures else 1) + 6)
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise UserError(
            f"the replay memory may take {needed / 1e9:.2f} GB in {folder}, where "
            f"{free / 1e9:.2f} GB are free; make room, choose another place with "
            "--save_weights_prefix, or give --save_memory false"
        )
