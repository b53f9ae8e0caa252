"""Statistics: one CSV row for every phase of a run.

The columns up to `steps_per_second` are those of the original tool, in its order; ours follow.
"""

import csv
import io
import logging
import time
from collections import deque
from collections.abc import Sized
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from simple_dqn.environment import TimeStep
from simple_dqn.errors import UserError
from simple_dqn.files import write_atomically

logger = logging.getLogger(__name__)

COLUMNS = (
    "epoch",
    "phase",
    "steps",
    "nr_games",
    "average_reward",
    "min_game_reward",
    "max_game_reward",
    "last_exploration_rate",
    "total_train_steps",
    "replay_memory_count",
    "meanq",
    "meancost",
    "weight_updates",
    "total_time",
    "epoch_time",
    "steps_per_second",
    "std_game_reward",
)
Row = dict[str, str | int | float]


class Network(Protocol):
    """What statistics ask of the Q-network."""

    weight_updates: int

    def predict(self, states: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Q-values of states."""

    def mean_cost(self) -> float:
        """Mean cost since `reset_cost`."""

    def reset_cost(self) -> None:
        """Begin a new mean."""


class Statistics:
    """Counts what happens in a phase and writes it down at its end.

    A game is a whole game in every phase; the original counted lives in training. Rewards are
    the game's own, unclipped.

    Attributes:
        row: the last finished phase, by column.
        rewards: of the latest games of the phase, at most 100.
        total_train_steps: steps trained so far.
    """

    def __init__(
        self,
        *,
        network: Network,
        memory: Sized,
        num_games: int,
        held_out_states: npt.NDArray[np.uint8],
        csv_file: Path | None,
        total_train_steps: int,
        replay_memory_count: int,
        total_time: float,
    ) -> None:
        """Prepare to write.

        Args:
            network: whose costs and Q-values are reported.
            memory: whose length is reported.
            num_games: games played in step.
            held_out_states: uint8 (n, history, height, width), for `meanq`.
            csv_file: where a row per phase is added; None: nowhere.
            total_train_steps: trained before this run began (a resumed run).
            replay_memory_count: steps in the memory before; a test reports what training left.
            total_time: seconds that the run took before.
        """
        self.row: Row = {}
        self.rewards: deque[float] = deque(maxlen=100)
        self.total_train_steps = total_train_steps
        self._network = network
        self._memory = memory
        self._replay_memory_count = replay_memory_count
        self._held_out_states = held_out_states
        self._csv_file = csv_file
        self._time_origin = time.perf_counter() - total_time
        self._running_rewards = np.zeros(num_games, np.float64)
        self._game_rewards: list[float] = []
        self._phase, self._epoch, self._steps = "", 0, 0
        self._exploration_rate = 0.0
        self._phase_start = 0.0

    def on_phase_start(self, phase: str, epoch: int, total: int, unit: str) -> None:  # noqa: ARG002
        """Begin to count."""
        self._phase, self._epoch, self._steps = phase, epoch, 0
        self._running_rewards.fill(0)
        self._game_rewards = []
        self.rewards.clear()
        self._network.reset_cost()
        self._phase_start = time.perf_counter()

    def on_step(self, time_step: TimeStep, steps: int, exploration_rate: float) -> None:
        """Count one step of all games."""
        self._steps += steps
        if self._phase == "train":
            self.total_train_steps += steps
        self._exploration_rate = exploration_rate
        self._running_rewards += time_step.rewards
        if time_step.game_overs.any():
            finished = self._running_rewards[time_step.game_overs].tolist()
            self._game_rewards += finished
            self.rewards.extend(finished)
            self._running_rewards[time_step.game_overs] = 0

    def on_phase_end(self) -> None:
        """Make the phase's row and write it."""
        now = time.perf_counter()
        seconds = now - self._phase_start
        rewards = np.array(self._game_rewards or [np.nan])
        if self._phase != "test":
            self._replay_memory_count = len(self._memory)
        values = (
            self._epoch,
            self._phase,
            self._steps,
            len(self._game_rewards),
            rewards.mean(),
            rewards.min(),
            rewards.max(),
            self._exploration_rate,
            self.total_train_steps,
            self._replay_memory_count,
            self._network.predict(self._held_out_states).max(axis=1).mean(),
            self._network.mean_cost(),
            self._network.weight_updates,
            now - self._time_origin,
            seconds,
            self._steps / seconds,
            rewards.std(),
        )
        self.row = {
            column: value if isinstance(value, str | int) else round(float(value), 6)
            for column, value in zip(COLUMNS, values, strict=True)
        }
        if self._csv_file is not None and self._phase != "refill":
            append_row(self._csv_file, self.row)
        logger.info("%s", summary(self.row))


def summary(row: Row) -> str:
    """One line that tells how a phase went."""
    rewards = (
        f"reward {row['average_reward']:.2f} +- {row['std_game_reward']:.2f} "
        f"({row['min_game_reward']:g} to {row['max_game_reward']:g})"
    )
    return (
        f"epoch {row['epoch']} {row['phase']}: {row['steps']:,} steps, {row['nr_games']} games, "
        f"{rewards if row['nr_games'] else 'none ended'}, "
        f"mean Q {row['meanq']:.3f}, loss {row['meancost']:.5f}, "
        f"{row['epoch_time']:.0f} s, {row['steps_per_second']:.0f} steps/s"
    )


def append_row(csv_file: Path, row: Row) -> None:
    """Add a row, after the header in a new file; it is on disk when this returns.

    Raises:
        UserError: the file cannot be written.
    """
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    try:
        if not csv_file.exists() or csv_file.stat().st_size == 0:
            writer.writeheader()
        writer.writerow(row)
        with csv_file.open("a") as file:
            file.write(text.getvalue())
    except OSError as error:
        raise UserError(f"cannot write {csv_file}: {error.strerror}") from error


def check_csv(csv_file: Path) -> None:
    """Check that rows can be added to a file: it is missing, empty or begins with our header.

    Raises:
        UserError: it is something else.
    """
    try:
        with csv_file.open() as file:
            header = file.readline()
    except FileNotFoundError:
        return
    except (OSError, UnicodeError):
        header = "unreadable"
    if header not in ("", ",".join(COLUMNS) + "\n"):
        raise UserError(f"{csv_file} is no CSV of this version; move it away or give --csv_file")


def keep_rows(csv_file: Path, last_epoch: int) -> set[str]:
    """Drop the rows after an epoch and a broken last one, to go on from there.

    Returns:
        The phases of `last_epoch` that the file has.
    """
    if not csv_file.exists():
        return set()
    lines = csv_file.read_text().splitlines(keepends=True)
    kept = lines[:1]
    phases = set()
    for line in lines[1:]:
        cells = line.split(",")
        if len(cells) == len(COLUMNS) and line.endswith("\n") and int(cells[0]) <= last_epoch:
            kept.append(line)
            if int(cells[0]) == last_epoch:
                phases.add(cells[1])
    if kept != lines:
        logger.info("%s: dropped the rows after epoch %d", csv_file, last_epoch)
        write_atomically(csv_file, "".join(kept).encode())
    return phases
