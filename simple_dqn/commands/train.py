"""`train GAME [LABEL]`: train a network, with a CSV row per phase and a snapshot per epoch."""

from pathlib import Path

from simple_dqn.agent import Callback
from simple_dqn.checkpoints.snapshot import Snapshot
from simple_dqn.options.settings import Settings
from simple_dqn.reports.progress import GameLog, Progress
from simple_dqn.reports.tensorboard import TensorBoardWriter
from simple_dqn.run.classes import find_class
from simple_dqn.run.run import Run
from simple_dqn.statistics import Writer
from simple_dqn.watch.live import LiveWindow

WRITERS = {"tensorboard": TensorBoardWriter}  # by the value of --writer


def train(settings: Settings) -> None:
    """Train from the beginning."""
    watched_run(settings).train()


def watched_run(settings: Settings, snapshot: Snapshot | None = None) -> Run:
    """Make a run that shows on the terminal what it does, and what its settings ask for besides."""
    callbacks: list[Callback] = [Progress()]
    if settings.display_screen:
        callbacks.append(LiveWindow())
    if settings.log_games:
        callbacks.append(GameLog())
    writers: list[Writer] = [find_class("writer", name, WRITERS)() for name in settings.writer]
    if settings.tensorboard:
        folder = settings.tensorboard if isinstance(settings.tensorboard, Path) else None
        writers.append(TensorBoardWriter(folder))
    return Run(settings, snapshot, callbacks=callbacks, writers=writers)
