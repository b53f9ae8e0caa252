"""`--pixel_mean auto`: the mean of a game's screens, measured in the random phase."""

import dataclasses
import logging

import numpy as np

from simple_dqn.agent import Agent, Callback
from simple_dqn.deep_q_network import DeepQNetwork
from simple_dqn.environment import TimeStep
from simple_dqn.options.settings import Settings

logger = logging.getLogger(__name__)


class PixelMean(Callback):
    """Measures the mean of all pixels, and has the network subtract it after the phase.

    Attributes:
        mean: on the scale from 0 to 1, four digits; 0 where a game shows no screens.
    """

    def __init__(self, network: DeepQNetwork) -> None:
        self.mean = 0.0
        self._network = network
        self._sum, self._pixels = 0, 0

    def on_step(self, time_step: TimeStep, steps: int, exploration_rate: float) -> None:  # noqa: ARG002
        """Add the screens of a step."""
        screens = time_step.observations  # (num_games, height, width)
        if screens.dtype == np.uint8 and screens.ndim == 3:
            self._sum += int(screens.sum(dtype=np.int64))
            self._pixels += screens.size

    def on_phase_end(self) -> None:
        """Pass the mean on, before the statistics ask for Q-values."""
        if self._pixels:
            self.mean = round(self._sum / self._pixels / 255, 4)
            logger.info("pixel mean %.4f", self.mean)
            self._network.set_pixel_mean(self.mean)


def play_random(settings: Settings, agent: Agent, network: DeepQNetwork) -> Settings:
    """Play the random phase, and measure the pixel mean in it if it is `auto`.

    No Q-value is needed before the mean is known, since all actions are random.

    Returns:
        The settings, with a number as pixel mean.
    """
    if settings.pixel_mean != "auto":
        agent.play_random(settings.random_steps)
        return settings
    mean = PixelMean(network)
    agent.callbacks.insert(0, mean)
    agent.play_random(settings.random_steps)
    agent.callbacks.remove(mean)
    return dataclasses.replace(settings, pixel_mean=mean.mean)
