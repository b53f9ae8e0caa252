"""`resume SNAPSHOT`: go on with the run that wrote a snapshot."""

from simple_dqn.run.options import Settings
from simple_dqn.run.run import Run
from simple_dqn.run.snapshot import Snapshot


def resume(settings: Settings, snapshot: Snapshot) -> None:
    """Go on with a run."""
    Run(settings, snapshot).resume()
