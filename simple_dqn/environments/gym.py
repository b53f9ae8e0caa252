"""Any Gymnasium environment with discrete actions, seen as pictures."""

from typing import Any

import gymnasium
import numpy as np
import numpy.typing as npt

from simple_dqn.environment import Environment, TimeStep
from simple_dqn.environments.screens import to_screen
from simple_dqn.errors import UserError


class GymEnvironment(Environment):
    """Several copies of a Gymnasium environment, played by Gymnasium's own vector environment.

    A screen is the observation if the observation is a picture, else what the environment renders.
    A step is the environment's own; a time limit of its own cuts a game without a terminal.

    Deviates: no random no-op starts, since action 0 may do something; the environment's own reset
    is random enough.
    """

    def __init__(
        self, *, environment_id: str, num_games: int, screen_shape: tuple[int, int]
    ) -> None:
        """Make the environments.

        Args:
            environment_id: such as `CartPole-v1`.
            num_games: how many of them.
            screen_shape: (height, width).

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
            )
        except (gymnasium.error.Error, ImportError) as error:
            raise UserError(f"Gymnasium cannot make {environment_id!r}: {error}") from error
        space = self._games.single_action_space
        if not isinstance(space, gymnasium.spaces.Discrete) or space.start != 0 or space.n > 256:
            raise UserError(f"{environment_id} has the actions {space}; discrete ones are needed")
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

    def restart(self, seed: int) -> npt.NDArray[np.uint8]:
        """Start new games; see the base class."""
        seeds = np.random.SeedSequence(seed).generate_state(self.num_games)
        seen, _ = self._games.reset(seed=seeds.tolist())
        return self._screens(seen)

    def act(self, actions: npt.NDArray[np.int64]) -> None:
        """Remember the actions; see the base class."""
        self._actions[:] = actions

    def observe(self) -> TimeStep:
        """Play the step, game after game; see the base class."""
        seen, rewards, terminals, cuts, _ = self._games.step(self._actions)
        screens = self._screens(seen)
        return TimeStep(screens, rewards.astype(np.float32), terminals, terminals | cuts)

    def close(self) -> None:
        """Close the environments."""
        self._games.close()

    def _screens(self, seen: Any) -> npt.NDArray[np.uint8]:
        """Show all games, given what the environments observe."""
        try:
            pictures: Any = seen if self._sees_pictures else self._games.render()
        except gymnasium.error.Error as error:
            raise UserError(f"{self._environment_id} cannot be shown: {error}") from error
        if pictures is None or not isinstance(pictures[0], np.ndarray):
            raise UserError(
                f"{self._environment_id} renders no picture; choose an environment that does"
            )
        return np.stack([to_screen(picture, self._screen_shape) for picture in pictures])
