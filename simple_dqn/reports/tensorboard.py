"""Curves for TensorBoard: points within each epoch, scores of tests, the options as text.

A run has a folder of its own. Each time that the run is begun or resumed it writes a new file
there; the names of the files are in their order in time. The tags are those of Stable-Baselines3,
but for `train/mean_q`.
"""

import errno
import logging
import os
import struct
import time
from collections import deque
from collections.abc import Mapping
from pathlib import Path

from tensorboardX.proto.event_pb2 import Event, SessionLog
from tensorboardX.proto.summary_pb2 import Summary
from tensorboardX.record_writer import masked_crc32c
from tensorboardX.summary import text

from simple_dqn.deep_q_network import DeepQNetwork
from simple_dqn.environment import TimeStep
from simple_dqn.errors import UserError
from simple_dqn.files import interrupts_held
from simple_dqn.options.settings import as_text
from simple_dqn.statistics import Row, Statistics

logger = logging.getLogger(__name__)

_POINTS_IN_AN_EPOCH = 25
_STEPS_APART = (1_000, 10_000)  # from one point to the next, at least and at most


class TensorBoardWriter:
    """Adds points to an event file; a `statistics.Writer`.

    Points that cannot be written (the disk is full) are kept and written with the next ones, so
    that the run goes on. What is written outlives a killed process.
    """

    def __init__(
        self, folder: Path, *, steps_done: int, resumed: bool, options: Mapping[str, object]
    ) -> None:
        """Begin a file.

        Args:
            folder: of the run.
            steps_done: training steps before the first point.
            resumed: whether points up to these steps stay; points beyond them, or all, no longer
                count, since the run takes these steps anew.
            options: of the run, shown as a table.

        Raises:
            UserError: the file cannot be made.
        """
        self._pending = b""
        try:
            folder.mkdir(parents=True, exist_ok=True)
            number = len(list(folder.glob("events.out.tfevents.*")))
            self._path = folder / f"events.out.tfevents.{number:06d}"
            self._path.touch(exist_ok=False)
        except OSError as error:
            raise UserError(
                f"cannot write into {folder}: {error.strerror}; choose another place with "
                "--tensorboard"
            ) from error
        start = SessionLog(status=SessionLog.START)
        first_step = steps_done + 1 if resumed else 0
        self._add(Event(file_version="brain.Event:2"))
        self._add(Event(step=first_step, session_log=start))
        rows = "".join(
            f"| {name} | {'' if value is None else as_text(value)} |\n"
            for name, value in options.items()
        )
        table = text("hyperparameters", f"| option | value |\n|---|---|\n{rows}")
        self._add(Event(step=steps_done, summary=table))

    def write(self, row: Row) -> None:
        """Add what a finished phase tells: a test's score, else the mean Q-value."""
        if row["phase"] == "test":
            score = {"eval/mean_reward": row["average_reward"]} if row["nr_games"] else {}
        else:
            score = {"train/mean_q": row["meanq"]}
        self.write_points(
            int(row["total_train_steps"]), {tag: float(value) for tag, value in score.items()}
        )

    def write_points(self, step: int, points: Mapping[str, float]) -> None:
        """Add points of several curves after a number of training steps."""
        values = [Summary.Value(tag=tag, simple_value=value) for tag, value in points.items()]
        self._add(Event(step=step, summary=Summary(value=values)))
        with interrupts_held() as raise_interrupts:
            self._append()
        raise_interrupts()

    def close(self) -> None:
        """Write what is left."""
        self._append()

    def _add(self, event: Event) -> None:
        """Keep an event as a record: its length, its bytes, and a checksum of either."""
        event.wall_time = time.time()
        content = event.SerializeToString()
        length = struct.pack("<Q", len(content))
        for part in (length, content):
            self._pending += part + struct.pack("<I", masked_crc32c(part))

    def _append(self) -> None:
        """Write all records that are kept, or none."""
        try:
            with self._path.open("ab", buffering=0) as file:
                size = os.fstat(file.fileno()).st_size
                try:
                    if file.write(self._pending) < len(self._pending):
                        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                except OSError:
                    os.ftruncate(file.fileno(), size)  # no half of a record
                    raise
        except OSError as error:
            logger.warning(
                "cannot write %s: %s; the points are kept and written with the next ones",
                self._path,
                error.strerror,
            )
        else:
            self._pending = b""


class PointsWithinEpochs:
    """Watches the agent; adds points some 25 times in an epoch, every 1,000 to 10,000 steps."""

    def __init__(
        self, writer: TensorBoardWriter, statistics: Statistics, network: DeepQNetwork
    ) -> None:
        """Prepare to watch.

        Args:
            writer: gets the points.
            statistics: that count; they are told of each step before this object is.
            network: that learns.
        """
        self._writer, self._statistics, self._network = writer, statistics, network
        self._rewards: deque[float] = deque(maxlen=100)  # of the latest games, over the epochs
        self._phase, self._interval = "", 0
        self._exploration_rate = 0.0
        self._steps, self._since = 0, 0.0  # of the next point
        self._first_update, self._updates, self._cost = 0, 0, 0.0  # up to the last point

    def on_phase_start(self, phase: str, epoch: int, total: int, unit: str) -> None:  # noqa: ARG002
        """Begin to count."""
        least, most = _STEPS_APART
        self._phase = phase
        self._interval = min(max(total // _POINTS_IN_AN_EPOCH, least), most)
        self._steps, self._since = 0, time.perf_counter()
        self._first_update = self._network.weight_updates
        self._updates, self._cost = 0, 0.0

    def on_step(self, time_step: TimeStep, steps: int, exploration_rate: float) -> None:
        """Add points in training if it is time."""
        if self._phase not in ("train", "random"):
            return
        if ended := int(time_step.game_overs.sum()):
            self._rewards.extend(list(self._statistics.rewards)[-ended:])
        self._steps += steps
        self._exploration_rate = exploration_rate
        if self._phase == "train" and self._steps >= self._interval:
            self._write()

    def on_phase_end(self) -> None:
        """Add the last points of training, and those of random play, at the left of all others."""
        if self._steps:
            self._write()
        if self._phase == "random":
            self._rewards.clear()

    def _write(self) -> None:
        """Add the points of the steps since the last ones."""
        now = time.perf_counter()
        points = {
            "rollout/exploration_rate": self._exploration_rate,
            "time/fps": self._steps / (now - self._since),
        }
        if self._rewards:
            points["rollout/ep_rew_mean"] = sum(self._rewards) / len(self._rewards)
        updates = self._network.weight_updates - self._first_update
        if updates > self._updates:
            cost = self._network.mean_cost() * updates
            points["train/loss"] = (cost - self._cost) / (updates - self._updates)
            points["train/learning_rate"] = self._network.learning_rate
            points["train/n_updates"] = self._network.weight_updates
            self._updates, self._cost = updates, cost
        self._steps, self._since = 0, now
        self._writer.write_points(self._statistics.total_train_steps, points)
