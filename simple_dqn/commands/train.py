"""`train GAME [LABEL]`: train a network, with a CSV row per phase and a snapshot per epoch."""

from simple_dqn.commands.watchers import watched_run
from simple_dqn.options.settings import Settings


def train(settings: Settings) -> None:
    """Train from the beginning."""
    watched_run(settings).train()
