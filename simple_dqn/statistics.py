"""Statistics: one row for every phase of a run, handed to writers.

The columns up to `steps_per_second` are those of the original tool, in its order; ours follow.
"""

import logging
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Sequence, Sized

import numpy as np

from simple_dqn.agent import Callback, Network, States
from simple_dqn.environment import TimeStep

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
    "dead_units",
)
Row = dict[str, str | int | float]


class Writer(Callback, ABC):
    """Keeps rows, as a CSV file does (`checkpoints.csv_file.CsvWriter`); may watch, too."""

    @abstractmethod
    def write(self, row: Row) -> None:
        """Keep a row; the next one comes after the next phase."""


class Statistics(Callback):
    """Counts what happens in a phase and hands a row to the writers at its end.

    A game is a complete game in every phase; the original counted lives in training. Rewards are
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
        dead_units: Callable[[States], float],
        memory: Sized,
        held_out_states: States,
        writers: Sequence[Writer],
        total_train_steps: int,
        replay_memory_count: int,
        total_time: float,
    ) -> None:
        """Prepare to count.

        Args:
            network: whose costs and Q-values are reported.
            dead_units: returns the share of the network's hidden units that are 0 in all states.
            memory: whose length is reported.
            held_out_states: (n, history, *observation_shape), for `meanq` and `dead_units`.
            writers: get each phase's row.
            total_train_steps: trained before this run began (a resumed run).
            replay_memory_count: steps in the memory before; a test reports what training left.
            total_time: seconds that the run took before.
        """
        self.row: Row = {}
        self.rewards: deque[float] = deque(maxlen=100)
        self.total_train_steps = total_train_steps
        self._network = network
        self._dead_units = dead_units
        self._memory = memory
        self._replay_memory_count = replay_memory_count
        self._held_out_states = held_out_states
        self._writers = writers
        self._time_origin = time.perf_counter() - total_time
        self._running_rewards = np.zeros(1)
        self._game_rewards: list[float] = []
        self._phase, self._epoch, self._steps = "", 0, 0
        self._exploration_rate = 0.0
        self._phase_start = 0.0

    def on_phase_start(self, phase: str, epoch: int, total: int, unit: str) -> None:  # noqa: ARG002
        """Begin to count."""
        self._phase, self._epoch, self._steps = phase, epoch, 0
        self._running_rewards = np.zeros(1)
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
        rewards = self._running_rewards + time_step.rewards  # of each game, float64 (num_games,)
        finished = rewards[time_step.game_overs].tolist()
        self._game_rewards += finished
        self.rewards.extend(finished)
        self._running_rewards = np.where(time_step.game_overs, 0, rewards)

    def on_phase_end(self) -> None:
        """Make the phase's row and hand it to the writers."""
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
            self._dead_units(self._held_out_states),
        )
        self.row = {
            column: value if isinstance(value, str | int) else round(float(value), 6)
            for column, value in zip(COLUMNS, values, strict=True)
        }
        for writer in self._writers:
            writer.write(self.row)
        logger.info("%s", summary(self.row))


def summary(row: Row) -> str:
    """Return one line on how a phase went."""
    rewards = (
        f"reward {row['average_reward']:.2f} +- {row['std_game_reward']:.2f} "
        f"({row['min_game_reward']:g} to {row['max_game_reward']:g})"
    )
    return (
        f"epoch {row['epoch']} {row['phase']}: {row['steps']:,} steps, {row['nr_games']} games, "
        f"{rewards if row['nr_games'] else 'none ended'}, "
        f"mean Q {row['meanq']:.3f}, loss {row['meancost']:.5f}, "
        f"{row['dead_units']:.0%} of hidden units dead, "
        f"{row['epoch_time']:.0f} s, {row['steps_per_second']:.0f} steps/s"
    )
