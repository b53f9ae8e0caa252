"""`resume SNAPSHOT`: continue the run that wrote a snapshot."""

from simple_dqn.checkpoints.snapshot import Snapshot
from simple_dqn.commands.train import watched_run
from simple_dqn.options.settings import Settings


def resume(settings: Settings, snapshot: Snapshot) -> None:
    """Continue a run."""
    watched_run(settings, snapshot).resume()
