"""One game as a person sees it: every frame and its sound, played by a network or the person.

The commands play, record and nvis all play through `WatchedGame.frame`. The network sees the same
screens, byte for byte, as in training.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from simple_dqn.agent import Network, choose_actions
from simple_dqn.environment import Observations
from simple_dqn.environments.visible_game import VisibleGame
from simple_dqn.memory.experience import Step
from simple_dqn.state_buffer import StateBuffer


class Frame(NamedTuple):
    """A frame of the game: a sixtieth of a second in Atari, a step in other environments."""

    picture: npt.NDArray[np.uint8]  # (height, width, 3), RGB
    sound: npt.NDArray[np.uint8]  # (samples,), 128 is silence
    step: Step | None  # that ended with this frame; None: the step continues
    game_over: bool  # the game ended; `start` begins the next one


class Moment(NamedTuple):
    """A game at the beginning of a step."""

    frame: int  # number of frames played in the game until then
    picture: npt.NDArray[np.uint8]  # as in `Frame`
    console: object
    states: Observations
    score: float
    first: bool


class WatchedGame:
    """Plays a game frame by frame."""

    def __init__(
        self,
        console: VisibleGame,
        network: Network | None,
        *,
        history_length: int,
        frame_skip: int,
        exploration_rate: float,
        random_starts: int,
        max_frames: int | None,
        random_seed: int,
    ) -> None:
        """Start the first game; games have up to `random_starts` no-op frames at their start.

        The network chooses the actions while no person plays; None: a person always plays. A state
        has `history_length` observations. A game is cut off after `max_frames`; None: never.
        """
        self.console, self._network = console, network
        self.action_meanings = list(console.action_meanings)
        self.person_plays = network is None  # the next step
        self.decisions = 0  # steps begun, in all games together
        self.action = 0  # of the current step
        self.score = 0.0  # of the current game so far
        self.frame_skip, self.exploration_rate = frame_skip, exploration_rate
        self._random_starts, self._max_frames = random_starts, max_frames
        self._rng = np.random.default_rng(random_seed)
        self._buffer = StateBuffer(
            num_games=1,
            history_length=history_length,
            observation_shape=console.observation_shape,
            observation_dtype=console.observation_dtype,
        )
        # (history, *observation_shape): what the network sees, and saw when the step began.
        self.state = self.seen = self._buffer.states[0]
        self.start()

    def start(self) -> None:
        """Start a new game."""
        noops = int(self._rng.integers(self._random_starts + 1))
        self.console.start_game(noops)
        self._buffer.add(self.console.observation(1)[None])
        self.action, self.score, self._first = 0, 0.0, True
        self._begin_step()

    def frame(self, action: int | None) -> Frame:
        """Play a frame with the person's action, which has no effect while the network plays.

        None: the person does nothing, in a game without an action for that.
        """
        console = self.console
        if self._frames == 0:
            self._by_person = self.person_plays
            self.decisions += 1
            self.seen = self.state.copy()
            if not self._by_person and self._network is not None:
                states, number = self._buffer.states, len(self.action_meanings)
                chosen = choose_actions(
                    self._network, states, self.exploration_rate, number, self._rng
                )
                self.action = int(chosen[0])
        if not self._by_person:
            action = self.action
        elif action is not None:
            self.action = action
        reward = console.act(action)
        self._frames += 1
        self._pressed[-1 if action is None else action] += 1
        self._reward += reward
        self.score += reward
        game_over = console.game_over or console.frames == self._max_frames
        step = self._end_step() if game_over or self._frames == self.frame_skip else None
        return Frame(console.picture(), console.sound(), step, game_over)

    def frames(self) -> Iterator[Frame]:
        """Yield the frames of the network's play until the game ends."""
        while True:
            frame = self.frame(0)
            yield frame
            if frame.game_over:
                return

    def keep(self) -> Moment | None:
        """Return this moment, at the beginning of a step; None: the game cannot go back."""
        assert self._frames == 0
        if (kept := self.console.keep()) is None:
            return None
        frames, picture = self.console.frames, self.console.picture()
        return Moment(frames, picture, kept, self._buffer.states.copy(), self.score, self._first)

    def go_back(self, moment: Moment) -> None:
        """Continue from a moment of this game that `keep` returned; random events may differ."""
        self.console.go_back(moment.console)
        self._buffer.states[:] = moment.states
        self.score, self._first = moment.score, moment.first
        self._begin_step()

    def _begin_step(self) -> None:
        self._frames, self._reward = 0, 0.0
        # Number of frames with each action; the last entry counts frames without one.
        self._pressed = np.zeros(len(self.action_meanings) + 1, np.int64)
        self._lives = self.console.lives

    def _end_step(self) -> Step:
        """Return the step that ends now, and add what it showed to the state."""
        acted = self._pressed.argmax() < len(self.action_meanings)
        action = int(self._pressed[:-1].argmax())
        terminal = bool(self.console.terminal or self.console.lives < self._lives)
        by_person = bool(self._by_person and acted)
        step = Step(self._first, self.seen[-1], action, self._reward, terminal, by_person)
        self._first = False
        # As in the test phase, a lost life does not blank the history.
        observation = self.console.observation(self.frame_skip)
        self._buffer.add(observation[None], np.array([False]))
        self._begin_step()
        return step
