"""A game drawn in the terminal itself: two pixels to a character, in true or 256 colours."""

import codecs
import contextlib
import math
import os
import re
import select
import shutil
import signal
import sys
import time
from collections.abc import Collection, Sequence

import cv2
import numpy as np
import numpy.typing as npt

from simple_dqn.errors import UserError

try:
    import termios
    import tty
except ImportError:  # Windows has neither
    HAS_TERMINALS = False
else:
    HAS_TERMINALS = True

_KEY = re.compile(r"\x1b[\[O][0-9;:?]*[A-Za-z~]|.", re.DOTALL)  # an escape sequence or a character
_BEGUN = re.compile(r"\x1b([\[O][0-9;:?]*)?\Z")  # a sequence whose rest may still be on its way
_ESCAPE_SECONDS = 0.3  # within which the rest of a sequence comes, over a slow network too
# What Cyrillic and Greek layouts type on the letters of a QWERTY keyboard.
_LATIN = str.maketrans(
    "йцукенгшщзхъфывапролджэячсмитьбюіςερτυθιοπασδφγηξκλζχψωβνμ",
    "qwertyuiop[]asdfghjkl;'zxcvbnm,.swertyuiopasdfghjklzxcvbnm",
)
_NAMES = {"\x1b": "escape", "\x7f": "backspace", "\b": "backspace", "\x1b[24~": "f12"}
_ARROWS = {"A": "UP", "B": "DOWN", "C": "RIGHT", "D": "LEFT"}
_LETTERS = {"w": "UP", "a": "LEFT", "s": "DOWN", "d": "RIGHT", " ": "FIRE"}
_CUBE = np.array([0, 95, 135, 175, 215, 255])  # xterm's levels of red, green and blue
# Most terminals report presses only. A key that is held repeats, and until the first repeat it
# takes longer than from one repeat to the next.
_FIRST_SECONDS, _REPEAT_SECONDS = 0.6, 0.15
# The protocol of kitty, foot, WezTerm and others reports releases, too: turn that on, flag 2, and
# ask whether it is on (https://sw.kovidgoyal.net/kitty/keyboard-protocol).
_RELEASES_ON, _RELEASES_OFF, _RELEASES_TOLD = "\x1b[>2u\x1b[?u", "\x1b[<u", "\x1b[?2u"
_EVENT = re.compile(r"\x1b\[1;\d+:(\d)([A-Z])")  # of a key without a letter, 3: a release
_SECONDS_BETWEEN_PICTURES = 1 / 30


class Keys:
    """Turns what a terminal sends into keys; an arrow's sequence may arrive in pieces."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="ignore")
        self._begun = ""
        self._latest = 0.0

    def feed(self, typed: bytes, now: float) -> list[str]:
        """Return the keys that are whole by now.

        Args:
            typed: what arrived since the last call; it may be empty.
            now: seconds, on any clock.

        Returns:
            Escape sequences, `escape` where an ESC was followed by nothing, and characters, in
            lower case and by their place on the keyboard where the layout is not Latin.
        """
        if typed:
            self._latest = now
        text = self._begun + self._decoder.decode(typed)
        begun = _BEGUN.search(text)
        self._begun = begun[0] if begun and now - self._latest < _ESCAPE_SECONDS else ""
        whole = text[: len(text) - len(self._begun)]
        return [_NAMES.get(key) or _name(key) for key in _KEY.findall(whole)]


def _name(key: str) -> str:
    """Name a character by its key; of all capitals only E has another meaning."""
    if len(key) > 1:
        return key
    letter = key.lower().translate(_LATIN)
    return "E" if letter == "e" and key.isupper() else letter


class Held:
    """Tells which directions are held down."""

    def __init__(self) -> None:
        self._until: dict[str, float] = {}

    def press(self, direction: str, now: float, *, release_told: bool = False) -> None:
        """Take in that a direction's key was pressed, or repeated, at a time in seconds.

        Without reports of releases, only the key that was pressed last repeats. So another arrow
        takes the place of one that was held, and firing keeps it held.
        """
        if release_told:
            self._until[direction] = math.inf
            return
        again = direction in self.now(now)
        until = now + (_REPEAT_SECONDS if again else _FIRST_SECONDS)
        kept = {
            other: max(then, until)
            for other, then in self._until.items()
            if "FIRE" in {direction, other}
        }
        self._until = {**kept, direction: max(until, self._until.get(direction, 0.0))}

    def release(self, direction: str) -> None:
        """Take in that a direction's key was released."""
        self._until.pop(direction, None)

    def now(self, now: float) -> set[str]:
        """Return the directions that are held at a time."""
        self._until = {d: until for d, until in self._until.items() if now < until}
        return set(self._until)


