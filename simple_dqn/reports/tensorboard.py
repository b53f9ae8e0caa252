"""The curves of a run for TensorBoard: tests, and points within the epochs of training."""

import time
from collections import deque
from pathlib import Path
from typing import Any

from tensorboardX.event_file_writer import EventsWriter
from tensorboardX.proto.event_pb2 import Event, SessionLog
from tensorboardX.summary import scalar, text

from simple_dqn.environment import TimeStep
from simple_dqn.errors import UserError
from simple_dqn.options.kinds import as_text
from simple_dqn.statistics import Row, Writer

_POINTS_IN_AN_EPOCH = 25
_STEPS_APART = (1_000, 10_000)  # from one point to the next, at least and at most


class TensorBoardWriter(Writer):
    """Adds points to an event file, some 25 times in an epoch, every 1,000 to 10,000 steps.

    A resumed run adds a file, whose points replace those of later steps in the older files. The
    folder is that of all runs; None: `tensorboard` beside the CSV file. Points are on disk at once:
    tensorboardX's own SummaryWriter keeps them for up to two minutes, which a kill would lose.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder
        self._run: Any = None
        self._events: EventsWriter | None = None
        self._rewards: deque[float] = deque(maxlen=100)  # of the latest games, over the epochs
        self._phase, self._interval, self._exploration_rate = "", 0, 0.0
        self._steps, self._since = 0, 0.0  # of the next point
        self._first_update, self._updates, self._cost = 0, 0, 0.0  # up to the last point

    def on_run_start(self, run: Any) -> None:
        """Open the event file of a run that learns."""
        self._run = run
        if run.only_test or run.csv_file is None:
            return
        folder = (self._folder or run.csv_file.parent / "tensorboard") / run.csv_file.stem
        steps = run.agent.total_train_steps
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._events = EventsWriter(str(folder / "events"), filename_suffix=f".{steps:015}")
        except OSError as error:
            hint = "choose another folder with --tensorboard"
            raise UserError(f"cannot write into {folder}: {error.strerror}; {hint}") from error
        start = SessionLog(status=SessionLog.START)  # from its step on, older files do not count
        self._write(session_log=start, step=steps + 1 if run.resumed else 0)
        options = vars(run.settings).items()
        rows = "".join(f"| {k} | {'' if v is None else as_text(v)} |\n" for k, v in options)
        table = "| option | value |\n|---|---|\n" + rows
        self._write(summary=text("hyperparameters", table), step=steps)

    def on_phase_start(self, phase: str, epoch: int, total: int, unit: str) -> None:  # noqa: ARG002
        """Begin to count."""
        self._phase = phase
        least, most = _STEPS_APART
        self._interval = min(max(total // _POINTS_IN_AN_EPOCH, least), most)
        self._steps, self._since = 0, time.perf_counter()
        self._first_update = self._run.network.weight_updates
        self._updates, self._cost = 0, 0.0

    def on_step(self, time_step: TimeStep, steps: int, exploration_rate: float) -> None:
        """Add points in training if it is time."""
        if self._phase not in ("train", "random"):
            return
        if ended := int(time_step.game_overs.sum()):
            self._rewards.extend(list(self._run.statistics.rewards)[-ended:])
        self._steps += steps
        self._exploration_rate = exploration_rate
        if self._phase == "train" and self._steps >= self._interval:
            self._add_points()

    def on_phase_end(self) -> None:
        """Add the last points of training, and those of random play, at the left of all others."""
        if self._steps:
            self._add_points()
        if self._phase == "random":
            self._rewards.clear()

    def write(self, row: Row) -> None:
        """Add the result of a phase: a test's score, else what became of the network."""
        step = int(row["total_train_steps"])
        if row["phase"] in {"random", "train"}:
            values = {"mean_q": row["meanq"], "dead_units": row["dead_units"]}
            self._add({f"train/{name}": float(value) for name, value in values.items()}, step)
        elif row["phase"] == "test" and row["nr_games"]:
            self._add({"eval/mean_reward": float(row["average_reward"])}, step)

    def on_run_end(self) -> None:
        """Close the event file."""
        if self._events is not None:
            self._events.close()

    def _add_points(self) -> None:
        """Add the points of the steps since the last ones."""
        now, network = time.perf_counter(), self._run.network
        points = {
            "rollout/exploration_rate": self._exploration_rate,
            "time/fps": self._steps / (now - self._since),
        }
        if self._rewards:
            points["rollout/ep_rew_mean"] = sum(self._rewards) / len(self._rewards)
        updates = network.weight_updates - self._first_update
        if updates > self._updates:
            cost = network.mean_cost() * updates
            points["train/loss"] = (cost - self._cost) / (updates - self._updates)
            points["train/learning_rate"] = network.learning_rate
            points["train/n_updates"] = network.weight_updates
            self._updates, self._cost = updates, cost
        self._steps, self._since = 0, now
        self._add(points, self._run.statistics.total_train_steps)

    def _add(self, points: dict[str, float], step: int) -> None:
        for tag, value in points.items():
            self._write(summary=scalar(tag, value), step=step)

    def _write(self, **event: Any) -> None:
        if self._events is not None:
            self._events.write_event(Event(wall_time=time.time(), **event))
            self._events.flush()
