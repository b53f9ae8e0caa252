"""A person plays: what the keys do, in a window and in a terminal alike."""

import contextlib
import itertools
import math
import time
from collections import deque
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from simple_dqn.errors import UserError
from simple_dqn.files import write_atomically
from simple_dqn.memory.experience import Step
from simple_dqn.options.commands import KEYS
from simple_dqn.watch.film import Film, encode_png
from simple_dqn.watch.mind import Mind, beside
from simple_dqn.watch.steering import STEERING, action_of
from simple_dqn.watch.watched_game import Frame, Moment, WatchedGame

if TYPE_CHECKING:
    from simple_dqn.watch.terminal import Terminal
    from simple_dqn.watch.window import Window

YOU, NETWORK = "you", "the network"
_POLLS_PER_SECOND = 60
SPEEDS = (0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
_CARD_POLLS = 4 * _POLLS_PER_SECOND  # for which the card of scores is shown
_NOTICE_POLLS = 3 * _POLLS_PER_SECOND  # for which a notice is shown
_REWOUND_SECONDS = 3.0  # by which a key rewinds a game
_MOMENTS = 120  # to which a game can be rewound, a second apart
_FRAMES_BEHIND = 120  # by which a film may be behind the game
_LATEST = 0.25  # seconds; after a longer delay the game does not hurry to catch up
_LONGEST_STILL = 0.1  # seconds after which a picture is drawn however late the game is


class ScoreCard:
    """Keeps the scores of complete games, by who played them."""

    def __init__(self, mean_of_tests: float | None) -> None:
        """Begin without games; the network's own test had this mean score, if it is known."""
        self._mean_of_tests = mean_of_tests
        self._scores: dict[str, list[float]] = {}

    def add(self, score: float, players: Collection[str]) -> None:
        """Add the score of a game that ended; `YOU`, `NETWORK` or both played it."""
        self._scores.setdefault(" and ".join(sorted(players, reverse=True)), []).append(score)

    def lines(self) -> list[str]:
        """For each that played: the last score, the best and the mean; nothing without a game."""
        lines = []
        for players, scores in self._scores.items():
            line = f"{players[0].upper()}{players[1:]}: {scores[-1]:g}"
            if len(scores) > 1:
                mean = sum(scores) / len(scores)
                line += f", best {max(scores):g}, mean {mean:.4g} of {len(scores)} games"
            lines.append(line)
        if lines and self._mean_of_tests is not None:
            lines.append(f"The network's tests: mean {self._mean_of_tests:.4g}")
        return lines


class Play:
    """A person watches a game, takes over and gives back."""

    def __init__(
        self,
        game: WatchedGame,
        display: "Window | Terminal",
        *,
        mind: Mind | None,
        show_mind: bool,
        on_step: Callable[[Step], None] | None,
        mean_of_tests: float | None,
        files: Path,
    ) -> None:
        """Prepare to play a game that has started; without a mind, a person plays alone.

        `on_step` takes each step; None: no steps are recorded, and the game can be rewound. The
        network's tests had a mean score. Names of pictures and films begin with `files`.
        """
        self._game, self._display, self._mind = game, display, mind
        self._on_step, self._files = on_step, files
        self.score_card = ScoreCard(mean_of_tests)
        # "help" and "mind" are shown; "paused"; "one step" is played all the same; "left".
        self._modes = {"mind"} if show_mind else set[str]()
        self._players: set[str] = set()  # of the current game
        self._card, self._card_polls = list[str](), 0  # after a game
        self._notice, self._notice_polls = "", 0
        self._film: Film | None = None
        self._filmed_mind: Mind | None = None
        self._filmer = ThreadPoolExecutor(1)  # so that the game does not wait for its film
        self._filmed: deque[Future[None]] = deque()
        self._picture = game.console.picture()
        self._has_sound = display.has_sound and game.console.sample_rate > 0
        self._moments: deque[Moment] = deque(maxlen=_MOMENTS)
        self._speed, self._volume = SPEEDS.index(1.0), 50  # percent
        self._frames_due = 0.0
        self._keys: dict[str, Callable[[], None]] = {
            "m": self._change_over,
            **dict.fromkeys("a-", partial(self._change_speed, -1)),
            **dict.fromkeys("s+", partial(self._change_speed, 1)),
            "[": partial(self._change_volume, -10),
            "]": partial(self._change_volume, 10),
            "p": partial(self._switch, "paused"),
            "n": partial(self._modes.update, ("paused", "one step")),
            "r": self._new_game,
            "v": partial(self._switch, "mind"),
            "e": partial(self._change_exploration, -5),
            "E": partial(self._change_exploration, 5),
            "c": self._change_film,
            "f12": self._take_picture,
            "backspace": self._rewind,
            **dict.fromkeys("h?", partial(self._switch, "help")),
            **dict.fromkeys(("q", "escape", "close"), partial(self._modes.add, "left")),
        }

    def run(self) -> None:
        """Play until the person leaves."""
        due, drawn = time.perf_counter(), -math.inf
        try:
            while "left" not in self._modes:
                pressed, held = self._display.poll()
                self._notice_polls = max(0, self._notice_polls - 1)
                for key in pressed:  # while a person plays, a and s steer
                    if key in self._keys and not (key in STEERING and self._game.person_plays):
                        self._keys[key]()
                if self._card_polls and "help" not in self._modes:
                    self._card_polls -= 1
                    if not self._card_polls or " " in pressed:
                        self._new_game()
                self._play(held)
                due += 1 / _POLLS_PER_SECOND
                now = time.perf_counter()
                if now < due or now - drawn > _LONGEST_STILL:  # else no picture
                    self._show()
                    drawn = time.perf_counter()
                due = max(due, time.perf_counter() - _LATEST)
                time.sleep(max(0.0, due - time.perf_counter()))
        finally:
            self._end_film()

    def _show(self) -> None:
        card = KEYS.splitlines() if "help" in self._modes else self._card
        mind = self._shown_mind
        enlarge = self._game.console.enlarge if mind is None else mind.over
        self._display.show(enlarge(self._picture), self._lines(), card, mind)

    @property
    def _shown_mind(self) -> Mind | None:
        return self._mind if "mind" in self._modes else None

    def _change_over(self) -> None:
        self._game.person_plays = not self._game.person_plays or self._mind is None

    def _change_speed(self, by: int) -> None:
        self._speed = min(max(self._speed + by, 0), len(SPEEDS) - 1)

    def _change_volume(self, by: int) -> None:
        self._volume = min(max(self._volume + by, 0), 100)

    def _switch(self, mode: str) -> None:
        self._modes ^= {mode}

    def _new_game(self) -> None:
        self._card, self._card_polls = [], 0
        self._players.clear()
        self._moments.clear()
        self._game.start()

    def _notify(self, notice: str) -> None:
        self._notice, self._notice_polls = notice, _NOTICE_POLLS

    def _change_exploration(self, by: int) -> None:
        if self._mind is not None:
            percent = min(max(round(100 * self._game.exploration_rate) + by, 0), 100)
            self._game.exploration_rate = percent / 100

    def _new_file(self, ending: str) -> Path:
        """The first of <files>_play1, _play2 ... that does not exist."""
        names = (f"{self._files.name}_play{number}{ending}" for number in itertools.count(1))
        return next(p for p in map(self._files.with_name, names) if not p.exists())

    def _take_picture(self) -> None:
        with self._failures_noticed():
            path = self._new_file(".png")
            picture = beside(self._picture, self._game.console, self._shown_mind)
            write_atomically(path, encode_png(picture))
            self._notify(f"wrote {path}")

    def _change_film(self) -> None:
        """Begin to film, from here on, or end the film."""
        with self._failures_noticed():
            if self._film is not None:
                self._end_film()
            else:
                console, path = self._game.console, self._new_file(".mp4")
                rates = console.frames_per_second, console.sample_rate
                self._film = Film(path, *rates)
                self._filmed_mind = self._shown_mind

    @contextlib.contextmanager
    def _failures_noticed(self) -> Iterator[None]:
        """Continue the game where a file cannot be written; a film ends there."""
        try:
            yield
        except (UserError, OSError) as error:
            with contextlib.suppress(UserError):
                self._end_film(complete=False)
            self._notify(str(error))

    def _end_film(self, *, complete: bool = True) -> None:
        if self._film is not None:
            film, self._film = self._film, None
            errors = list(filter(None, (each.exception() for each in self._filmed)))
            self._filmed.clear()
            film.close(complete=complete and not errors)
            self._notify(str(errors[0]) if errors else f"wrote {film.path}")

    def _rewind(self) -> None:
        """Go back by some seconds, or to the first moment that is kept."""
        if self._on_step is not None:
            self._notify("no rewinding while your steps are recorded")
        elif self._card or not self._moments:
            self._notify("there is nothing to go back to")
        else:
            console = self._game.console
            frame = console.frames - _REWOUND_SECONDS * console.frames_per_second
            while len(self._moments) > 1 and self._moments[-1].frame > frame:
                self._moments.pop()
            self._game.go_back(self._moments[-1])
            self._picture = self._moments[-1].picture
            self._notify("rewound")

    def _play(self, held: Collection[str]) -> None:
        """Play the frames that are due after another sixtieth of a second."""
        action, console = self._action(held), self._game.console
        if self._card or "help" in self._modes or (action is None and not console.can_idle):
            return
        if "one step" in self._modes:
            self._switch("one step")
            while self._frame(action).step is None:
                pass
        elif "paused" not in self._modes:
            self._frames_due += SPEEDS[self._speed] * console.frames_per_second / _POLLS_PER_SECOND
            while self._frames_due >= 1 and not self._card:
                self._frames_due -= 1
                self._frame(action)

    def _action(self, held: Collection[str]) -> int | None:
        """The person's action; None: the person does nothing, and the game has no such action."""
        if not self._game.person_plays:
            return 0  # the network's own action counts
        if keys := self._game.console.keys:
            return keys.get(frozenset(held), keys.get(frozenset()))
        return action_of(held, self._game.action_meanings)

    def _frame(self, action: int | None) -> Frame:
        frame = self._game.frame(action)
        self._picture = frame.picture
        if self._has_sound and SPEEDS[self._speed] == 1 and "paused" not in self._modes:
            self._display.sound(frame.sound, self._volume / 100)
        self._players.add(YOU if self._game.person_plays else NETWORK)
        if self._film is not None:
            picture = beside(frame.picture, self._game.console, self._filmed_mind)
            self._filmed.append(self._filmer.submit(self._film.add, picture, frame.sound))
            with self._failures_noticed():
                while self._filmed and (
                    len(self._filmed) > _FRAMES_BEHIND or self._filmed[0].done()
                ):
                    self._filmed.popleft().result()
        if frame.step is not None and self._on_step is not None:
            self._on_step(frame.step)
        if frame.game_over:
            self.score_card.add(self._game.score, self._players)
            self._card = ["Game over", *self.score_card.lines(), "space: the next game"]
            self._card_polls = _CARD_POLLS
        elif frame.step is not None and self._on_step is None:
            console = self._game.console
            latest = self._moments[-1].frame if self._moments else -math.inf
            is_later = console.frames >= latest + console.frames_per_second
            if is_later and (moment := self._game.keep()):
                self._moments.append(moment)
        return frame

    def _lines(self) -> list[str]:
        """Return two lines: who plays and the score of the game; which keys there are."""
        game = self._game
        status = [
            "You play" if game.person_plays else "The network plays",
            f"score {game.score:g}",
            f"lives {game.console.lives}" if game.console.lives else "",
            f"speed {SPEEDS[self._speed]:g}",
            f"volume {self._volume}%" if self._has_sound else "",
            f"exploration {game.exploration_rate:.0%}" if self._mind is not None else "",
            "paused" if "paused" in self._modes else "",
            "filming" if self._film is not None else "",
            self._notice if self._notice_polls else "",
        ]
        keys = [
            "arrows or WASD: steer  space: fire" if game.person_plays else "a/s: speed",
            f"m: {'hand back' if game.person_plays else 'take over'}" if self._mind else "",
            "p: pause",
            "v: mind" if self._mind is not None else "",
            "h: all keys",
            "q: quit",
        ]
        return ["   ".join(filter(None, status)), "  ".join(filter(None, keys))]
