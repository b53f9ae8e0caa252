"""What training needs besides the weights: saved at an epoch's end, restored when a run resumes."""

import logging
import shutil
from collections.abc import Iterable
from typing import Any

from msgspec import structs

from simple_dqn.checkpoints.memory_pieces import forget, restore_memory, save_memory
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
from simple_dqn.options.schema import Piece
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

    def __init__(self, files: RunFiles, settings: Settings, pieces: Iterable[Piece] = ()) -> None:
        """Prepare to save; the replay memory has `pieces` already, oldest first."""
        self._files, self._settings = files, settings
        self._pieces = list(pieces)

    def warn_if_disk_is_small(self, epochs: int, network: DeepQNetwork) -> None:
        """Log that the snapshots of so many epochs do not fit on the disk."""
        number = min(epochs, self._settings.keep_snapshots or epochs)
        needed = number * sum(array.nbytes for array in network.get_weights().values()) / 1e6
        free = shutil.disk_usage(self._files.prefix.parent).free / 1e6
        if needed > free:
            text = "%d snapshots take %.0f MB, the disk has %.0f; give a smaller --keep_snapshots"
            logger.warning(text, number, needed, free)

    def save(
        self, epoch: int, header: dict[str, Any], network: DeepQNetwork, memory: ReplayMemory
    ) -> None:
        """Write an epoch's files, and drop what only resuming from earlier epochs needs.

        The weights are on the disk before anything else can fail: a `UserError` if they cannot be
        written, a warning if the rest cannot. The snapshot takes its place last, so that the run
        can be resumed from any snapshot that is there. A request to stop waits until all is
        written.
        """
        path = snapshot_path(self._files.prefix, epoch)
        with interrupts_held() as raise_interrupts:
            with snapshot_at_end(path, header, network.get_weights()):
                self._pieces = (
                    save_memory(self._files.prefix, epoch, memory, self._pieces)
                    if self._settings.save_memory
                    else []
                )
                pieces = [structs.asdict(piece) for piece in self._pieces]
                in_full = header | {"memory": {"total": memory.total, "pieces": pieces}}
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
                self._files.keep_only(epoch, self._pieces, self._settings.keep_snapshots)
        raise_interrupts()


def restore(
    settings: Settings, snapshot: Snapshot, network: DeepQNetwork, memory: ReplayMemory
) -> list[Piece]:
    """Restore target network, optimizer and replay memory, and log what was restored.

    The network has the snapshot's weights already. The memory is empty, and stays so if it cannot
    be restored; its pieces are returned.
    """
    options, now = snapshot.header["options"], settings.kept()
    as_json = {name: list(v) if isinstance(v, tuple) else v for name, v in now.items()}
    changed = {name for name in as_json.keys() & options.keys() if as_json[name] != options[name]}
    for name in sorted(changed):
        logger.info("changed: %s %s -> %s", name, options[name], now[name])
    follow = ["learning rate"] if settings.learning_rate_end is not None else []
    follow += ["importance exponent"] if settings.prioritized else []
    if follow and "epochs" in changed:
        what, length = " and ".join(follow), settings.epochs
        logger.warning("changed: %s, from now on as in a run of %d epochs", what, length)
    state: Snapshot | None = None
    pieces: list[Piece] = []
    try:
        state = _read_state(snapshot)
        missing = _restore_network(settings, state, network, other="optimizer" in changed)
    except UserError as error:
        missing = [f"target network and optimizer, since {error}; both begin as in a new run"]
    try:
        pieces = _restore_memory(settings, state, memory, changed)
    except UserError as error:
        forget(memory)
        fill = f"{settings.random_steps:,} steps of play at the current exploration rate fill it"
        missing.append(f"the replay memory, since {error}; {fill}")
    what = "all but the following" if missing else "everything"
    logger.info("restored: %s; replay memory (%s steps)", what, f"{len(memory):,}")
    for what in missing:
        logger.warning("not restored: %s", what)
    return pieces


def _read_state(snapshot: Snapshot) -> Snapshot:
    """Read the training state beside a snapshot; it may be missing, damaged or of another run."""
    path = training_state_path(snapshot.path)
    if not path.exists():
        raise UserError(f"{path} does not exist")
    state = read_snapshot(path)
    if {k: v for k, v in state.header.items() if k != "memory"} != snapshot.header:
        raise UserError(f"{path} is of another run or epoch")
    return state


def _restore_network(
    settings: Settings, state: Snapshot, network: DeepQNetwork, *, other: bool
) -> list[str]:
    """Restore target network and, unless it is another one, optimizer; return what is missing."""
    left_out = ("memory.", "optimizer.") if other else ("memory.",)
    arrays = {k: v for k, v in state.arrays.items() if not k.startswith(left_out)}
    network.set_training_state(arrays)
    missing = []
    if other:
        missing.append("the optimizer, since --optimizer changed; the new one begins afresh")
    if settings.target_steps and not with_prefix(arrays, "target."):
        missing.append("the target network, since the run had none; it begins as a copy")
    return missing


def _restore_memory(
    settings: Settings, state: Snapshot | None, memory: ReplayMemory, changed: set[str]
) -> list[Piece]:
    """Restore the replay memory and return its pieces; where this fails, a part may be restored."""
    if state is None:
        raise UserError("it is not known which files hold it")
    header = state.header.get("memory")
    if header is None or (header["total"] and not header["pieces"]):
        raise UserError("the run did not save it")
    has_priorities = settings.prioritized or settings.memory != "uniform"
    decisive = {*_OF_STEPS, *(_OF_PRIORITIES if has_priorities else ())}
    if other := sorted(decisive & changed):
        raise UserError(f"its steps depend on {', '.join(other)}")
    pieces = restore_memory(
        state.path.parent,
        header["total"],
        [Piece(**piece) for piece in header["pieces"]],
        memory,
        num_actions=len(state.header["action_meanings"]),
    )
    memory.set_priorities(with_prefix(state.arrays, "memory."))
    return pieces
