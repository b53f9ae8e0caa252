"""Any Gymnasium environment with discrete actions.

Importing this module registers Atari's games with Gymnasium (`ALE/Breakout-v5`, `Breakout-v0`), and
Grid World (`simple_dqn/GridWorld-v0`).
"""

import contextlib
import logging
import re
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import ale_py
import gymnasium
import numpy as np
import numpy.typing as npt
from gymnasium.wrappers import TimeLimit

from simple_dqn.environment import Environment, Observations, TimeStep
from simple_dqn.environments import grid_world
from simple_dqn.environments.gym_observations import pictures, reading_of
from simple_dqn.errors import UserError

logger = logging.getLogger(__name__)

gymnasium.register_envs(ale_py)
gymnasium.register_envs(grid_world)

_MOST_ACTIONS = 256  # the replay memory keeps an action in a byte
# Names of actions that Gymnasium's own environments do not give, by the beginning of an id.
_ACTION_NAMES = {
    "CartPole": "LEFT RIGHT",
    "MountainCar": "LEFT NOOP RIGHT",
    "Acrobot": "LEFT NOOP RIGHT",
    "LunarLander": "NOOP LEFT UP RIGHT",  # fire the left, the main, the right engine
    "CarRacing": "NOOP RIGHT LEFT UP DOWN",
    "FrozenLake": "LEFT DOWN RIGHT UP",
    "CliffWalking": "UP RIGHT DOWN LEFT",
    "Taxi": "DOWN UP RIGHT LEFT FIRE DROP",  # fire: pick up
    "Blackjack": "STICK HIT",
    "FlappyBird": "NOOP FIRE",
    "MinAtar": "NOOP LEFT UP RIGHT DOWN FIRE",
}


