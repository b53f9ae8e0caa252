"""Putting a stopped run together again: what is restored, and what the user is told of it."""

import logging
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from simple_dqn.checkpoints.memory_files import restore_memory
from simple_dqn.checkpoints.on_disk import Piece, forget
from simple_dqn.checkpoints.snapshot import Snapshot, read_snapshot, training_state_path
from simple_dqn.deep_q_network import DeepQNetwork
from simple_dqn.errors import UserError
from simple_dqn.options.settings import Settings
from simple_dqn.replay_memory import ReplayMemory

logger = logging.getLogger(__name__)

# Steps are kept in the memory as these options say; with others, the memory begins anew.
_OF_STEPS = (
    *("environment", "num_games", "frame_skip", "minimal_action_set", "color_averaging"),
    *("screen_width", "screen_height", "observations", "environment_options"),
)
_OF_PRIORITIES = ("replay_size", "history_length", "n_step", "prioritized", "priority_exponent")


class Restored(NamedTuple):
    """What could be restored.

    Attributes:
        everything: whether the run goes on exactly.
        pieces: that the replay memory consists of, none if it is not whole.
        missing_steps: steps of play that are to fill the memory.
    """

    everything: bool
    pieces: list[Piece]
    missing_steps: int


class Restoring:
    """Restores what training needs besides the weights, from the files beside a snapshot."""

    def __init__(self, settings: Settings, snapshot: Snapshot) -> None:
        """Read the training state and compare the options.

        Args:
            settings: of the run that goes on.
            snapshot: of the epoch from which it goes on.
        """
        self._settings, self._snapshot = settings, snapshot
        self._options: dict[str, Any] = snapshot.header["options"]
        self._changed = [
            name
            for name, value in settings.kept().items()
            if name in self._options and _plain(value) != self._options[name]
        ]
        self._header: dict[str, Any] = {}
        self._state: dict[str, npt.NDArray[np.generic]] | None = None
        path = training_state_path(snapshot.path)
        self._lost = f"{path} is not there"
        if path.exists():
            try:
                header, state, _ = read_snapshot(path)
            except UserError as error:
                logger.warning("%s", error)
                self._lost = f"{path} cannot be used"
            else:
                if _of_run(header) == _of_run(snapshot.header):
                    self._header, self._state = header, state
                else:
                    self._lost = f"{path} is of another run or epoch"

    def restore(self, network: DeepQNetwork, memory: ReplayMemory) -> Restored:
        """Restore target network, optimizer and replay memory, and tell what was restored.

        Args:
            network: with the snapshot's weights.
            memory: empty; it stays empty if it cannot be restored.
        """
        for name in self._changed:
            now = getattr(self._settings, name)
            logger.info("changed: %s %s -> %s", name, self._options[name], now)
        restored = ["weights", "counters", "exploration rate"]
        missing: list[str] = []
        self._restore_training_state(network, restored, missing)
        pieces, missing_steps = self._restore_memory(memory, restored, missing)
        logger.info("restored: %s", ", ".join(restored))
        for what in missing:
            logger.warning("not restored: %s", what)
        return Restored(not missing, pieces, missing_steps)

    def _restore_training_state(
        self, network: DeepQNetwork, restored: list[str], missing: list[str]
    ) -> None:
        if self._state is None:
            missing.append(
                f"target network and optimizer, since {self._lost}; the target network begins as a "
                "copy of the network, the optimizer afresh"
            )
            return
        state = {k: v for k, v in self._state.items() if not k.startswith("memory.")}
        other_optimizer = "optimizer" in self._changed
        if other_optimizer:
            state = {k: v for k, v in state.items() if not k.startswith("optimizer.")}
        try:
            network.set_training_state(state)
        except UserError as error:
            missing.append(f"target network and optimizer, since {error}")
            return
        if other_optimizer:
            missing.append("the optimizer, which is another one now and begins afresh")
        else:
            restored.append("optimizer")
        if any(name.startswith("target.") for name in state):
            if self._settings.target_steps:
                restored.append("target network")
        elif self._settings.target_steps:
            missing.append("the target network, which there was none; it begins as a copy")

    def _restore_memory(
        self, memory: ReplayMemory, restored: list[str], missing: list[str]
    ) -> tuple[list[Piece], int]:
        header = self._header.get("memory")
        decisive = {*_OF_STEPS, *(_OF_PRIORITIES if self._settings.prioritized else ())}
        changed = sorted(decisive.intersection(self._changed))
        pieces: list[Piece] = []
        whole = False
        if self._state is None:
            reason = self._lost
        elif header is None or (header["total"] and not header["pieces"]):
            reason = "the run did not save it"
        elif changed:
            reason = f"its steps depend on {', '.join(changed)}"
        else:
            num_actions = len(self._snapshot.header["action_meanings"])
            pieces, whole, forgotten = restore_memory(
                self._snapshot.path.parent, header, memory, num_actions
            )
            reason = "its pieces are not whole"
            try:
                memory.set_priorities(self._of_memory(), forgotten)
            except UserError as error:
                forget(memory)
                whole, reason = False, str(error)
        if len(memory):
            restored.append(f"replay memory ({len(memory):,} steps)")
        if whole:
            return pieces, 0
        steps = max(0, self._settings.random_steps - len(memory))
        filled = f"; {steps:,} steps of play at the current exploration rate fill it"
        missing.append(
            f"{'older steps of ' if len(memory) else ''}the replay memory, since {reason}"
            f"{filled if steps else ''}"
        )
        return [], steps

    def _of_memory(self) -> dict[str, npt.NDArray[np.generic]]:
        """What the training state holds of the memory, by name."""
        prefix, state = "memory.", self._state or {}
        return {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}


def _of_run(header: dict[str, Any]) -> dict[str, Any]:
    """What a header says of the run and its epoch."""
    return {name: value for name, value in header.items() if name != "memory"}


def _plain(value: object) -> object:
    """The value as JSON gives it back."""
    return list(value) if isinstance(value, tuple) else value
