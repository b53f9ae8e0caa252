"""Atari games frame by frame, in Python.

This is slower than the vector engine of `atari.py`, but each frame can be seen and heard.
"""

from pathlib import Path
from typing import Any

import ale_py
import cv2
import numpy as np
import numpy.typing as npt

from simple_dqn.environment import Environment, TimeStep
from simple_dqn.environments.screens import to_screen


class Console:
    """One Atari game, one frame at a time; a `watch.watched_game.VisibleGame`.

    Attributes:
        ale: the emulator.
        actions: legal actions, by number.
        action_meanings: their names.
        keys: empty, since the names of the actions say their keys.
        observation_shape: (height, width) of a screen.
        observation_dtype: uint8.
        frames_per_second: 60.
        samples_per_frame: samples of sound, 8 bits each, mono.
        can_idle: True, since the joystick can be left alone in games without NOOP too.
        frames: number of frames played in this game, without the no-op frames at its start.
    """

    frames_per_second = 60
    samples_per_frame = 512
    can_idle = True

    def __init__(
        self,
        *,
        rom_path: Path,
        screen_shape: tuple[int, int],
        repeat_action_probability: float,
        minimal_action_set: bool,
        color_averaging: bool,
        seed: int,
        sound: bool = False,
    ) -> None:
        """Switch the console on.

        Args:
            rom_path: a checked ROM file.
            screen_shape: (height, width) of a screen.
            repeat_action_probability: probability per frame that the last action is repeated.
            minimal_action_set: offer only the game's own actions, not all 18.
            color_averaging: ALE blends each frame with the one before, favouring the brighter.
            seed: seed of the emulator's randomness, 31 bits.
            sound: whether `ale` makes the sound of each frame.
        """
        ale_py.ALEInterface.setLoggerMode(ale_py.LoggerMode.Error)
        self.ale = ale_py.ALEInterface()
        self.ale.setInt("random_seed", seed)
        self.ale.setInt("frame_skip", 1)
        self.ale.setFloat("repeat_action_probability", repeat_action_probability)
        self.ale.setBool("color_averaging", color_averaging)
        self.ale.setBool("sound_obs", sound)
        self.ale.loadROM(rom_path)
        self._color_averaging = color_averaging
        self._before = self._now = self.ale.getScreenGrayscale()
        self.frames = 0
        self.actions = (
            self.ale.getMinimalActionSet() if minimal_action_set else self.ale.getLegalActionSet()
        )
        self.action_meanings = [action.name for action in self.actions]
        self.keys: dict[frozenset[str], int] = {}
        self.observation_shape: tuple[int, ...] = screen_shape
        self.observation_dtype: np.dtype[Any] = np.dtype(np.uint8)
        self._screen_shape = screen_shape

    @property
    def lives(self) -> int:
        """Lives that are left; 0 in games without lives."""
        return int(self.ale.lives())

    @property
    def game_over(self) -> bool:
        """Whether the game ended."""
        return bool(self.ale.game_over())

    @property
    def terminal(self) -> bool:
        """Whether no reward can follow: the same, since nothing cuts a game of a console."""
        return self.game_over

    def start_game(self, noops: int) -> None:
        """Start a game with `noops` no-op frames."""
        self.ale.reset_game()
        for _ in range(noops):
            self.ale.act(ale_py.Action.NOOP)
            if self.ale.game_over():
                self.ale.reset_game()
        self.frames = 0
        self._before = self._now = self.ale.getScreenGrayscale()

    def act(self, action: int | None) -> float:
        """Play a frame with an action, or with the joystick left alone; return its reward."""
        reward = self.ale.act(ale_py.Action.NOOP if action is None else self.actions[action])
        self.frames += 1
        self._before, self._now = self._now, self.ale.getScreenGrayscale()
        return float(reward)

    def observation(self, frames: int) -> npt.NDArray[np.uint8]:
        """Return the screen of a step of `frames` frames, uint8 (height, width).

        This is the maximum of its last two frames; it is the last frame alone if the step has one
        frame, if the game just started or if ALE averages colours.
        """
        luminance = self._now
        if frames > 1 and not self._color_averaging:
            luminance = np.maximum(self._before, self._now)
        return to_screen(luminance, self._screen_shape)

    def picture(self) -> npt.NDArray[np.uint8]:
        """Return the last frame, RGB, uint8 (height, 160, 3); 210 to 250 high."""
        picture: npt.NDArray[np.uint8] = self.ale.getScreenRGB()
        return picture

    def sound(self) -> npt.NDArray[np.uint8]:
        """Return the sound of the last frame, uint8 (samples_per_frame,); 128 is silence."""
        samples: npt.NDArray[np.uint8] = self.ale.getAudio()
        return samples

    def keep(self) -> object:
        """Return this moment of the game, for `go_back`."""
        return self.ale.cloneState(), self._before, self._now, self.frames

    def go_back(self, moment: Any) -> None:
        """Go on from a moment that `keep` returned.

        NB! `picture` and `sound` are those of the last frame, which was another one.
        """
        state, self._before, self._now, self.frames = moment
        self.ale.restoreState(state)

    def enlarge(self, picture: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """Enlarge a picture of the console, whose pixels are twice as wide as high.

        Args:
            picture: uint8 (height, width, 3).

        Returns:
            uint8 (2 * height, 4 * width, 3).
        """
        height, width = picture.shape[:2]
        # INTER_NEAREST repeats the pixels exactly.
        return cv2.resize(picture, (4 * width, 2 * height), interpolation=cv2.INTER_NEAREST)  # type: ignore[return-value]


class ConsoleEnvironment(Environment):
    """`ALEEnvironment` in Python, for what the vector engine cannot do: averaging colours."""

    def __init__(
        self,
        *,
        rom_path: Path,
        num_games: int,
        screen_shape: tuple[int, int],
        frame_skip: int,
        repeat_action_probability: float,
        minimal_action_set: bool,
        random_starts: int,
        lost_life_is_terminal: bool,
        max_frames: int,
        color_averaging: bool,
    ) -> None:
        """See `ALEEnvironment` and, for `color_averaging`, `Console`."""
        self.num_games = num_games
        self.observation_shape = self._screen_shape = screen_shape
        self.observation_dtype = np.dtype(np.uint8)
        self._settings = {
            "rom_path": rom_path,
            "screen_shape": screen_shape,
            "repeat_action_probability": repeat_action_probability,
            "minimal_action_set": minimal_action_set,
            "color_averaging": color_averaging,
        }
        self._frame_skip = frame_skip
        self._random_starts = random_starts
        self._lost_life_is_terminal = lost_life_is_terminal
        self._max_frames = max_frames
        self._switch_on(0)
        self.action_meanings = tuple(self._consoles[0].action_meanings)
        self.num_actions = len(self.action_meanings)
        self._actions = np.zeros(num_games, np.int64)

    def restart(self, seed: int) -> npt.NDArray[np.uint8]:
        """Start new games; see the base class."""
        self._switch_on(seed)
        return np.stack([self._start(i) for i in range(self.num_games)])

    def act(self, actions: npt.NDArray[np.int64]) -> None:
        """Remember the actions; see the base class."""
        self._actions[:] = actions

    def observe(self) -> TimeStep:
        """Play the step, game after game; see the base class."""
        screens = np.empty((self.num_games, *self._screen_shape), np.uint8)
        rewards = np.zeros(self.num_games, np.float32)
        terminals = np.zeros(self.num_games, np.bool_)
        game_overs = np.zeros(self.num_games, np.bool_)
        for i, (console, action) in enumerate(zip(self._consoles, self._actions, strict=True)):
            ale = console.ale
            lives = ale.lives()
            frames = min(self._frame_skip, self._max_frames - console.frames)
            for _ in range(frames):
                rewards[i] += console.act(int(action))
                if ale.game_over():
                    break
            terminals[i] = ale.game_over() or (self._lost_life_is_terminal and ale.lives() < lives)
            game_overs[i] = ale.game_over() or console.frames >= self._max_frames
            screens[i] = self._start(i) if game_overs[i] else console.observation(frames)
        return TimeStep(screens, rewards, terminals, game_overs)

    def close(self) -> None:
        """Switch the consoles off; see the base class."""
        self._consoles.clear()

    def _switch_on(self, seed: int) -> None:
        seeds = np.random.SeedSequence(seed).generate_state(self.num_games) >> 1  # 31 bits
        self._rngs = [np.random.default_rng(s) for s in seeds]  # no game touches another
        self._consoles = [
            Console(**self._settings, seed=int(s))  # type: ignore[arg-type]
            for s in seeds
        ]

    def _start(self, game: int) -> npt.NDArray[np.uint8]:
        noops = int(self._rngs[game].integers(self._random_starts + 1))
        self._consoles[game].start_game(noops)
        return self._consoles[game].observation(1)