class Terminal:
    """Shows pictures as half blocks; a `play.Display` without sound."""

    has_sound = is_fine = False

    def __init__(self) -> None:
        """Take over the terminal.

        Raises:
            UserError: standard input or output is not a terminal, or not one that can draw.
        """
        if not HAS_TERMINALS:
            raise UserError("--display terminal needs a POSIX terminal; leave the option out")
        if not (sys.stdin.isatty() and sys.stdout.isatty()):
            raise UserError(
                "--display terminal needs a terminal, but standard input or output is a pipe or a "
                "file; call it from a terminal, without redirection"
            )
        if os.environ.get("TERM", "dumb") == "dumb":
            raise UserError(
                "--display terminal needs a terminal that can draw, but TERM says that this one "
                "cannot; use another terminal, or leave the option out"
            )
        try:
            "▀".encode(sys.stdout.encoding)
        except UnicodeEncodeError as error:
            raise UserError(
                f"--display terminal draws with a character that {sys.stdout.encoding} lacks; use "
                "a terminal with UTF-8 (LC_ALL=C.UTF-8), or leave the option out"
            ) from error
        self._true_colour = os.environ.get("COLORTERM", "") in {"truecolor", "24bit"}
        # The console of Linux takes the question for a command.
        self._ask = "" if os.environ["TERM"].startswith("linux") else _RELEASES_ON
        self._keys = Keys()
        self._held, self._releases_told = Held(), False
        self._next_picture = 0.0
        self._gone = False
        self._settings = termios.tcgetattr(sys.stdin)
        self._take()
        self._before = signal.signal(signal.SIGTSTP, self._stop)  # Ctrl-Z

    def poll(self) -> tuple[list[str], Collection[str]]:
        """Return the keys pressed since the last call, and the directions held now."""
        now = time.perf_counter()
        typed = b""
        if self._gone or select.select([sys.stdin], [], [], 0)[0]:
            typed = self._read()
            if not typed:
                return ["close"], set()
        pressed = []
        for key in self._keys.feed(typed, now):
            if key == _RELEASES_TOLD:
                self._releases_told = True
                continue
            event = _EVENT.fullmatch(key)
            if event and event[1] == "3":
                self._held.release(_ARROWS.get(event[2], ""))
                continue
            arrow = _ARROWS.get(key[-1]) if event or len(key) == 3 else None
            if not event or event[1] == "1":  # no repeat
                pressed.append(key)
            if direction := arrow or _LETTERS.get(key):
                told = self._releases_told and arrow is not None
                self._held.press(direction, now, release_told=told)
        return pressed, self._held.now(now)

    def show(
        self,
        picture: npt.NDArray[np.uint8],
        lines: Collection[str],
        card: Sequence[str] = (),
        beside: Sequence[str] = (),
    ) -> None:
        """Draw a picture as large as the terminal allows, with text below, over and beside it."""
        now = time.perf_counter()
        if now < self._next_picture:
            return
        self._next_picture = now + _SECONDS_BETWEEN_PICTURES
        columns, rows = shutil.get_terminal_size()
        self._write(
            lay_out(picture, lines, card, beside, columns, rows, true_colour=self._true_colour)
        )

    def sound(self, samples: npt.NDArray[np.uint8], volume: float) -> None:
        """Do nothing: terminals are silent."""

    def close(self) -> None:
        """Give the terminal back as it was."""
        signal.signal(signal.SIGTSTP, self._before)
        self._give_back()

    def _take(self) -> None:
        """Switch to the other screen, without a cursor, and read keys as they come."""
        tty.setcbreak(sys.stdin)
        self._write("\x1b[?1049h\x1b[?25l" + self._ask)

    def _stop(self, *_: object) -> None:
        """Leave the terminal to the shell until it calls this program back."""
        self._give_back()
        os.kill(os.getpid(), signal.SIGSTOP)
        self._take()

    def _give_back(self) -> None:
        self._held, self._releases_told = Held(), False
        self._write(f"{_RELEASES_OFF if self._ask else ''}\x1b[0m\x1b[?25h\x1b[?1049l")
        with contextlib.suppress(termios.error):
            termios.tcsetattr(sys.stdin, termios.TCSADRAIN, self._settings)

    def _read(self) -> bytes:
        """Return what was typed; nothing if the terminal went away."""
        with contextlib.suppress(OSError):
            if not self._gone:
                return os.read(sys.stdin.fileno(), 4096)
        return b""

    def _write(self, text: str) -> None:
        try:
            sys.stdout.write(text)
            sys.stdout.flush()
        except OSError:  # the terminal went away
            self._gone = True


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
    """Draw a whole terminal: a picture, text below it and at its right, and a card over it.

    The arguments are those of `play.Display.show` and `draw`.
    """
    below = [part for line in lines for part in wrap(line, columns - 1)]
    rows -= len(below)
    left = columns - (max(map(len, beside)) + 1 if beside else 0)  # columns of the picture
    drawn = draw(picture, left, rows, true_colour=true_colour)
    drawn += "\r\n\x1b[K" * (min(len(beside), rows) - 1 - drawn.count("\r\n"))
    text = "".join(f"\r\n{line}\x1b[K" for line in below)
    over = "".join(
        f"\x1b[{row};{left + 2}H{line[: columns - 1]}"
        for row, line in enumerate(beside[:rows], start=1)
    )
    if card:
        over += _card(card, columns, rows)
    return f"\x1b[H{drawn}{text}\x1b[J{over}"


