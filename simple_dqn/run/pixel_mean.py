"""`--pixel_mean auto`: the mean of a game's screens, measured in the random phase."""

import logging

import numpy as np

from simple_dqn.agent import Callback
from simple_dqn.deep_q_network import DeepQNetwork
from simple_dqn.environment import TimeStep

logger = logging.getLogger(__name__)


class PixelMean(Callback):
    """Measures the mean of all pixels in a phase; at its end the network learns of the mean.

    No Q-value is needed before that, since all actions of the random phase are random.

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
        """Have the network subtract the mean, before the statistics ask for Q-values."""
        if self._pixels:
            self.mean = round(self._sum / self._pixels / 255, 4)
            logger.info("pixel mean %.4f", self.mean)
            self._network.set_pixel_mean(self.mean)
