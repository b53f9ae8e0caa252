"""Atari games frame by frame, in Python.

This is slower than the vector engine of `atari.py`, but each frame can be seen and heard.
"""

from pathlib import Path
from typing import Any

import ale_py
import cv2
import numpy as np
import numpy.typing as npt
from typing_extensions import override

from simple_dqn.environments.screens import to_screen
from simple_dqn.environments.visible_game import VisibleGame, VisibleGames


class Console(VisibleGame):
    """One Atari game, one frame at a time, on an emulator with the settings of `ALEEnvironment`.

    The names of the actions say their keys. The joystick can be left alone, also in games without
    NOOP. Nothing cuts a game.
    """

    frames_per_second = 60
    sample_rate = 60 * 512
    can_idle = True
    _now: npt.NDArray[np.uint8]  # luminance of the last frame

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
        """Switch the console on; see `ALEEnvironment` for the settings.

        With `color_averaging` ALE blends each frame with the one before, favouring the brighter.
        `seed` has 31 bits. With `sound` the emulator makes the sound of each frame.
        """
        ale_py.ALEInterface.setLoggerMode(ale_py.LoggerMode.Error)
        self.ale = ale_py.ALEInterface()
        self.ale.setInt("frame_skip", 1)
        self.ale.setFloat("repeat_action_probability", repeat_action_probability)
        self.ale.setBool("color_averaging", color_averaging)
        self.ale.setBool("sound_obs", sound)
        self._mean = 128.0  # of the sound
        self._rom_path = rom_path
        self.seed(seed)
        self._color_averaging = color_averaging
        self.start_game(0)
        self.actions = (
            self.ale.getMinimalActionSet() if minimal_action_set else self.ale.getLegalActionSet()
        )
        self.action_meanings = [action.name for action in self.actions]
        self.keys = {}
        self.observation_shape = self._screen_shape = screen_shape
        self.observation_dtype = np.dtype(np.uint8)

    @override
    def seed(self, seed: int) -> None:
        self.ale.setInt("random_seed", seed)
        self.ale.loadROM(self._rom_path)

    @override
    def start_game(self, noops: int) -> None:
        self.ale.reset_game()
        for _ in range(noops):
            self.ale.act(ale_py.Action.NOOP)
            if self.ale.game_over():
                self.ale.reset_game()
        self.frames = 0
        self._look()
        self._before = self._now

    @override
    def act(self, action: int | None) -> float:
        reward = self.ale.act(ale_py.Action.NOOP if action is None else self.actions[action])
        self.frames += 1
        self._before = self._now
        self._look()
        return float(reward)

    @override
    def observation(self, frames: int) -> npt.NDArray[np.uint8]:
        """Return the screen of a step of `frames` frames, uint8 (height, width).

        This is the maximum of its last two frames; it is the last frame alone if the step has one
        frame, if the game just started or if ALE averages colours.
        """
        luminance = self._now
        if frames > 1 and not self._color_averaging:
            luminance = np.maximum(self._before, self._now)
        return to_screen(luminance, self._screen_shape)

    @override
    def picture(self) -> npt.NDArray[np.uint8]:
        """Return the last frame, RGB, uint8 (height, 160, 3); 210 to 250 high."""
        picture: npt.NDArray[np.uint8] = self.ale.getScreenRGB()
        return picture

    @override
    def sound(self) -> npt.NDArray[np.uint8]:
        """Return the sound of the last frame around 128, which ALE's samples are all above."""
        samples, before = self.ale.getAudio(), self._mean
        self._mean = 0.9 * before + 0.1 * samples.mean()  # over some ten frames
        centred = samples - np.linspace(before, self._mean, len(samples)) + 128
        return centred.round().clip(0, 255).astype(np.uint8)

    @override
    def keep(self) -> object:
        return self.ale.cloneState(), self._before, self._now, self.frames

    @override
    def go_back(self, moment: Any) -> None:
        """Continue from a moment that `keep` returned.

        NB! `picture` and `sound` stay those of the last frame until the next one is played.
        """
        state, self._before, now, self.frames = moment
        self.ale.restoreState(state)
        self._look()
        self._now = now

    @override
    def enlarge(self, picture: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """Repeat the pixels, which are twice as wide as high: uint8 (2 * height, 4 * width, 3)."""
        height, width = picture.shape[:2]
        return cv2.resize(picture, (4 * width, 2 * height), interpolation=cv2.INTER_NEAREST)  # type: ignore[return-value]

    @override
    def close(self) -> None:
        del self.ale

    def _look(self) -> None:
        self._now = self.ale.getScreenGrayscale()
        self.lives = int(self.ale.lives())
        self.terminal = self.game_over = bool(self.ale.game_over())


class ConsoleEnvironment(VisibleGames):
    """`ALEEnvironment` in Python, for what the vector engine cannot do: averaging colours."""

    def __init__(self, *, num_games: int, **settings: Any) -> None:
        """See `ALEEnvironment`; the settings are those of `Console` and of `VisibleGames`."""
        of_all = ("frame_skip", "random_starts", "lost_life_is_terminal", "max_frames")
        rules = {name: settings.pop(name) for name in of_all}
        super().__init__([Console(**settings, seed=0) for _ in range(num_games)], **rules)