def wrap(line: str, columns: int) -> list[str]:
    """Break a line between its parts, which two spaces or more set apart, and nowhere else.

    A part that is longer than a row is cut, as is what a wide enough row would hold anyway.
    """
    rows: list[str] = []
    for part, space in re.findall(r"(.+?)(\s{2,}|$)", line):
        if rows and len(rows[-1]) + len(part) <= columns:
            rows[-1] += part + space
        else:
            rows.append(part + space)
    return [row.rstrip()[:columns] for row in rows] or [""]


def _card(lines: Sequence[str], columns: int, rows: int) -> str:
    """Draw lines in a box in the middle of the screen."""
    width = min(max(map(len, lines)), columns - 4)
    left, top = (columns - width - 4) // 2 + 1, max(1, (rows - len(lines) - 2) // 2 + 1)
    box = ["", *lines, ""][: max(rows, 1)]
    return "".join(
        f"\x1b[{top + index};{left}H\x1b[0;7m  {line[:width]:{width}}  \x1b[0m"
        for index, line in enumerate(box)
    )


def draw(picture: npt.NDArray[np.uint8], columns: int, rows: int, *, true_colour: bool) -> str:
    """Turn a picture into half-block characters.

    Args:
        picture: uint8 (height, width, 3), RGB.
        columns: columns of the terminal; each shows one pixel.
        rows: rows of the terminal; each shows two pixels.
        true_colour: use 16 million colours; if False, xterm's 256 colours.
    """
    height, width = picture.shape[:2]
    scale = min(columns / width, 2 * max(rows, 1) / height)
    size = (max(1, int(width * scale)), max(1, int(height * scale / 2)) * 2)
    colours = cv2.resize(picture, size, interpolation=cv2.INTER_AREA).astype(np.int64)
    if not true_colour:
        colours = _nearest_of_256(colours)[..., None]
    code, pairs = ("2" if true_colour else "5"), np.concatenate([colours[::2], colours[1::2]], 2)
    drawn = []
    for row in pairs:  # (columns, upper and lower colour)
        changes = np.flatnonzero(np.any(row[1:] != row[:-1], axis=1)) + 1
        starts = [0, *changes.tolist()]
        text = ""
        for start, end in zip(starts, [*starts[1:], len(row)], strict=True):
            upper, lower = (";".join(map(str, half)) for half in np.split(row[start], 2))
            text += f"\x1b[38;{code};{upper};48;{code};{lower}m" + "▀" * (end - start)
        drawn.append(f"{text}\x1b[0m\x1b[K")
    return "\r\n".join(drawn)


def _nearest_of_256(colours: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Number the nearest of xterm's colours: a cube of 6x6x6 from 16 on, 24 greys from 232 on.

    The first 16 colours are left out, since each terminal has its own.

    Args:
        colours: (height, width, 3), 0 to 255.

    Returns:
        (height, width), 16 to 255.
    """
    cube = np.abs(colours[..., None] - _CUBE).argmin(axis=-1)  # (height, width, 3), 0 to 5
    grey = np.clip((colours.mean(axis=-1) - 3) // 10, 0, 23).astype(np.int64)
    to_cube = ((colours - _CUBE[cube]) ** 2).sum(axis=-1)
    to_grey = ((colours - (8 + 10 * grey)[..., None]) ** 2).sum(axis=-1)
    numbers: npt.NDArray[np.int64] = 16 + cube @ np.array([36, 6, 1])
    return np.where(to_grey < to_cube, 232 + grey, numbers)
