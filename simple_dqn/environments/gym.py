"""Any Gymnasium environment with discrete actions, seen as pictures."""

import contextlib
import logging
from collections.abc import Iterator
from functools import partial
from typing import Any

import gymnasium
import numpy as np
import numpy.typing as npt
from gymnasium.wrappers import TimeLimit

from simple_dqn.environment import Environment, TimeStep
from simple_dqn.environments.screens import to_screen
from simple_dqn.errors import UserError

logger = logging.getLogger(__name__)


class GymEnvironment(Environment):
    """Several copies of a Gymnasium environment, played by Gymnasium's own vector environment.

    A screen is the observation if the observation is a picture, else what the environment renders.
    A step is the environment's own; a time limit of its own cuts a game without a terminal.

    Deviates: no random no-op starts, since action 0 may do something; the environment's own reset
    is random enough.
    """

    def __init__(
        self,
        *,
        environment_id: str,
        num_games: int,
        screen_shape: tuple[int, int],
        max_steps: int | None = None,
    ) -> None:
        """Make the environments.

        Args:
            environment_id: such as `CartPole-v1`.
            num_games: how many of them.
            screen_shape: (height, width).
            max_steps: after which a game is cut; None: after as many as the environment says.

        Raises:
            UserError: no such environment, or its actions are not discrete.
        """
        try:
            self._games = gymnasium.make_vec(
                environment_id,
                num_envs=num_games,
                vectorization_mode="sync",
                vector_kwargs={"autoreset_mode": gymnasium.vector.AutoresetMode.SAME_STEP},
                render_mode="rgb_array",
                wrappers=[]
                if max_steps is None
                else [partial(TimeLimit, max_episode_steps=max_steps)],
            )
        except Exception as error:  # the environment's own code may raise anything
            raise UserError(f"Gymnasium cannot make {environment_id!r}: {_line(error)}") from error
        space = self._games.single_action_space
        if not isinstance(space, gymnasium.spaces.Discrete) or space.start != 0 or space.n > 256:
            raise UserError(f"{environment_id} has the actions {space}; discrete ones are needed")
        own_limit = self._games.spec.max_episode_steps if self._games.spec else None
        if max_steps is not None and (own_limit is None or own_limit > max_steps):
            logger.info(
                "%s: games in tests are cut after %s steps", environment_id, f"{max_steps:,}"
            )
        seen = self._games.single_observation_space
        shape = seen.shape or ()
        is_picture = len(shape) == 2 or (len(shape) == 3 and shape[2] == 3)
        self._sees_pictures = seen.dtype == np.uint8 and is_picture
        self._environment_id = environment_id
        self.num_games = num_games
        self.num_actions = int(space.n)
        self.action_meanings = tuple(str(action) for action in range(self.num_actions))
        self.observation_shape = self._screen_shape = screen_shape
        self.observation_dtype = np.dtype(np.uint8)
        self._actions = np.zeros(num_games, np.int64)
        self._steps = 0  # since the last restart

    def restart(self, seed: int) -> npt.NDArray[np.uint8]:
        """Start new games; see the base class."""
        seeds = np.random.SeedSequence(seed).generate_state(self.num_games)
        self._steps = 0
        with self._told("reset"):
            seen, _ = self._games.reset(seed=seeds.tolist())
        return self._screens(seen)

    def act(self, actions: npt.NDArray[np.int64]) -> None:
        """Remember the actions; see the base class."""
        self._actions[:] = actions

    def observe(self) -> TimeStep:
        """Play the step, game after game; see the base class."""
        self._steps += 1
        with self._told("step"):
            seen, rewards, terminals, cuts, _ = self._games.step(self._actions)
        screens = self._screens(seen)
        return TimeStep(screens, rewards.astype(np.float32), terminals, terminals | cuts)

    def close(self) -> None:
        """Close the environments."""
        self._games.close()

    @contextlib.contextmanager
    def _told(self, call: str) -> Iterator[None]:
        """Tell in one line what goes wrong in the environment's own code."""
        try:
            yield
        except UserError:
            raise
        except Exception as error:
            raise UserError(
                f"{self._environment_id} failed in {call}() at step {self._steps} of the phase: "
                f"{type(error).__name__}: {_line(error)}; the mistake is in the environment's code"
            ) from error

    def _screens(self, seen: Any) -> npt.NDArray[np.uint8]:
        """Show all games, given what the environments observe."""
        with self._told("render"):
            try:
                pictures: Any = seen if self._sees_pictures else self._games.render()
            except gymnasium.error.Error as error:
                raise UserError(f"{self._environment_id} cannot be shown: {error}") from error
        if pictures is None or not isinstance(pictures[0], np.ndarray):
            raise UserError(
                f"{self._environment_id} renders no picture; choose an environment that does"
            )
        return np.stack([to_screen(picture, self._screen_shape) for picture in pictures])


def _line(error: Exception) -> str:
    """The error's text in one line."""
    return " ".join(str(error).split())
