"""A game drawn in the terminal itself: two pixels to a character, in true or 256 colours."""

import codecs
import contextlib
import itertools
import os
import re
import select
import shutil
import signal
import sys
import termios
import textwrap
import time
import tty
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

import cv2
import numpy as np
import numpy.typing as npt

from simple_dqn.errors import UserError
from simple_dqn.watch.steering import STEERING

if TYPE_CHECKING:
    from simple_dqn.watch.mind import Mind

_KEY = re.compile(r"\x1b[\[O][0-9;]*[A-Za-z~]|.", re.DOTALL)  # an escape sequence or a character
_UNFINISHED = re.compile(r"\x1b([\[O][0-9;]*)?\Z")  # a sequence whose rest may still be on its way
_ESCAPE_SECONDS = 0.3  # within which the rest of a sequence comes, over a slow network too
_NAMES = {"\x1b": "escape", "\x7f": "backspace", "\b": "backspace", "\x1b[24~": "f12"}
for _letter, _arrow in (("A", "up"), ("B", "down"), ("C", "right"), ("D", "left")):
    _NAMES |= {f"\x1b[{_letter}": _arrow, f"\x1bO{_letter}": _arrow}
# xterm's colours from 16 on: a cube of 6x6x6 and 24 greys. Each terminal has its own first 16.
_CUBE = itertools.product((0, 95, 135, 175, 215, 255), repeat=3)
_COLOURS = np.array([*_CUBE, *((grey,) * 3 for grey in range(8, 248, 10))], np.float32)  # (240, 3)
# Terminals report presses only. A key that is held repeats, and until the first repeat it takes
# longer than from one repeat to the next.
_FIRST_SECONDS, _REPEAT_SECONDS = 0.6, 0.15
_SECONDS_BETWEEN_PICTURES = 1 / 30


class Keys:
    """Turns what a terminal sends into keys; an arrow's sequence may arrive in pieces."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="ignore")
        self._unfinished = ""
        self._latest = 0.0

    def feed(self, typed: bytes, now: float) -> list[str]:
        """Return the keys that are complete by now, in seconds, after more was typed.

        They are names, other escape sequences, and characters in lower case, but for E.
        """
        if typed:
            self._latest = now
        text = self._unfinished + self._decoder.decode(typed)
        match = _UNFINISHED.search(text)
        self._unfinished = match[0] if match and now - self._latest < _ESCAPE_SECONDS else ""
        keys = _KEY.findall(text.removesuffix(self._unfinished))
        return [_NAMES.get(key, key if len(key) > 1 or key == "E" else key.lower()) for key in keys]


class Held:
    """Estimates which directions are held down.

    Only the key that was pressed last repeats. So another arrow takes the place of one that was
    held, and firing keeps it held.
    """

    def __init__(self) -> None:
        self._until: dict[str, float] = {}

    def press(self, direction: str, now: float) -> None:
        """Take in that a direction's key was pressed, or repeated, at a time in seconds."""
        again = direction in self.now(now)
        until = now + (_REPEAT_SECONDS if again else _FIRST_SECONDS)
        self._until = {
            other: max(then, until)
            for other, then in self._until.items()
            if now < then and (other == direction or "FIRE" in {direction, other})
        }
        self._until.setdefault(direction, until)

    def now(self, now: float) -> set[str]:
        """Return the directions that are held at a time."""
        return {direction for direction, until in self._until.items() if now < until}


