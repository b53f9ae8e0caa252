"""One game as a person sees it: every frame and its sound, network and person taking turns.

The commands play, record and nvis all go through `WatchedGame.frame`. A game's screens are there,
byte for byte, what they are in training.
"""

from collections.abc import Iterator
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from simple_dqn.agent import Network, choose_actions
from simple_dqn.environments.console import Console
from simple_dqn.environments.screens import to_screen
from simple_dqn.state_buffer import StateBuffer

FRAMES_PER_SECOND = 60
SAMPLES_PER_FRAME = 512  # samples of sound, 8 bits each, mono
SAMPLE_RATE = FRAMES_PER_SECOND * SAMPLES_PER_FRAME


def widen(picture: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Enlarge a picture of the console, whose pixels are twice as wide as high.

    Args:
        picture: uint8 (height, width, 3).

    Returns:
        uint8 (2 * height, 4 * width, 3).
    """
    height, width = picture.shape[:2]
    # INTER_NEAREST repeats the pixels exactly.
    return cv2.resize(picture, (4 * width, 2 * height), interpolation=cv2.INTER_NEAREST)  # type: ignore[return-value]


class Step(NamedTuple):
    """What the replay memory keeps of a step, and who played it."""

    first: bool  # the first step of its game
    screen: npt.NDArray[np.uint8]  # (height, width), the latest one before the action
    action: int  # the action of most of the step's frames
    reward: float
    terminal: bool  # a life was lost or the game ended
    by_person: bool  # a person chose the action


class Frame(NamedTuple):
    """A sixtieth of a second.

    Attributes:
        picture: uint8 (210, 160, 3), RGB.
        sound: uint8 (512,), 128 is silence.
        step: the step that ended with this frame; None: a step is under way.
        game_over: whether the game ended; `start` begins the next one.
    """

    picture: npt.NDArray[np.uint8]
    sound: npt.NDArray[np.uint8]
    step: Step | None
    game_over: bool


class WatchedGame:
    """Plays a game on a console frame by frame.

    Attributes:
        console: the emulator.
        action_meanings: names of the actions, by number.
        frame_skip: frames in a step.
        state: uint8 (history, height, width), what the network sees now.
        seen: uint8 (history, height, width), what it saw when the current step began.
        action: number of the current step's action.
        score: sum of the current game's rewards so far.
        person_plays: whether a person plays the next step.
        decisions: number of steps begun, in all games together.
    """

    def __init__(
        self,
        console: Console,
        network: Network | None,
        *,
        history_length: int,
        screen_shape: tuple[int, int],
        frame_skip: int,
        exploration_rate: float,
        random_starts: int,
        max_frames: int | None,
        random_seed: int,
    ) -> None:
        """Start the first game.

        Args:
            console: an emulator that makes sound.
            network: chooses the actions while no person plays; None: a person always plays.
            history_length: screens in a state.
            screen_shape: (height, width) of a screen.
            frame_skip: frames in a step.
            exploration_rate: probability that a step of the network is random.
            random_starts: largest number of no-op frames at a game's start.
            max_frames: number of frames after which a game is cut off; None: never.
            random_seed: seed of the no-op frames and of the exploration.
        """
        self.console = console
        self.action_meanings = [action.name for action in console.actions]
        self.person_plays = network is None
        self.decisions = 0
        self._network = network
        self._screen_shape = screen_shape
        self.frame_skip = frame_skip
        self._exploration_rate = exploration_rate
        self._random_starts = random_starts
        self._max_frames = max_frames
        self._rng = np.random.default_rng(random_seed)
        self._buffer = StateBuffer(
            num_games=1,
            history_length=history_length,
            observation_shape=screen_shape,
            observation_dtype=np.uint8,
        )
        self.state = self.seen = self._buffer.states[0]
        self.start()

    def start(self) -> None:
        """Start a new game."""
        noops = int(self._rng.integers(self._random_starts + 1))
        luminance = self.console.start_game(noops)
        self._buffer.add(to_screen(luminance, self._screen_shape)[None])
        self.action, self.score, self._first = 0, 0.0, True
        self._begin_step()

    def frame(self, action: int) -> Frame:
        """Play a frame.

        Args:
            action: number of the person's action; it has no effect while the network plays.
        """
        ale = self.console.ale
        if self._frames == 0:
            self._by_person = self.person_plays
            self.decisions += 1
            self.seen = self.state.copy()
            if not self._by_person:
                self._choose()
        if self._by_person:
            self.action = action
        reward = self.console.act(self.action)
        self._frames += 1
        self._pressed[self.action] += 1
        self._reward += reward
        self.score += reward
        game_over = ale.game_over() or self.console.frames == self._max_frames
        step = self._end_step() if game_over or self._frames == self.frame_skip else None
        return Frame(ale.getScreenRGB(), ale.getAudio(), step, bool(game_over))

    def frames(self) -> Iterator[Frame]:
        """Yield the frames of the network's play until the game ends."""
        while True:
            frame = self.frame(0)
            yield frame
            if frame.game_over:
                return

    def _choose(self) -> None:
        assert self._network is not None
        self.action = int(
            choose_actions(
                self._network,
                self._buffer.states,
                self._exploration_rate,
                len(self.console.actions),
                self._rng,
            )[0]
        )

    def _begin_step(self) -> None:
        self._frames, self._reward = 0, 0.0
        self._pressed = np.zeros(len(self.console.actions), np.int64)
        self._lives = self.console.ale.lives()

    def _end_step(self) -> Step:
        """Return the step that ends now, and add its screen to the state."""
        ale = self.console.ale
        terminal = ale.game_over() or ale.lives() < self._lives
        step = Step(
            self._first,
            self.seen[-1],
            int(self._pressed.argmax()),
            self._reward,
            bool(terminal),
            self._by_person,
        )
        self._first = False
        luminance = self.console.luminance(self.frame_skip)
        # As in tests, a lost life does not blank the history.
        self._buffer.add(to_screen(luminance, self._screen_shape)[None], np.array([False]))
        self._begin_step()
        return step
