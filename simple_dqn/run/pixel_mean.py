"""`--pixel_mean auto`: the mean of a game's screens, measured before its network is made."""

import contextlib
import dataclasses
import logging

import numpy as np

from simple_dqn.environment import TimeStep
from simple_dqn.environments.roms import Game
from simple_dqn.errors import UserError
from simple_dqn.options.settings import Settings
from simple_dqn.run import parts

logger = logging.getLogger(__name__)


class _MeanScreen:
    """A callback that adds up what the games show."""

    def __init__(self) -> None:
        self._sum, self._pixels = 0, 0

    @property
    def mean(self) -> float:
        """Of all pixels so far, on the scale from 0 to 1."""
        return self._sum / self._pixels / 255

    def on_phase_start(self, phase: str, epoch: int, total: int, unit: str) -> None:
        """Nothing."""

    def on_step(self, time_step: TimeStep, steps: int, exploration_rate: float) -> None:  # noqa: ARG002
        """Add the screens of a step."""
        self._sum += int(time_step.observations.sum(dtype=np.int64))
        self._pixels += time_step.observations.size

    def on_phase_end(self) -> None:
        """Nothing."""


def with_measured_mean(settings: Settings, game: Game) -> Settings:
    """Put a number in the place of `auto`: the mean of the screens of the random phase.

    The phase is played beforehand for this, because network and rows of a run need the number from
    the start. The run's own random phase then shows the same screens.

    Args:
        settings: of the run, with a random seed.
        game: that is played.

    Returns:
        The settings with a number of four digits, 0 where a game shows no screens; if they had a
        number before, the same settings.

    Raises:
        UserError: the run has no random phase.
    """
    if settings.pixel_mean != "auto":
        return settings
    if not settings.random_steps:
        raise UserError(
            "--pixel_mean auto is measured in the random phase, but --random_steps is 0; give more "
            "--random_steps or a number"
        )
    threads, seed = parts.choose_threads(settings), settings.random_seed or 0
    settings = dataclasses.replace(settings, pixel_mean=0.0)
    made = parts.make_environment(settings, game, threads, training=True)
    with contextlib.closing(made) as environment:
        shape = environment.observation_shape
        if environment.observation_dtype != np.uint8 or len(shape) != 2:
            return settings
        lane_size = settings.batch_size + parts.history_length(settings, shape) + settings.n_step
        small = lane_size * settings.num_games
        memory = parts.make_memory(settings, small, environment, threads)
        network = parts.make_network(settings, environment.num_actions, shape, threads, seed)
        agent = parts.make_agent(settings, environment, environment, memory, network, seed)
        screens = _MeanScreen()
        agent.callbacks.append(screens)
        logger.info("measuring the pixel mean in the random phase, which then is played again")
        agent.play_random(settings.random_steps)
    logger.info("pixel mean %.4f", screens.mean)
    return dataclasses.replace(settings, pixel_mean=round(screens.mean, 4))
