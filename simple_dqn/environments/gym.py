"""Any Gymnasium environment with discrete actions.

Importing this module registers Atari's games with Gymnasium (`ALE/Breakout-v5`, `Breakout-v0`), and
Grid World (`simple_dqn/GridWorld-v0`).
"""

import logging
import re
import sys
from collections.abc import Callable, Mapping
from functools import cache, partial
from types import MappingProxyType
from typing import Any

import ale_py
import gymnasium
import numpy as np
import numpy.typing as npt
from typing_extensions import override

from simple_dqn.environment import Observations
from simple_dqn.environments import grid_world
from simple_dqn.environments.gym_observations import check, reading_of, to_numbers
from simple_dqn.environments.screens import to_rgb
from simple_dqn.environments.visible_game import VisibleGame, VisibleGames
from simple_dqn.errors import UserError

logger = logging.getLogger(__name__)

gymnasium.register_envs(ale_py)
gymnasium.register_envs(grid_world)


@cache  # each message once
def _warn(message: str, *arguments: object, **_: object) -> None:
    """Log a warning of Gymnasium, whose own function writes two lines, with colours and a path."""
    logger.warning("Gymnasium: %s", " ".join((message % arguments).split()))


gymnasium.logger.warn = _warn  # type: ignore[assignment]

# Directions of keys as `get_keys_to_action` names them: letters, or numbers of letters and of
# pygame's arrows.
_LETTERS = {"w": "UP", "a": "LEFT", "s": "DOWN", "d": "RIGHT", " ": "FIRE"}
_ARROWS = {1073741906: "UP", 1073741905: "DOWN", 1073741904: "LEFT", 1073741903: "RIGHT"}
_DIRECTIONS = _LETTERS | _ARROWS | {ord(letter): name for letter, name in _LETTERS.items()}
_FLOAT = np.dtype(np.float32)
_MOST_ACTIONS = 256  # the replay memory keeps an action in a byte
# Names of actions that Gymnasium's own environments do not give, by the beginning of an id.
_ACTION_NAMES = {
    "CartPole": "LEFT RIGHT",
    "MountainCar": "LEFT NOOP RIGHT",
    "Acrobot": "LEFT NOOP RIGHT",
    "LunarLander": "NOOP LEFT UP RIGHT",  # fire the left, the main, the right engine
    "CarRacing": "NOOP RIGHT LEFT UP DOWN",
    "GridWorld": "LEFT DOWN RIGHT UP",
    "FrozenLake": "LEFT DOWN RIGHT UP",
    "CliffWalking": "UP RIGHT DOWN LEFT",
    "Taxi": "DOWN UP RIGHT LEFT FIRE DROP",  # fire: pick up
    "Blackjack": "STICK HIT",
    "FlappyBird": "NOOP FIRE",
    "MinAtar": "NOOP LEFT UP RIGHT DOWN FIRE",
}
# Names of the numbers that some of them observe.
_OBSERVATION_NAMES = {
    "CartPole": "position speed angle turning",
    "MountainCar": "position speed",
    "Acrobot": "cos.1 sin.1 cos.2 sin.2 turning.1 turning.2",
    "LunarLander": "x y speed.x speed.y angle turning left right",
}


class GymEnvironment(VisibleGames):
    """Several copies of a Gymnasium environment.

    A step is the environment's own; a time limit of its own cuts a game without a terminal.

    Deviates: no random no-op starts, since action 0 may do something; the environment's own reset
    is random enough.
    """

    def __init__(self, *, num_games: int, max_steps: int | None = None, **settings: Any) -> None:
        """Make `num_games` environments; the other settings are those of `GymConsole`.

        A game is cut after `max_steps` steps; None: only by the environment's own limit.
        """
        visible = settings.get("rendered", False)
        games = [GymConsole(**settings, visible=visible) for _ in range(num_games)]
        if max_steps is not None and games[0].max_steps > max_steps:
            name = settings["environment_id"]
            logger.info("%s: games in tests are cut after %s steps", name, f"{max_steps:,}")
        super().__init__(games, max_frames=max_steps or sys.maxsize, shows_cut_games=True)


