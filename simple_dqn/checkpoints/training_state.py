"""What training needs besides the weights: saved at an epoch's end, restored when a run resumes."""

import logging
from collections.abc import Iterable
from typing import Any, NamedTuple

from simple_dqn.checkpoints.memory_pieces import (
    MemoryFiles,
    Piece,
    forget,
    memory_header,
    restore_memory,
)
from simple_dqn.checkpoints.run_files import RunFiles
from simple_dqn.checkpoints.snapshot import (
    Snapshot,
    read_snapshot,
    snapshot_at_end,
    snapshot_path,
    training_state_path,
    write_snapshot,
)
from simple_dqn.deep_q_network import DeepQNetwork
from simple_dqn.errors import UserError
from simple_dqn.files import interrupts_held
from simple_dqn.networks.weights import with_prefix
from simple_dqn.options.settings import Settings
from simple_dqn.replay_memory import ReplayMemory

logger = logging.getLogger(__name__)

# Steps are kept in the memory as these options say; with others, the memory begins empty.
_OF_STEPS = (
    *("environment", "num_games", "frame_skip", "minimal_action_set", "color_averaging"),
    *("screen_width", "screen_height", "observations", "environment_options", "memory"),
)
_OF_PRIORITIES = ("replay_size", "history_length", "n_step", "prioritized", "priority_exponent")


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


class Restored(NamedTuple):
    """What could be restored.

    Attributes:
        everything: whether the run resumes exactly.
        pieces: that the replay memory consists of, none if it is empty.
        missing_steps: steps of play that are to fill the memory.
    """

    everything: bool
    pieces: list[Piece]
    missing_steps: int


def restore(
    settings: Settings, snapshot: Snapshot, network: DeepQNetwork, memory: ReplayMemory
) -> Restored:
    """Restore target network, optimizer and replay memory, and log what was restored.

    Args:
        settings: of the run that is resumed.
        snapshot: of the epoch from which it is resumed.
        network: with the snapshot's weights.
        memory: empty; it stays empty if it cannot be restored.
    """
    options = snapshot.header["options"]
    changed = {
        name
        for name, value in settings.kept().items()
        if name in options and (list(value) if isinstance(value, tuple) else value) != options[name]
    }
    for name in sorted(changed):
        logger.info("changed: %s %s -> %s", name, options[name], getattr(settings, name))
    restored, missing = ["weights", "counters", "exploration rate"], []
    pieces: list[Piece] = []
    try:
        state = _read_state(snapshot)
    except UserError as error:
        missing = [
            f"target network and optimizer, since {error}; the target network begins as a copy of "
            "the network, the optimizer afresh",
            f"the replay memory, since {error}",
        ]
    else:
        _restore_network(settings, state, network, restored, missing, "optimizer" in changed)
        try:
            pieces = _restore_memory(settings, state, memory, changed)
            restored.append(f"replay memory ({len(memory):,} steps)")
        except UserError as error:
            missing.append(f"the replay memory, since {error}")
    steps = max(0, settings.random_steps - len(memory)) if missing and not len(memory) else 0
    logger.info("restored: %s", ", ".join(restored))
    for what in missing:
        fill = f"; {steps:,} steps of play at the current exploration rate fill it"
        of_memory = what.startswith("the replay memory")
        logger.warning("not restored: %s%s", what, fill if steps and of_memory else "")
    return Restored(not missing, pieces, steps)


def _read_state(snapshot: Snapshot) -> Snapshot:
    """Read the training state beside a snapshot.

    Raises:
        UserError: it is missing, damaged, or of another run or epoch.
    """
    path = training_state_path(snapshot.path)
    if not path.exists():
        raise UserError(f"{path} does not exist")
    state = read_snapshot(path)
    if {k: v for k, v in state.header.items() if k != "memory"} != snapshot.header:
        raise UserError(f"{path} is of another run or epoch")
    return state


def _restore_network(
    settings: Settings,
    state: Snapshot,
    network: DeepQNetwork,
    restored: list[str],
    missing: list[str],
    other_optimizer: bool,
) -> None:
    """Restore target network and optimizer."""
    left_out = ("memory.", "optimizer.") if other_optimizer else ("memory.",)
    arrays = {k: v for k, v in state.arrays.items() if not k.startswith(left_out)}
    try:
        network.set_training_state(arrays)
    except UserError as error:
        missing.append(f"target network and optimizer, since {error}")
        return
    if other_optimizer:
        missing.append("the optimizer, since --optimizer changed; the new one begins afresh")
    else:
        restored.append("optimizer")
    if not settings.target_steps:
        return
    if any(name.startswith("target.") for name in arrays):
        restored.append("target network")
    else:
        missing.append("the target network, since the run had none; it begins as a copy")


def _restore_memory(
    settings: Settings, state: Snapshot, memory: ReplayMemory, changed: set[str]
) -> list[Piece]:
    """Restore the replay memory and return its pieces.

    Raises:
        UserError: it cannot be restored.
    """
    header = state.header.get("memory")
    if header is None or (header["total"] and not header["pieces"]):
        raise UserError("the run did not save it")
    has_priorities = settings.prioritized or settings.memory != "uniform"
    decisive = {*_OF_STEPS, *(_OF_PRIORITIES if has_priorities else ())}
    if other := sorted(decisive & changed):
        raise UserError(f"its steps depend on {', '.join(other)}")
    num_actions = len(state.header["action_meanings"])
    pieces = restore_memory(state.path.parent, header, memory, num_actions)
    try:
        memory.set_priorities(with_prefix(state.arrays, "memory."))
    except UserError:
        forget(memory)
        raise
    return pieces