class Terminal:
    """Shows pictures as half blocks; like `Window`, but without sound."""

    has_sound = False

    def __init__(self) -> None:
        """Take over the terminal."""
        if not (sys.stdin.isatty() and sys.stdout.isatty()):
            raise UserError(
                "--display terminal needs a terminal, but standard input or output is a pipe or a "
                "file; call it from a terminal, without redirection"
            )
        self._true_colour = os.environ.get("COLORTERM", "") in {"truecolor", "24bit"}
        self._keys, self._held = Keys(), Held()
        self._next_picture, self._shown = 0.0, ""
        self._settings = termios.tcgetattr(sys.stdin)
        self._take()
        self._before = signal.signal(signal.SIGTSTP, self._stop)  # Ctrl-Z

    def poll(self) -> tuple[list[str], Collection[str]]:
        """Return the keys pressed since the last call, and the directions held now."""
        now, typed = time.perf_counter(), b""
        if select.select([sys.stdin], [], [], 0)[0]:
            with contextlib.suppress(OSError):  # the terminal went away
                typed = os.read(sys.stdin.fileno(), 4096)
            if not typed:
                return ["close"], set()
        pressed = self._keys.feed(typed, now)
        for direction in filter(None, map(STEERING.get, pressed)):
            self._held.press(direction, now)
        return pressed, self._held.now(now)

    def show(
        self,
        picture: npt.NDArray[np.uint8],
        lines: Collection[str],
        card: Sequence[str] = (),
        mind: "Mind | None" = None,
    ) -> None:
        """Draw a picture as large as the terminal allows, with text below, over and beside it."""
        now = time.perf_counter()
        if now >= self._next_picture:
            self._next_picture = now + _SECONDS_BETWEEN_PICTURES
            size, beside = shutil.get_terminal_size(), mind.lines() if mind else []
            text = lay_out(picture, lines, card, beside, *size, true_colour=self._true_colour)
            if text != self._shown:  # a card would flicker, which lies over the picture
                self._shown = text
                _write(text)

    def sound(self, samples: npt.NDArray[np.uint8], volume: float) -> None:
        """Do nothing: terminals are silent."""

    def close(self) -> None:
        """Give the terminal back as it was."""
        signal.signal(signal.SIGTSTP, self._before)
        self._give_back()

    def _take(self) -> None:
        """Switch to the other screen, without a cursor, and read keys as they come."""
        self._shown = ""
        tty.setcbreak(sys.stdin)
        _write("\x1b[?1049h\x1b[?25l")

    def _stop(self, *_: object) -> None:
        """Leave the terminal to the shell until it calls this program back."""
        self._give_back()
        os.kill(os.getpid(), signal.SIGSTOP)
        self._take()

    def _give_back(self) -> None:
        _write("\x1b[0m\x1b[?25h\x1b[?1049l")
        with contextlib.suppress(termios.error):
            termios.tcsetattr(sys.stdin, termios.TCSADRAIN, self._settings)


def _write(text: str) -> None:
    with contextlib.suppress(OSError):  # the terminal went away, as `poll` sees, too
        sys.stdout.write(text)
        sys.stdout.flush()


def lay_out(
    picture: npt.NDArray[np.uint8],
    lines: Collection[str],
    card: Sequence[str],
    beside: Sequence[str],
    columns: int,
    rows: int,
    *,
    true_colour: bool,
) -> str:
    """Draw the screen: a picture, text below it and at its right, and a card over it."""
    below = [part for line in lines for part in wrap(line, columns - 1)]
    rows -= len(below)
    # NB! In the last column, erasing to the end of the line would erase what was just written.
    left = columns - 1 - (max(map(len, beside)) + 1 if beside else 0)  # columns of the picture
    drawn = draw(picture, left, rows, true_colour=true_colour).split("\r\n")
    # NB! Each place is written once: what is erased first flickers.
    pairs = itertools.zip_longest(drawn, beside[: max(rows, 0)], fillvalue="")
    shown = [f"{row}{' ' * (left - row.count('▀'))} {line}".rstrip() for row, line in pairs]
    over = []
    if card:
        width = min(max(map(len, card)), columns - 4)
        box = ["", *card, ""][: max(rows, 1)]
        over = [
            f"\x1b[{row};{(columns - width) // 2 - 1}H\x1b[0;7m  {line[:width]:{width}}  \x1b[0m"
            for row, line in enumerate(box, start=(rows - len(box)) // 2 + 1)
        ]
    text = "\r\n".join(f"{line}\x1b[K" for line in (*shown, *below))
    return f"\x1b[H{text}\x1b[J{''.join(over)}"


def wrap(line: str, columns: int) -> list[str]:
    """Break a line where two spaces or more are, or in a part that is longer than a row."""
    tied = re.sub(r"(?<=\S) (?=\S)", "\xa0", line)
    rows = textwrap.wrap(tied, columns, break_on_hyphens=False)
    return [row.replace("\xa0", " ") for row in rows] or [""]


def draw(picture: npt.NDArray[np.uint8], columns: int, rows: int, *, true_colour: bool) -> str:
    """Turn a picture, RGB, into half-block characters: two pixels in a column's row.

    Without `true_colour` it has xterm's 256 colours.
    """
    height, width = picture.shape[:2]
    scale = min(columns / width, 2 * max(rows, 1) / height)
    size = (max(1, int(width * scale)), max(1, int(height * scale / 2)) * 2)
    colours = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    if not true_colour:  # the nearest colour c to a pixel p has the least c^2 - 2pc
        distances = (_COLOURS**2).sum(axis=1) - colours @ (2 * _COLOURS.T)
        colours = 16 + distances.argmin(axis=2)[..., None]
    code, drawn = ("2" if true_colour else "5"), []
    for row in np.stack([colours[::2], colours[1::2]], axis=2).tolist():
        text = ""
        for cell, same in itertools.groupby(row):
            upper, lower = (";".join(map(str, colour)) for colour in cell)
            text += f"\x1b[38;{code};{upper};48;{code};{lower}m" + "▀" * len(list(same))
        drawn.append(f"{text}\x1b[0m")
    return "\r\n".join(drawn)
