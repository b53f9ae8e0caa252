"""`train GAME [LABEL]`: train a network, with a CSV row per phase and a snapshot per epoch."""

from simple_dqn.options.settings import Settings
from simple_dqn.run.run import Run


def train(settings: Settings) -> None:
    """Train from the beginning."""
    Run(settings).train()
