"""A Gymnasium environment as a person sees it."""

from collections.abc import Mapping
from typing import Any

import cv2
import gymnasium
import numpy as np
import numpy.typing as npt

from simple_dqn.environment import Observations
from simple_dqn.environments.gym import (
    action_names,
    check_actions,
    make_gymnasium,
    mistakes_told,
    render,
)
from simple_dqn.environments.gym_observations import pictures, reading_of
from simple_dqn.environments.screens import to_bytes

_HEIGHT = 420  # pixels of a picture that is shown
# Keys as `get_keys_to_action` names them: letters, or numbers of letters and of pygame's arrows.
_DIRECTIONS = {"w": "UP", "a": "LEFT", "s": "DOWN", "d": "RIGHT", " ": "FIRE"}
_ARROWS = {1073741906: "UP", 1073741905: "DOWN", 1073741904: "LEFT", 1073741903: "RIGHT"}


class GymConsole:
    """One Gymnasium environment as a person sees it; a `watch.watched_game.VisibleGame`.

    A frame is a step of the environment. There is no sound.

    Attributes:
        action_meanings: names of the actions, by number.
        keys: actions by the directions that a person holds down (`UP`, `DOWN`, `LEFT`, `RIGHT`,
            `FIRE`), where the environment says so itself.
        observation_shape: shape of an observation.
        observation_dtype: dtype of an observation.
        frames_per_second: as the environment says, else 30.
        samples_per_frame: 0, since there is no sound.
        can_idle: False, since each step has an action.
        frames: steps played in this game.
        lives: 0.
        terminal: whether no reward can follow.
        game_over: whether the game ended, by a terminal or a time limit.
    """

    samples_per_frame = 0
    can_idle = False
    lives = 0

    def __init__(
        self,
        *,
        environment_id: str,
        screen_shape: tuple[int, int],
        rendered: bool,
        options: Mapping[str, Any],
        seed: int,
    ) -> None:
        """Make the environment; see `GymEnvironment` for the arguments.

        Raises:
            UserError: as `GymEnvironment`, or the environment renders no pictures.
        """
        self._game: gymnasium.Env[Any, Any] = make_gymnasium(
            gymnasium.make, environment_id, {"render_mode": "rgb_array"}, options
        )
        self._environment_id, self._rendered = environment_id, rendered
        number, self._first_action = check_actions(environment_id, self._game.action_space)
        self.action_meanings = list(action_names(environment_id, self._game, number))
        self.keys = _keys_of(self._game.unwrapped)
        self._reading = (
            pictures(screen_shape)
            if rendered
            else reading_of(self._game.observation_space, screen_shape)
        )
        self.observation_shape, self.observation_dtype, _ = self._reading
        self.frames_per_second = round(self._game.metadata.get("render_fps") or 30)
        self.frames = 0
        self.terminal = self.game_over = False
        self._seed: int | None = seed
        self._seen: Any = None

    def start_game(self, noops: int) -> None:  # noqa: ARG002
        """Start a game; no-op frames belong to Atari alone."""
        with mistakes_told(self._environment_id, "reset", 0):
            self._seen, _ = self._game.reset(seed=self._seed)
        self._seed = None  # what is random continues from game to game
        self.frames, self.terminal, self.game_over = 0, False, False

    def act(self, action: int | None) -> float:
        """Play a step; return its reward."""
        assert action is not None
        self.frames += 1
        with mistakes_told(self._environment_id, "step", self.frames):
            step = self._game.step(action + self._first_action)
        self._seen, reward, self.terminal, cut, _ = step
        self.game_over = bool(self.terminal or cut)
        return float(reward)

    def observation(self, frames: int) -> Observations:  # noqa: ARG002
        """Return what the network sees, (*observation_shape)."""
        seen = self._picture() if self._rendered else self._seen
        observation: Observations = self._reading.read([seen])[0]
        return observation

    def picture(self) -> npt.NDArray[np.uint8]:
        """Return what a person sees, uint8 (height, width, 3)."""
        picture = to_bytes(self._picture())
        return picture if picture.ndim == 3 else np.repeat(picture[..., None], 3, axis=2)

    def sound(self) -> npt.NDArray[np.uint8]:
        """Return no samples."""
        return np.zeros(0, np.uint8)

    def keep(self) -> None:
        """Return None: Gymnasium's environments cannot go back."""

    def go_back(self, moment: Any) -> None:
        """Fail, since there is no moment."""
        raise AssertionError(moment)

    def enlarge(self, picture: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """Resize a picture to a height of 420 and an even width."""
        height, width = picture.shape[:2]
        size = (max(2, 2 * round(width * _HEIGHT / height / 2)), _HEIGHT)
        how = cv2.INTER_NEAREST if height <= _HEIGHT // 2 else cv2.INTER_AREA
        return cv2.resize(picture, size, interpolation=how)  # type: ignore[return-value]

    def _picture(self) -> npt.NDArray[Any]:
        return render(self._environment_id, self._game, self.frames)


def _keys_of(game: Any) -> dict[frozenset[str], int]:
    """Actions by directions held, if the environment has `get_keys_to_action`."""
    tell = getattr(game, "get_keys_to_action", None)
    keys: dict[frozenset[str], int] = {}
    for combination, action in (tell() if tell is not None else {}).items():
        held = [_direction(key) for key in combination]
        if None not in held:
            keys[frozenset(str(direction) for direction in held)] = int(action)
    return keys


def _direction(key: str | int) -> str | None:
    if isinstance(key, int):
        return _ARROWS.get(key) or (_DIRECTIONS.get(chr(key)) if key < 128 else None)
    return _DIRECTIONS.get(key)
