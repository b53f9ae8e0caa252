"""Saving a run at an epoch's end, so that it can go on from there whatever happens."""

import logging
from collections.abc import Iterable
from typing import Any

from simple_dqn.checkpoints.memory_files import MemoryFiles, memory_header
from simple_dqn.checkpoints.on_disk import Piece
from simple_dqn.checkpoints.run_files import RunFiles
from simple_dqn.checkpoints.snapshot import (
    snapshot_at_end,
    snapshot_path,
    training_state_path,
    write_snapshot,
)
from simple_dqn.deep_q_network import DeepQNetwork
from simple_dqn.errors import UserError
from simple_dqn.files import interrupts_held
from simple_dqn.replay_memory import ReplayMemory

logger = logging.getLogger(__name__)


class Saving:
    """Writes an epoch's files: snapshot, training state and piece of the replay memory."""

    def __init__(self, files: RunFiles, pieces: Iterable[Piece] = (), *, save_memory: bool) -> None:
        """Prepare to save.

        Args:
            files: of the run.
            pieces: of the replay memory that are there already, oldest first.
            save_memory: whether the replay memory is saved, too.
        """
        self._files = files
        self._memory_files = MemoryFiles(files.prefix, pieces, enabled=save_memory)

    def save(
        self, epoch: int, header: dict[str, Any], network: DeepQNetwork, memory: ReplayMemory
    ) -> None:
        """Write an epoch's files, and drop what only resuming from earlier epochs needs.

        The weights are on the disk before anything else can fail. The snapshot takes its place
        last, so that the run can be resumed from any snapshot that is there. A request to stop
        waits until all is written.

        Args:
            epoch: that is over.
            header: of the snapshot.
            network: whose weights, target network and optimizer are saved.
            memory: of which what was added since the last epoch is saved.

        Raises:
            UserError: the snapshot cannot be written. Where only the rest cannot be written, a
                warning says so.
        """
        path = snapshot_path(self._files.prefix, epoch)
        with interrupts_held() as raise_interrupts:
            with snapshot_at_end(path, header, network.get_weights()):
                pieces = self._memory_files.save(memory, epoch)
                in_full = header | {"memory": memory_header(memory, pieces)}
                state = network.get_training_state()
                state |= {f"memory.{name}": array for name, array in memory.priorities().items()}
                resumable = True
                try:
                    write_snapshot(training_state_path(path), in_full, state)
                except UserError as error:
                    logger.warning("%s; resuming from this epoch would not be exact", error)
                    resumable = False
            logger.info("wrote %s", path)
            if resumable:
                self._files.keep_only(epoch, pieces)
        raise_interrupts()
