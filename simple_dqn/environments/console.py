"""Atari games frame by frame, in Python.

This is slower than the vector engine of `atari.py`, but each frame can be seen and heard.
"""

from pathlib import Path

import ale_py
import numpy as np
import numpy.typing as npt

from simple_dqn.environment import Environment, TimeStep
from simple_dqn.environments.screens import to_screen


class Console:
    """One Atari game, one frame at a time.

    Attributes:
        ale: the emulator.
        actions: legal actions, by number.
        frames: number of frames played in this game, without the no-op frames at its start.
    """

    def __init__(
        self,
        *,
        rom_path: Path,
        repeat_action_probability: float,
        minimal_action_set: bool,
        color_averaging: bool,
        seed: int,
        sound: bool = False,
    ) -> None:
        """Switch the console on.

        Args:
            rom_path: a checked ROM file.
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

    def start_game(self, noops: int) -> npt.NDArray[np.uint8]:
        """Start a game with `noops` no-op frames; return its luminance, uint8 (210, 160)."""
        self.ale.reset_game()
        for _ in range(noops):
            self.ale.act(ale_py.Action.NOOP)
            if self.ale.game_over():
                self.ale.reset_game()
        self.frames = 0
        self._before = self._now = self.ale.getScreenGrayscale()
        return self._now

    def act(self, action: int) -> float:
        """Play a frame; return its reward."""
        reward = self.ale.act(self.actions[action])
        self.frames += 1
        self._before, self._now = self._now, self.ale.getScreenGrayscale()
        return float(reward)

    def luminance(self, frames: int) -> npt.NDArray[np.uint8]:
        """Return what a step of `frames` frames shows, uint8 (210, 160).

        This is the maximum of its last two frames; it is the last frame alone if the step has one
        frame or if ALE averages colours.
        """
        if frames > 1 and not self._color_averaging:
            return np.maximum(self._before, self._now)
        return self._now


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
            "repeat_action_probability": repeat_action_probability,
            "minimal_action_set": minimal_action_set,
            "color_averaging": color_averaging,
        }
        self._frame_skip = frame_skip
        self._random_starts = random_starts
        self._lost_life_is_terminal = lost_life_is_terminal
        self._max_frames = max_frames
        self._switch_on(0)
        self.action_meanings = tuple(action.name for action in self._consoles[0].actions)
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
            screens[i] = (
                self._start(i)
                if game_overs[i]
                else to_screen(console.luminance(frames), self._screen_shape)
            )
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
        return to_screen(self._consoles[game].start_game(noops), self._screen_shape)
