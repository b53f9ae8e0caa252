"""What a game needs so that a person can watch and play it; such games as an environment."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from typing_extensions import override

from simple_dqn.environment import Environment, Observations, TimeStep
from simple_dqn.environments.screens import to_rgb


class VisibleGame(ABC):
    """One game, frame by frame: `console.Console` or `gym.GymConsole`."""

    action_meanings: list[str]  # names of the actions, by number
    keys: dict[frozenset[str], int]  # actions by directions held down; empty: their names say them
    observation_shape: tuple[int, ...]  # of what the network sees
    observation_dtype: np.dtype[Any]
    observation_names: Sequence[str] = ()  # of the numbers that the network sees, if they have any
    frames_per_second: int  # of the game's own time
    sample_rate = 0  # samples of sound per second, 8 bits each, mono; 0: the game is silent
    can_idle = False  # a frame can be played without an action
    frames = 0  # played in the current game, without the no-op frames at its start
    lives = 0  # that are left; 0 in games without lives
    terminal = False  # the game ended and no reward can follow
    game_over = False  # the game ended, or was cut by a time limit of its own

    @abstractmethod
    def seed(self, seed: int) -> None:
        """Set the seed, 31 bits, of all games from the next one on."""

    @abstractmethod
    def start_game(self, noops: int) -> None:
        """Start a game, in Atari with a number of no-op frames."""

    @abstractmethod
    def act(self, action: int | None) -> float:
        """Play a frame; return its reward. The action is None only where `can_idle` is true."""

    @abstractmethod
    def observation(self, frames: int) -> Observations:
        """Return what a step of so many frames showed, (*observation_shape)."""

    @abstractmethod
    def picture(self) -> npt.NDArray[np.uint8]:
        """Return what a person sees, uint8 (height, width, 3), RGB."""

    def enlarge(self, picture: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """Enlarge a picture for people, here to a height of 420; both sides are even."""
        height, width = picture.shape[:2]
        size = (max(2, 2 * round(width * 420 / height / 2)), 420)
        how = cv2.INTER_NEAREST if height <= 210 else cv2.INTER_AREA
        return cv2.resize(picture, size, interpolation=how)  # type: ignore[return-value]

    @abstractmethod
    def close(self) -> None:
        """Release what the game holds; it is not used afterwards."""

    def sound(self) -> npt.NDArray[np.uint8]:
        """Return the sound of the last frame, uint8 (samples,); 128 is silence."""
        return np.zeros(0, np.uint8)

    def keep(self) -> object | None:
        """Return this moment of the game, for `go_back`; None: the game cannot go back."""
        return None

    def go_back(self, moment: Any) -> None:
        """Continue from a moment that `keep` returned."""
        raise NotImplementedError


class VisibleGames(Environment):
    """Plays visible games one after another, frame by frame."""

    def __init__(
        self,
        games: Sequence[VisibleGame],
        *,
        max_frames: int,
        frame_skip: int = 1,
        random_starts: int = 0,
        lost_life_is_terminal: bool = False,
        shows_cut_games: bool = False,
    ) -> None:
        """See `ALEEnvironment` for the other arguments.

        `shows_cut_games`: a game that a time limit cuts shows its last observation, and the next
        step, in which nothing is done, starts a new game, as with Gymnasium's
        `AutoresetMode.NEXT_STEP`. So the last step is learned.
        """
        self.num_games = len(games)
        self.action_meanings = tuple(games[0].action_meanings)
        self.num_actions = len(self.action_meanings)
        self.observation_shape = games[0].observation_shape
        self.observation_dtype = games[0].observation_dtype
        self._games, self._frame_skip, self._max_frames = games, frame_skip, max_frames
        self._random_starts, self._shows_cut_games = random_starts, shows_cut_games
        self._lost_life_is_terminal = lost_life_is_terminal
        self._rngs: list[np.random.Generator] = []  # one a game, so that no game affects another
        self._actions = np.zeros(self.num_games, np.int64)
        self._cut = np.zeros(self.num_games, np.bool_)  # games that were cut in the last step

    @override
    def restart(self, seed: int) -> Observations:
        self._cut[:] = False
        # 31 bits each: ALE and some environments of Gymnasium take no more.
        seeds = np.random.SeedSequence(seed).generate_state(self.num_games) >> 1
        self._rngs = [np.random.default_rng(s) for s in seeds]
        for game, own_seed in zip(self._games, seeds, strict=True):
            game.seed(int(own_seed))
        return np.stack([self._start(i) for i in range(self.num_games)])

    @override
    def act(self, actions: npt.NDArray[np.int64]) -> None:
        self._actions[:] = actions

    @override
    def observe(self) -> TimeStep:
        observations = np.empty((self.num_games, *self.observation_shape), self.observation_dtype)
        rewards = np.zeros(self.num_games, np.float32)
        terminals = np.zeros(self.num_games, np.bool_)
        game_overs = np.zeros(self.num_games, np.bool_)
        for i, (game, action) in enumerate(zip(self._games, self._actions, strict=True)):
            if self._cut[i]:
                observations[i], game_overs[i], self._cut[i] = self._start(i), True, False
                continue
            lives = game.lives
            frames = min(self._frame_skip, self._max_frames - game.frames)
            for _ in range(frames):
                rewards[i] += game.act(int(action))
                if game.game_over:
                    break
            terminals[i] = game.terminal or (self._lost_life_is_terminal and game.lives < lives)
            over = game.game_over or game.frames >= self._max_frames
            self._cut[i] = over and not game.terminal and self._shows_cut_games
            game_overs[i] = over and not self._cut[i]
            observations[i] = self._start(i) if game_overs[i] else game.observation(frames)
        return TimeStep(observations, rewards, terminals, game_overs)

    @override
    def close(self) -> None:
        for game in self._games:
            game.close()

    def _start(self, i: int) -> Observations:
        self._games[i].start_game(int(self._rngs[i].integers(self._random_starts + 1)))
        return self._games[i].observation(1)


class OwnGame(VisibleGame):
    """The only game of a person's own environment; its `render()` is the picture that is shown."""

    frames_per_second = 15  # a frame is a step

    def __init__(self, environment: Environment, seed: int) -> None:
        self._environment: Any = environment
        self.action_meanings, self.keys = list(environment.action_meanings), {}
        self.observation_shape = environment.observation_shape
        self.observation_dtype = environment.observation_dtype
        self.seed(seed)

    @override
    def seed(self, seed: int) -> None:
        self._seeds = np.random.default_rng(seed)

    @override
    def start_game(self, noops: int) -> None:
        if not self.game_over:  # else the environment itself has started one
            self._seen = self._environment.restart(int(self._seeds.integers(2**31)))
        self.frames, self.terminal, self.game_over = 0, False, False

    @override
    def act(self, action: int | None) -> float:
        self._environment.act(np.array([action]))
        self._seen, (reward,), (self.terminal,), (self.game_over,) = self._environment.observe()
        self.frames += 1
        return float(reward)

    @override
    def observation(self, frames: int) -> Observations:
        return np.array(self._seen[0])

    @override
    def picture(self) -> npt.NDArray[np.uint8]:
        return to_rgb(self._environment.render())

    @override
    def close(self) -> None:
        self._environment.close()
