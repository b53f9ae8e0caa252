"""Any Gymnasium environment with discrete actions, seen as pictures."""

import gymnasium
import numpy as np
import numpy.typing as npt

from simple_dqn.environment import Environment, TimeStep
from simple_dqn.environments.screens import to_screen
from simple_dqn.errors import UserError


class GymEnvironment(Environment):
    """Gymnasium environments played one after the other.

    A screen is the observation if that is a picture, else what the environment renders. A step is
    the environment's own; a time limit of its own cuts a game without a terminal.

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
            self._games = [
                gymnasium.make(environment_id, render_mode="rgb_array") for _ in range(num_games)
            ]
        except (gymnasium.error.Error, ImportError) as error:
            raise UserError(f"Gymnasium cannot make {environment_id!r}: {error}") from error
        space = self._games[0].action_space
        if not isinstance(space, gymnasium.spaces.Discrete) or space.start != 0 or space.n > 256:
            raise UserError(f"{environment_id} has the actions {space}; discrete ones are needed")
        seen = self._games[0].observation_space
        shape = seen.shape or ()
        is_picture = len(shape) == 2 or (len(shape) == 3 and shape[2] == 3)
        self._sees_pictures = seen.dtype == np.uint8 and is_picture
        self.num_games = num_games
        self.num_actions = int(space.n)
        self.action_meanings = tuple(str(action) for action in range(self.num_actions))
        self.observation_shape = self._screen_shape = screen_shape
        self.observation_dtype = np.dtype(np.uint8)
        self._actions = np.zeros(num_games, np.int64)

    def restart(self, seed: int) -> npt.NDArray[np.uint8]:
        """Start new games; see the base class."""
        seeds = np.random.SeedSequence(seed).generate_state(self.num_games)
        return np.stack(
            [
                self._screen(game, game.reset(seed=int(s))[0])
                for game, s in zip(self._games, seeds, strict=True)
            ]
        )

    def act(self, actions: npt.NDArray[np.int64]) -> None:
        """Remember the actions; see the base class."""
        self._actions[:] = actions

    def observe(self) -> TimeStep:
        """Play the step, game after game; see the base class."""
        screens = np.empty((self.num_games, *self._screen_shape), np.uint8)
        rewards = np.zeros(self.num_games, np.float32)
        terminals = np.zeros(self.num_games, np.bool_)
        game_overs = np.zeros(self.num_games, np.bool_)
        for i, (game, action) in enumerate(zip(self._games, self._actions, strict=True)):
            seen, reward, terminal, cut, _ = game.step(int(action))
            if terminal or cut:
                seen, _ = game.reset()
            screens[i], rewards[i] = self._screen(game, seen), reward
            terminals[i], game_overs[i] = terminal, terminal or cut
        return TimeStep(screens, rewards, terminals, game_overs)

    def close(self) -> None:
        """Close the environments."""
        for game in self._games:
            game.close()

    def _screen(self, game: "gymnasium.Env[object, int]", seen: object) -> npt.NDArray[np.uint8]:
        try:
            picture = seen if self._sees_pictures else game.render()
        except gymnasium.error.Error as error:
            raise UserError(f"{game} cannot be shown: {error}") from error
        if not isinstance(picture, np.ndarray):
            raise UserError(f"{game} renders no picture; choose an environment that does")
        return to_screen(picture, self._screen_shape)
