"""`resume SNAPSHOT`: go on with the run that wrote a snapshot."""

from simple_dqn.checkpoints.snapshot import Snapshot
from simple_dqn.options.settings import Settings
from simple_dqn.run.run import Run


def resume(settings: Settings, snapshot: Snapshot) -> None:
    """Go on with a run."""
    Run(settings, snapshot).resume()
