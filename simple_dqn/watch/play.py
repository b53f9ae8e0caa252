"""A person plays: what the keys do, in a window and in a terminal alike."""

import math
import time
from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import Protocol

import numpy as np
import numpy.typing as npt

from simple_dqn.watch.score_card import NETWORK, YOU, ScoreCard
from simple_dqn.watch.watched_game import Frame, Step, WatchedGame

_POLLS_PER_SECOND = 60
SPEEDS = (0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
_DIRECTIONS = ("UP", "DOWN", "RIGHT", "LEFT", "FIRE")  # in the order of ALE's names: UPRIGHTFIRE
_CARD_POLLS = 4 * _POLLS_PER_SECOND  # for which the card of scores is shown
_LATEST = 0.25  # seconds; after a longer delay the game does not hurry to catch up
_LONGEST_STILL = 0.1  # seconds after which a picture is drawn however late the game is


class Display(Protocol):
    """Where a game is shown and keys are pressed: `Window` or `Terminal`."""

    @property
    def has_sound(self) -> bool:
        """Whether sound can be heard."""

    def poll(self) -> tuple[list[str], Collection[str]]:
        """Return the keys pressed since the last call, and the `_DIRECTIONS` held down now.

        A letter is in lower case, and the Latin one on that key, whatever the layout.
        """

    def show(
        self, picture: npt.NDArray[np.uint8], lines: Collection[str], card: Sequence[str] = ()
    ) -> None:
        """Show a picture, uint8 (height, width, 3), lines of text below it, and others over it."""

    def sound(self, samples: npt.NDArray[np.uint8], volume: float) -> None:
        """Play the sound of a frame, at a volume from 0 to 1."""


class Play:
    """A person watches a game, takes over and gives back."""

    def __init__(
        self,
        game: WatchedGame,
        display: Display,
        *,
        beside: Callable[[npt.NDArray[np.uint8]], npt.NDArray[np.uint8]] | None,
        show_mind: bool,
        on_step: Callable[[Step], None] | None,
        score_card: ScoreCard,
    ) -> None:
        """Prepare to play a game that has started.

        Args:
            game: the game that is played.
            display: where the game is shown.
            beside: function that puts the network's mind beside a picture (`Mind.beside`); None:
                there is no network, and the person always plays.
            show_mind: whether the mind is shown from the start.
            on_step: function that is given each step.
            score_card: takes the games that end.
        """
        self._game = game
        self._display = display
        self._beside = beside
        self._shows_mind = show_mind
        self._on_step = on_step
        self._score_card = score_card
        self._players: set[str] = set()  # of the current game
        self._card: list[str] = []  # after a game
        self._card_polls = 0
        self._speed = SPEEDS.index(1.0)
        self._volume = 50  # percent
        self._paused = self._one_step = self._done = False
        self._frames_due = 0.0
        self._keys: dict[str, Callable[[], None]] = {
            "m": self._change_over,
            "a": partial(self._change_speed, -1),
            "-": partial(self._change_speed, -1),
            "s": partial(self._change_speed, 1),
            "+": partial(self._change_speed, 1),
            "[": partial(self._change_volume, -10),
            "]": partial(self._change_volume, 10),
            "p": self._pause,
            "n": self._step,
            "r": self._new_game,
            "v": self._change_mind,
            "q": self._leave,
            "escape": self._leave,
            "close": self._leave,
        }

    def run(self) -> None:
        """Play until the person leaves."""
        picture = self._game.console.picture()
        enlarge = self._game.console.enlarge
        due, drawn = time.perf_counter(), -math.inf
        while not self._done:
            pressed, held = self._display.poll()
            for key in pressed:
                self.press(key)
            if self._card_polls:
                self._card_polls -= 1
                if not self._card_polls or " " in pressed:
                    self._new_game()
            for frame in self._play(held):
                picture = frame.picture
            due += 1 / _POLLS_PER_SECOND
            now = time.perf_counter()
            if now < due or now - drawn > _LONGEST_STILL:  # else a picture is left out, no frame
                draw = self._beside if self._shows_mind and self._beside is not None else enlarge
                self._display.show(draw(picture), self._lines(), self._card)
                drawn = time.perf_counter()
            due = max(due, time.perf_counter() - _LATEST)
            time.sleep(max(0.0, due - time.perf_counter()))

    def press(self, key: str) -> None:
        """Do what a key stands for; a key without a meaning does nothing.

        While the person plays, w, a, s and d steer, so that only - and + change the speed.
        """
        if key in self._keys and not (key in {"a", "s"} and self._game.person_plays):
            self._keys[key]()

    def _change_over(self) -> None:
        self._game.person_plays = not self._game.person_plays or self._beside is None

    def _change_speed(self, by: int) -> None:
        self._speed = min(max(self._speed + by, 0), len(SPEEDS) - 1)

    def _change_volume(self, by: int) -> None:
        self._volume = min(max(self._volume + by, 0), 100)

    def _pause(self) -> None:
        self._paused = not self._paused

    def _step(self) -> None:
        self._paused = self._one_step = True

    def _new_game(self) -> None:
        self._card, self._card_polls = [], 0
        self._players.clear()
        self._game.start()

    def _change_mind(self) -> None:
        self._shows_mind = not self._shows_mind

    def _leave(self) -> None:
        self._done = True

    def _play(self, held: Collection[str]) -> list[Frame]:
        """Play the frames that are due after another sixtieth of a second."""
        action = self._action(held)
        if self._card or (action is None and not self._game.console.can_idle):
            return []
        if self._one_step:
            self._one_step = False
            frames = [self._frame(action)]
            while frames[-1].step is None:
                frames.append(self._frame(action))
            return frames
        if self._paused:
            return []
        speed = SPEEDS[self._speed] * self._game.console.frames_per_second / _POLLS_PER_SECOND
        self._frames_due += speed
        number, self._frames_due = int(self._frames_due), self._frames_due % 1
        frames = []
        while len(frames) < number and not self._card:
            frames.append(self._frame(action))
        return frames

    def _action(self, held: Collection[str]) -> int | None:
        """The person's action; None: the person does nothing, and no action stands for that."""
        if not self._game.person_plays:
            return 0  # the network's own action counts
        keys = self._game.console.keys
        if keys:
            return keys.get(frozenset(held), keys.get(frozenset()))
        return action_of(held, self._game.action_meanings)

    def _frame(self, action: int | None) -> Frame:
        frame = self._game.frame(action)
        if frame.sound.size and SPEEDS[self._speed] == 1 and not self._paused:
            self._display.sound(frame.sound, self._volume / 100)
        self._players.add(YOU if self._game.person_plays else NETWORK)
        if frame.step is not None and self._on_step is not None:
            self._on_step(frame.step)
        if frame.game_over:
            self._score_card.add(self._game.score, self._players)
            self._card = ["Game over", *self._score_card.lines(), "space: the next game"]
            self._card_polls = _CARD_POLLS
        return frame

    def _lines(self) -> list[str]:
        """Return two lines: who plays and how the game stands; which keys there are."""
        game = self._game
        lives = game.console.lives
        sounds = game.console.samples_per_frame > 0 and self._display.has_sound
        status = [
            "You play" if game.person_plays else "The network plays",
            f"score {game.score:g}",
            f"lives {lives}" if lives else "",
            f"speed {SPEEDS[self._speed]:g}",
            f"volume {self._volume}%" if sounds else "",
            "paused" if self._paused else "",
        ]
        keys = [
            "arrows or WASD, space: steer" if game.person_plays else "a/s: speed",
            "-/+: speed" if game.person_plays else "",
            "m: change over" if self._beside is not None else "",
            "[/]: volume" if sounds else "",
            "p: pause",
            "n: step",
            "r: new game",
            "v: mind" if self._beside is not None else "",
            "q: quit",
        ]
        return ["   ".join(filter(None, status)), "  ".join(filter(None, keys))]


def action_of(held: Collection[str], action_meanings: list[str]) -> int | None:
    """Choose the action that fits the held directions best.

    In a game without up and down, up counts as right and down as left: in Pong, RIGHT moves the
    paddle up.

    Args:
        held: directions held down, out of `_DIRECTIONS`.
        action_meanings: ALE's names of the game's actions, by number.

    Returns:
        The action's number; None: no action fits, and the game has none that does nothing.
    """
    directions = set(held)
    if not any(name.startswith(("UP", "DOWN")) for name in action_meanings):
        vertical = {"UP": "RIGHT", "DOWN": "LEFT"}
        directions = {vertical.get(direction, direction) for direction in held}
    wanted = [direction for direction in _DIRECTIONS if direction in directions]
    moves = [direction for direction in wanted if direction != "FIRE"]
    fire = wanted[len(moves) :]
    candidates = ["".join(wanted), *("".join([move, *fire]) for move in moves)]
    candidates += ["".join(moves), *wanted, "NOOP"]
    fitting = (action_meanings.index(name) for name in candidates if name in action_meanings)
    return next(fitting, None)