class GymConsole(VisibleGame):
    """One Gymnasium environment. A frame is a step; there is neither sound nor a way back."""

    def __init__(
        self,
        *,
        environment_id: str,
        screen_shape: tuple[int, int],
        rendered: bool = False,
        options: Mapping[str, Any] = MappingProxyType({}),
        seed: int = 0,
        visible: bool = True,
    ) -> None:
        """Make the environment of an id, `CartPole-v1` or `module:Id`, with keyword `options`.

        Observations that are pictures become screens of `screen_shape`; if `rendered`, they are
        what the environment renders. Not every environment can: then `visible` is False.
        """
        keywords = {"render_mode": "rgb_array"} if visible else {}
        self._game = make_gymnasium(environment_id, options, **keywords)
        self._environment_id, self._rendered = environment_id, rendered
        space = self._game.action_space
        if not isinstance(space, gymnasium.spaces.Discrete) or space.n > _MOST_ACTIONS:
            raise UserError(
                f"{environment_id} has the actions {space}; discrete ones are needed, at most "
                f"{_MOST_ACTIONS}"
            )
        self._first_action = space.start
        self.action_meanings = list(action_names(environment_id, self._game, int(space.n)))
        keys_to_action = getattr(self._game.unwrapped, "get_keys_to_action", dict)
        self.keys = {
            frozenset(_DIRECTIONS[key] for key in keys): int(action)
            for keys, action in keys_to_action().items()
            if all(key in _DIRECTIONS for key in keys)
        }
        space = self._game.observation_space
        self._reading = reading_of(space, screen_shape, rendered=rendered)
        self.observation_shape, self.observation_dtype, _ = self._reading
        known = _OBSERVATION_NAMES.get(environment_id.split("-")[0], "").split()
        self.observation_names = known if (len(known),) == self.observation_shape else ()
        self.frames_per_second = max(1, round(self._game.metadata.get("render_fps") or 30))
        self.max_steps = (self._game.spec and self._game.spec.max_episode_steps) or sys.maxsize
        self._seed: int | None = seed
        self._seen: Any = None

    @override
    def seed(self, seed: int) -> None:
        self._seed = seed

    @override
    def start_game(self, noops: int) -> None:
        self.frames, self.terminal, self.game_over = 0, False, False
        self._seen, _ = self._call("failed in reset()", self._game.reset, seed=self._seed)
        self._seed = None  # what is random continues from game to game

    @override
    def act(self, action: int | None) -> float:
        assert action is not None
        self.frames += 1
        self._seen, reward, self.terminal, cut, _ = self._call(
            "failed in step()", self._game.step, np.int64(action + self._first_action)
        )
        self.game_over = bool(self.terminal or cut)
        self._call("gave a wrong reward", to_numbers, "one", reward, (), _FLOAT)
        return float(reward)

    @override
    def observation(self, frames: int) -> Observations:
        if self._rendered:
            return self._reading.read(self._call("failed in render()", self._game.render))
        self._call("gave a wrong observation", check, self._game.observation_space, self._seen)
        return self._reading.read(self._seen)

    @override
    def picture(self) -> npt.NDArray[np.uint8]:
        return to_rgb(self._call("failed in render()", self._game.render))

    @override
    def close(self) -> None:
        self._game.close()

    def _call(self, what_failed: str, function: Any, *arguments: Any, **keywords: Any) -> Any:
        what = f"{self._environment_id} {what_failed} at step {self.frames} of a game"
        return call(what, partial(function, *arguments, **keywords))


def make_gymnasium(
    environment_id: str, options: Mapping[str, Any], **keywords: Any
) -> gymnasium.Env[Any, Any]:
    """Make an environment with the user's keyword arguments, the options, and ours."""
    given = f" with {dict(options)}" if options else ""
    make = partial(gymnasium.make, environment_id, **{**options, **keywords})
    game: gymnasium.Env[Any, Any] = call(f"Gymnasium cannot make {environment_id!r}{given}", make)
    return game


def action_names(environment_id: str, game: Any, number: int) -> tuple[str, ...]:
    """Name so many actions: as the environment does, as we know it, or by their numbers.

    Two actions without a name are LEFT and RIGHT, three are LEFT, NOOP and RIGHT.
    """
    get_meanings = getattr(game.unwrapped, "get_action_meanings", list)
    # NB! Names are in snapshots, as single words.
    own = tuple(re.sub(r"\W+", "_", str(name), flags=re.ASCII)[:40] for name in get_meanings())
    if len(own) == number == len(set(own)) and all(own):
        return own
    parts = re.split("[:/]", environment_id)
    for beginning, text in _ACTION_NAMES.items():
        names = tuple(text.split())
        if any(part.startswith(beginning) for part in parts) and len(names) == number:
            return names
    default = {2: ("LEFT", "RIGHT"), 3: ("LEFT", "NOOP", "RIGHT")}
    return default.get(number, tuple(str(action) for action in range(number)))


def call(what_fails: str, function: Callable[[], Any]) -> Any:
    """Call an environment's code; whatever it raises becomes a UserError of one line."""
    try:
        return function()
    except UserError:  # of our own environment
        raise
    except (Exception, SystemExit) as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise UserError(
            f"{what_fails}: {reason}; check the environment's code, its options and its "
            "dependencies"
        ) from error
