"""One game as a person sees it: every frame and its sound, network and person taking turns.

Playing, filming and visualising all go through `WatchedGame.frame`; what the network sees meanwhile
is byte for byte what it was trained on.
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
SAMPLES_PER_FRAME = 512  # of sound, 8 bits, mono
SAMPLE_RATE = FRAMES_PER_SECOND * SAMPLES_PER_FRAME


def widen(picture: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Enlarge a picture of the console, whose pixels are twice as wide as high.

    Args:
        picture: uint8 (height, width, 3).

    Returns:
        uint8 (2 * height, 4 * width, 3).
    """
    height, width = picture.shape[:2]
    # Exact repetition of pixels.
    return cv2.resize(picture, (4 * width, 2 * height), interpolation=cv2.INTER_NEAREST)  # type: ignore[return-value]


class Step(NamedTuple):
    """What the replay memory keeps of a step, and who played it."""

    first: bool  # of its game
    screen: npt.NDArray[np.uint8]  # (height, width), seen before acting
    action: int  # in most of its frames
    reward: float
    terminal: bool  # a life was lost or the game ended
    by_person: bool


class Frame(NamedTuple):
    """A sixtieth of a second.

    Attributes:
        picture: uint8 (210, 160, 3), RGB.
        sound: uint8 (512,), 128 is silence.
        step: the step that ended with this frame, if one did.
        game_over: the game ended; `start` begins the next.
    """

    picture: npt.NDArray[np.uint8]
    sound: npt.NDArray[np.uint8]
    step: Step | None
    game_over: bool


class WatchedGame:
    """Plays a game on a console frame by frame.

    Attributes:
        console: the emulator.
        action_meanings: names of the actions.
        frame_skip: frames of a step.
        state: uint8 (history, height, width), what the network sees now.
        seen: likewise, what it saw when the step under way began.
        action: of the step under way.
        score: of the game so far.
        person_plays: whether the next step is the person's.
        decisions: steps begun.
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
            console: with sound.
            network: chooses actions while no person plays; None: the person always does.
            history_length: screens in a state.
            screen_shape: (height, width) of a screen.
            frame_skip: frames of a step.
            exploration_rate: of the network.
            random_starts: most idle frames at a game's start.
            max_frames: the game is cut off after so many; None: never.
            random_seed: of idle frames and exploration.
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
            action: of the person; without meaning while the network plays.
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
        """The network's frames to the end of the game."""
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
        """Keep the step and let the network see its last screen."""
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
        # In tests, as here, a lost life does not blank the history.
        self._buffer.add(to_screen(luminance, self._screen_shape)[None], np.array([False]))
        self._begin_step()
        return step
