"""A person plays: what the keys do, in a window and in a terminal alike."""

import contextlib
import math
import time
from collections import deque
from collections.abc import Callable, Collection, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from simple_dqn.errors import UserError
from simple_dqn.memory.experience import Step
from simple_dqn.watch.film import Film, write_picture
from simple_dqn.watch.score_card import NETWORK, YOU, ScoreCard
from simple_dqn.watch.watched_game import Frame, Moment, WatchedGame

_POLLS_PER_SECOND = 60
SPEEDS = (0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
_DIRECTIONS = ("UP", "DOWN", "RIGHT", "LEFT", "FIRE")  # in the order of ALE's names: UPRIGHTFIRE
_CARD_POLLS = 4 * _POLLS_PER_SECOND  # for which the card of scores is shown
_NOTICE_POLLS = 3 * _POLLS_PER_SECOND  # for which a notice is shown
_REWOUND_SECONDS = 3.0  # by which a key rewinds a game
_MOMENTS = 120  # to which a game can be rewound, a second apart
_LATEST = 0.25  # seconds; after a longer delay the game does not hurry to catch up
_LONGEST_STILL = 0.1  # seconds after which a picture is drawn however late the game is


class Display(Protocol):
    """Where a game is shown and keys are pressed: `Window` or `Terminal`."""

    @property
    def has_sound(self) -> bool:
        """Whether sound can be heard."""

    @property
    def is_fine(self) -> bool:
        """Whether small letters in a picture can be read."""

    def poll(self) -> tuple[list[str], Collection[str]]:
        """Return the keys pressed since the last call, and the `_DIRECTIONS` held down now.

        A letter is in lower case, and the Latin one on that key, whatever the layout.
        """

    def show(
        self,
        picture: npt.NDArray[np.uint8],
        lines: Collection[str],
        card: Sequence[str] = (),
        beside: Sequence[str] = (),
    ) -> None:
        """Show a picture, uint8 (height, width, 3), lines below, a card over, text beside it."""

    def sound(self, samples: npt.NDArray[np.uint8], volume: float) -> None:
        """Play the sound of a frame, at a volume from 0 to 1."""


class Look(Protocol):
    """A look into the network of a game: `Mind`."""

    def beside(self, picture: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """Return an enlarged picture of the game with a panel beside it."""

    def in_text(
        self, picture: npt.NDArray[np.uint8]
    ) -> tuple[npt.NDArray[np.uint8], Sequence[str]]:
        """Return an enlarged picture of the game, and text that stands for the panel."""


class Play:
    """A person watches a game, takes over and gives back."""

    def __init__(
        self,
        game: WatchedGame,
        display: Display,
        *,
        mind: Look | None,
        show_mind: bool,
        on_step: Callable[[Step], None] | None,
        score_card: ScoreCard,
        help_lines: Sequence[str],
        new_file: Callable[[str], Path],
    ) -> None:
        """Prepare to play a game that has started.

        Args:
            game: the game that is played.
            display: where the game is shown.
            mind: shows what the network thinks; None: there is no network, and the person always
                plays.
            show_mind: whether the mind is shown from the start.
            on_step: function that is given each step.
            score_card: takes the games that end.
            help_lines: all keys, for the card of help.
            new_file: names a file that does not exist, with this ending, for a picture or a film.
        """
        self._game = game
        self._display = display
        self._mind = mind
        self._shows_mind = show_mind
        self._on_step = on_step
        self._score_card = score_card
        self._players: set[str] = set()  # of the current game
        self._card: list[str] = []  # after a game
        self._card_polls = 0
        self._help_lines, self._shows_help = help_lines, False
        self._new_file = new_file
        self._notice, self._notice_polls = "", 0
        self._film: Film | None = None
        self._films_mind = False
        self._picture = game.console.picture()
        self._moments: deque[Moment] = deque(maxlen=_MOMENTS)
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
            "e": partial(self._change_exploration, -5),
            "E": partial(self._change_exploration, 5),
            "c": self._change_film,
            "f12": self._take_picture,
            "backspace": self._rewind,
            "h": self._change_help,
            "?": self._change_help,
            "q": self._leave,
            "escape": self._leave,
            "close": self._leave,
        }

    def run(self) -> None:
        """Play until the person leaves."""
        try:
            self._run()
        finally:
            self._end_film()

    def _run(self) -> None:
        due, drawn = time.perf_counter(), -math.inf
        while not self._done:
            pressed, held = self._display.poll()
            self._notice_polls = max(0, self._notice_polls - 1)
            for key in pressed:
                self.press(key)
            if self._card_polls and not self._shows_help:
                self._card_polls -= 1
                if not self._card_polls or " " in pressed:
                    self._new_game()
            self._play(held)
            due += 1 / _POLLS_PER_SECOND
            now = time.perf_counter()
            if now < due or now - drawn > _LONGEST_STILL:  # else a picture is left out, no frame
                card = self._help_lines if self._shows_help else self._card
                if self._shows_mind and self._mind is not None and not self._display.is_fine:
                    picture, beside = self._mind.in_text(self._picture)
                else:
                    picture, beside = self._draw(self._picture), ()
                self._display.show(picture, self._lines(), card, beside)
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
        self._game.person_plays = not self._game.person_plays or self._mind is None

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
        self._moments.clear()
        self._game.start()

    def _draw(self, picture: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """The picture of a frame as it is shown, with the mind beside it or without."""
        if self._shows_mind and self._mind is not None:
            return self._mind.beside(picture)
        return self._game.console.enlarge(picture)

    def _tell(self, notice: str) -> None:
        self._notice, self._notice_polls = notice, _NOTICE_POLLS

    def _change_help(self) -> None:
        self._shows_help = not self._shows_help

    def _change_exploration(self, by: int) -> None:
        if self._mind is not None:
            percent = min(max(round(100 * self._game.exploration_rate) + by, 0), 100)
            self._game.exploration_rate = percent / 100

    def _take_picture(self) -> None:
        path = self._new_file(".png")
        with self._failures_told():
            path.parent.mkdir(parents=True, exist_ok=True)
            write_picture(path, self._draw(self._picture))
            self._tell(f"wrote {path}")

    def _change_film(self) -> None:
        """Begin to film, from here on, or end the film."""
        if self._film is not None:
            path = self._film.path
            with self._failures_told():
                self._end_film()
                self._tell(f"wrote {path}")
            return
        console = self._game.console
        rate = console.frames_per_second
        with self._failures_told():
            self._film = Film(
                self._new_file(".mp4"),
                frames_per_second=rate,
                sample_rate=rate * console.samples_per_frame,
            )
            self._films_mind = self._shows_mind

    def _add_to_film(self, frame: Frame) -> None:
        draw = self._game.console.enlarge
        if self._films_mind and self._mind is not None:
            draw = self._mind.beside
        with self._failures_told():
            if self._film is not None:
                self._film.add(draw(frame.picture), frame.sound)

    @contextlib.contextmanager
    def _failures_told(self) -> Iterator[None]:
        """End no game for a file that cannot be written; a film ends where it fails."""
        try:
            yield
        except (UserError, OSError) as error:
            self._tell(str(error))
            with contextlib.suppress(UserError):
                self._end_film(error)

    def _end_film(self, error: Exception | None = None) -> None:
        if self._film is not None:
            film, self._film = self._film, None
            film.__exit__(type(error) if error is not None else None, error, None)

    def _rewind(self) -> None:
        """Go back by some seconds, or to the first moment that is kept."""
        if self._on_step is not None:
            self._tell("no rewinding while your steps are recorded")
        elif self._card:
            self._tell("the game is over")
        elif not self._moments:
            self._tell("this game cannot be rewound" if self._game.console.frames else "")
        else:
            console = self._game.console
            frame = console.frames - _REWOUND_SECONDS * console.frames_per_second
            while len(self._moments) > 1 and self._moments[-1].frame > frame:
                self._moments.pop()
            self._game.go_back(self._moments[-1])
            self._picture = self._moments[-1].picture
            self._tell("rewound")

    def _change_mind(self) -> None:
        self._shows_mind = not self._shows_mind

    def _leave(self) -> None:
        self._done = True

    def _play(self, held: Collection[str]) -> None:
        """Play the frames that are due after another sixtieth of a second."""
        action = self._action(held)
        console = self._game.console
        waits = action is None and not console.can_idle
        if self._card or self._shows_help or waits:
            return
        if self._one_step:
            self._one_step = False
            while self._frame(action).step is None:
                pass
        elif not self._paused:
            self._frames_due += SPEEDS[self._speed] * console.frames_per_second / _POLLS_PER_SECOND
            while self._frames_due >= 1 and not self._card:
                self._frames_due -= 1
                self._frame(action)

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
        self._picture = frame.picture
        if frame.sound.size and SPEEDS[self._speed] == 1 and not self._paused:
            self._display.sound(frame.sound, self._volume / 100)
        self._players.add(YOU if self._game.person_plays else NETWORK)
        self._add_to_film(frame)
        if frame.step is not None and self._on_step is not None:
            self._on_step(frame.step)
        if frame.game_over:
            self._score_card.add(self._game.score, self._players)
            self._card = ["Game over", *self._score_card.lines(), "space: the next game"]
            self._card_polls = _CARD_POLLS
        elif frame.step is not None:
            self._keep_moment()
        return frame

    def _keep_moment(self) -> None:
        """Keep a moment each second, for `_rewind`."""
        console = self._game.console
        latest = self._moments[-1].frame if self._moments else -math.inf
        if self._on_step is None and console.frames - latest >= console.frames_per_second:
            moment = self._game.keep()
            if moment is not None:
                self._moments.append(moment)

    def _lines(self) -> list[str]:
        """Return two lines: who plays and the score of the game; which keys there are."""
        game = self._game
        lives = game.console.lives
        sounds = game.console.samples_per_frame > 0 and self._display.has_sound
        status = [
            "You play" if game.person_plays else "The network plays",
            f"score {game.score:g}",
            f"lives {lives}" if lives else "",
            f"speed {SPEEDS[self._speed]:g}",
            f"volume {self._volume}%" if sounds else "",
            f"exploration {game.exploration_rate:.0%}" if self._mind is not None else "",
            "paused" if self._paused else "",
            "filming" if self._film is not None else "",
            self._notice if self._notice_polls else "",
        ]
        keys = [
            "arrows or WASD, space: steer" if game.person_plays else "a/s: speed",
            "m: change over" if self._mind is not None else "",
            "p: pause",
            "v: mind" if self._mind is not None else "",
            "h: all keys",
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