class GymEnvironment(Environment):
    """Several copies of a Gymnasium environment, played by Gymnasium's own vector environment.

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
        rendered: bool = False,
        options: Mapping[str, Any] | None = None,
        max_steps: int | None = None,
    ) -> None:
        """Make the environments.

        Args:
            environment_id: such as `CartPole-v1`, or `module:Id` to import a module before.
            num_games: how many of them.
            screen_shape: (height, width), where observations are pictures.
            rendered: an observation is what the environment renders, not what it observes.
            options: keyword arguments of the environment.
            max_steps: after which a game is cut; None: after as many as the environment says.

        Raises:
            UserError: no such environment, its actions are not discrete, or nothing can be learned
                from its observations.
        """
        self._games: gymnasium.vector.SyncVectorEnv = make_gymnasium(
            gymnasium.make_vec,
            environment_id,
            {
                "num_envs": num_games,
                "vectorization_mode": "sync",
                "vector_kwargs": {"autoreset_mode": gymnasium.vector.AutoresetMode.SAME_STEP},
                "wrappers": [partial(TimeLimit, max_episode_steps=max_steps)] if max_steps else [],
                **({"render_mode": "rgb_array"} if rendered else {}),
            },
            options or {},
        )
        self._environment_id = environment_id
        self._rendered = rendered
        space = self._games.single_action_space
        self.num_actions, self._first_action = check_actions(environment_id, space)
        own_limit = self._games.spec.max_episode_steps if self._games.spec else None
        if max_steps is not None and (own_limit is None or own_limit > max_steps):
            logger.info(
                "%s: games in tests are cut after %s steps", environment_id, f"{max_steps:,}"
            )
        self.num_games = num_games
        self._copies = list(self._games.envs)
        self.action_meanings = action_names(environment_id, self._copies[0], self.num_actions)
        self._reading = (
            pictures(screen_shape)
            if rendered
            else reading_of(self._games.single_observation_space, screen_shape)
        )
        self.observation_shape, self.observation_dtype, _ = self._reading
        self._actions = np.zeros(num_games, np.int64)
        self._steps = 0  # since the last restart

    def restart(self, seed: int) -> Observations:
        """Start new games; see the base class."""
        seeds = np.random.SeedSequence(seed).generate_state(self.num_games)
        self._steps = 0
        with mistakes_told(self._environment_id, "reset", self._steps):
            seen, _ = self._games.reset(seed=seeds.tolist())
        return self._observations(seen)

    def act(self, actions: npt.NDArray[np.int64]) -> None:
        """Remember the actions; see the base class."""
        self._actions[:] = actions

    def observe(self) -> TimeStep:
        """Play the step, game after game; see the base class."""
        self._steps += 1
        with mistakes_told(self._environment_id, "step", self._steps):
            seen, rewards, terminals, cuts, _ = self._games.step(self._actions + self._first_action)
        observations = self._observations(seen)
        return TimeStep(observations, rewards.astype(np.float32), terminals, terminals | cuts)

    def close(self) -> None:
        """Close the environments."""
        self._games.close()

    def _observations(self, seen: Any) -> Observations:
        """Turn what the environments show, or render, into observations."""
        if not self._rendered:
            if not isinstance(seen, np.ndarray):  # a dictionary or a tuple of arrays
                seen = list(gymnasium.vector.utils.iterate(self._games.observation_space, seen))
            return self._reading.read(seen)
        return self._reading.read(
            [render(self._environment_id, game, self._steps) for game in self._copies]
        )


def make_gymnasium(
    make: Callable[..., Any],
    environment_id: str,
    keywords: Mapping[str, Any],
    options: Mapping[str, Any],
) -> Any:
    """Call a function of Gymnasium that makes environments.

    Args:
        make: the function.
        environment_id: such as `CartPole-v1` or `module:Id`.
        keywords: keyword arguments that we give.
        options: keyword arguments that the user gives.

    Raises:
        UserError: there is no such environment, or making it failed.
    """
    try:
        return make(environment_id, **keywords, **options)
    except UserError:  # of our own environment
        raise
    except Exception as error:  # whatever someone else's environment raises
        told = _line(error) or type(error).__name__
        given = f" with {dict(options)}" if options else ""
        raise UserError(f"Gymnasium cannot make {environment_id!r}{given}: {told}") from error


def check_actions(environment_id: str, space: gymnasium.Space[Any]) -> tuple[int, int]:
    """Return the number of actions and the environment's own number of the first.

    Raises:
        UserError: the actions are not discrete, or too many.
    """
    if not isinstance(space, gymnasium.spaces.Discrete) or space.n > _MOST_ACTIONS:
        raise UserError(
            f"{environment_id} has the actions {space}; discrete ones are needed, at most "
            f"{_MOST_ACTIONS}"
        )
    return int(space.n), int(space.start)


def action_names(environment_id: str, game: Any, number: int) -> tuple[str, ...]:
    """Name the actions: as the environment does, as we know it, or by their numbers.

    Two actions without a name are LEFT and RIGHT, three are LEFT, NOOP and RIGHT.

    Args:
        environment_id: as given.
        game: one of the environments.
        number: of actions.
    """
    tell = getattr(game.unwrapped, "get_action_meanings", None)
    if tell is not None:
        # NB! Names are in snapshots, as single words.
        told = tuple(re.sub(r"\W+", "_", str(name), flags=re.ASCII)[:40] for name in tell())
        if len(told) == number == len(set(told)) and all(told):
            return told
    own = re.split("[:/]", environment_id)
    for beginning, text in _ACTION_NAMES.items():
        names = tuple(text.split())
        if any(part.startswith(beginning) for part in own) and len(names) == number:
            return names
    default = {2: ("LEFT", "RIGHT"), 3: ("LEFT", "NOOP", "RIGHT")}
    return default.get(number, tuple(str(action) for action in range(number)))


@contextlib.contextmanager
def mistakes_told(environment_id: str, call: str, steps: int) -> Iterator[None]:
    """Tell in one line what goes wrong in an environment's own code.

    Args:
        environment_id: as given.
        call: name of the method that is called.
        steps: played since the environment was restarted.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        raise UserError(
            f"{environment_id} failed in {call}() at step {steps} of the phase: "
            f"{type(error).__name__}: {_line(error)}; the mistake is in the environment's code"
        ) from error


def _line(error: Exception) -> str:
    """The error's text in one line."""
    return " ".join(str(error).split())


def render(environment_id: str, game: gymnasium.Env[Any, Any], steps: int) -> npt.NDArray[Any]:
    """Return what an environment renders: a picture of any kind that `to_bytes` knows.

    Raises:
        UserError: it renders no picture.
    """
    with mistakes_told(environment_id, "render", steps):
        try:
            picture = game.render()
        except (gymnasium.error.Error, ImportError) as error:
            raise UserError(f"{environment_id} cannot be shown: {error}") from error
    if not isinstance(picture, np.ndarray) or picture.ndim not in {2, 3}:
        raise UserError(
            f"{environment_id} renders no picture; choose an environment that does, or leave out "
            "--observations pictures"
        )
    return picture
