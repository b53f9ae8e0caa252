"""Half blocks against pixels, and the command in a terminal of its own."""

import os
import re
import shutil
import signal
import sys
import termios
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from helpers import InTerminal, run_in_terminal
from safetensors.numpy import load_file

from simple_dqn.watch.terminal import Held, Keys, draw, lay_out, wrap

COLOUR = re.compile(r"\x1b\[38;2;(\d+);(\d+);(\d+);48;2;(\d+);(\d+);(\d+)m(▀+)")
SNAPSHOTS = Path(__file__).parent.parent / "snapshots"


def pixels(text: str) -> npt.NDArray[np.int64]:
    """Read drawn lines back."""
    lines = []
    for line in text.split("\r\n"):
        upper: list[list[int]] = []
        lower: list[list[int]] = []
        for match in COLOUR.finditer(line):
            numbers = [int(number) for number in match.groups()[:6]]
            upper += [numbers[:3]] * len(match[7])
            lower += [numbers[3:]] * len(match[7])
        lines += [upper, lower]
    return np.array(lines)


def test_each_character_is_two_pixels() -> None:
    """A picture of the terminal's own size, with equal neighbours here and there."""
    picture = np.random.default_rng(0).integers(2, size=(12, 20, 3), dtype=np.uint8) * 200
    text = draw(picture, 20, 6, true_colour=True)
    np.testing.assert_array_equal(pixels(text), picture)
    assert text.count("\x1b[0m") == 6


@pytest.mark.parametrize(
    ("columns", "rows", "expected"),
    [(80, 24, (48, 73)), (40, 60, (26, 40)), (1, 1, (2, 1)), (5, 0, (2, 3)), (300, 60, (120, 182))],
)
def test_pictures_keep_their_shape(columns: int, rows: int, expected: tuple[int, int]) -> None:
    picture = np.full((420, 640, 3), 7, np.uint8)
    assert pixels(draw(picture, columns, rows, true_colour=True)).shape[:2] == expected


def test_256_colours_are_the_nearest_that_xterm_has() -> None:
    """Against all 240 that are the same everywhere: a cube and greys, as xterm's 256colres.pl."""
    levels = (0, 95, 135, 175, 215, 255)
    known = [(red, green, blue) for red in levels for green in levels for blue in levels]
    known += [(8 + 10 * grey,) * 3 for grey in range(24)]
    picture = np.random.default_rng(0).integers(256, size=(60, 40, 3), dtype=np.uint8)
    picture[:30] = np.clip(picture[:30, :, :1].astype(int) + picture[:30] // 25, 0, 255)  # greyish
    picture[0, 0] = (144, 72, 17)  # the brown behind Pong
    text = draw(picture, 40, 30, true_colour=False)
    assert text.startswith("\x1b[38;5;94;")
    cells = re.findall(r"38;5;(\d+);48;5;(\d+)m(▀+)", text)
    halves = [(int(a), int(b)) for a, b, blocks in cells for _ in blocks]
    numbers = np.array(halves).reshape(30, 40, 2).transpose(0, 2, 1).reshape(60, 40)
    distances = ((picture[:, :, None].astype(int) - np.array(known)) ** 2).sum(axis=-1)
    chosen = np.take_along_axis(distances, numbers[..., None] - 16, axis=-1)[..., 0]
    np.testing.assert_array_equal(chosen, distances.min(axis=-1))


@pytest.mark.parametrize("columns", [20, 40, 79, 200])
def test_lines_break_between_their_parts(columns: int) -> None:
    """No key is cut or left out; with room for all there is one row."""
    parts = ["arrows: steer", "m: take over", "[/]: volume", "p: pause", "q: quit"]
    rows = wrap("  ".join(parts), columns)
    assert max(map(len, rows)) <= columns
    assert [part for row in rows for part in row.split("  ")] == parts
    assert (len(rows) == 1) == (columns >= 59 + 6)
    assert wrap("", 9) == [""]
    assert wrap("a part too long", 6) == ["a part", " too l", "ong"]


@pytest.mark.parametrize("number", [3, 50])
@pytest.mark.parametrize(("columns", "rows"), [(80, 24), (200, 60)])
def test_text_beside_the_picture_hides_none_below(number: int, columns: int, rows: int) -> None:
    """Lines of text have rows of their own, however many there are beside the picture."""
    picture = np.full((420, 640, 3), 7, np.uint8)
    beside = [f"thought {index:20}" for index in range(number)]
    text = lay_out(picture, ["status", "keys"], (), beside, columns, rows, true_colour=True)
    assert not re.search(r"\x1b\[\d+;\d+H", text)  # written twice, it would flicker
    rows_shown = [re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", line) for line in text.split("\r\n")]
    assert rows_shown[-2:] == ["status", "keys"]
    assert len(rows_shown) <= rows
    shown = [row for row in rows_shown if "thought" in row]
    assert shown == rows_shown[: min(number, rows - 2)]
    assert len({row.index("thought") for row in shown}) == 1
    assert max(map(len, rows_shown)) < columns  # what follows erases nothing


@pytest.mark.parametrize(
    ("pieces", "expected"),
    [
        ([b"\x1b", b"[A"], ["up"]),
        ([b"m\x1b[", b"", b"Bm"], ["m", "down", "m"]),
        ([b"\x1bO", b"C"], ["right"]),
        ([b"\x1b[1;", b"2", b"A"], ["\x1b[1;2A"]),
        ([b"\x1b", b"\x1b[A"], ["escape", "up"]),
        ([b"\xc3", b"\xa4"], ["\u00e4"]),
        ([b"mMeE\x7f\b\x1b[24~"], ["m", "m", "e", "E", "backspace", "backspace", "f12"]),
        ([b"\x1b", *[b""] * 20, b"[A"], ["escape", "[", "a"]),
    ],
)
def test_keys_may_arrive_in_pieces(pieces: list[bytes], expected: list[str]) -> None:
    """40 ms lie between the pieces, as over a network; nothing follows an escape that was meant."""
    keys = Keys()
    read = [key for index, piece in enumerate(pieces) for key in keys.feed(piece, 0.04 * index)]
    assert read == expected


def test_a_held_key_steers_until_it_is_released() -> None:
    """A key repeats after half a second, then every 30 ms; a touch of the key ends in time."""
    held = Held()
    held.press("UP", 0.0)
    assert all(held.now(0.01 * step) == {"UP"} for step in range(50))
    for step in range(20):
        held.press("UP", 0.5 + 0.03 * step)
        assert held.now(0.52 + 0.03 * step) == {"UP"}
    assert held.now(1.3) == set()  # 0.23 s after the last repeat
    held.press("DOWN", 2.0)
    assert held.now(2.59) == {"DOWN"}
    assert held.now(2.61) == set()


def test_firing_ends_no_arrow_and_another_arrow_does() -> None:
    held = Held()
    held.press("UP", 0.0)
    held.press("FIRE", 0.3)  # from here on only the space bar repeats
    for step in range(40):
        held.press("FIRE", 0.8 + 0.03 * step)
        assert held.now(0.81 + 0.03 * step) == {"UP", "FIRE"}
    held.press("DOWN", 2.0)
    assert held.now(2.0) == {"DOWN", "FIRE"}
    assert held.now(2.3) == {"DOWN", "FIRE"}
    held.press("FIRE", 9.0)
    assert held.now(9.0) == {"FIRE"}  # what was released long ago stays so


def test_without_a_screen_the_game_is_shown_in_the_terminal(tmp_path: Path) -> None:
    """And without a name the networks at hand are listed, and the chosen one plays."""
    (tmp_path / "snapshots").mkdir()
    for name in ("cartpole_s1_5", "pong_s1_11"):
        shutil.copy(SNAPSHOTS / f"{name}.safetensors", tmp_path / "snapshots")
    (tmp_path / "snapshots" / "pong_s1_11.training.safetensors").touch()
    for epoch in (8, 9, 10):
        (tmp_path / "snapshots" / f"pong_s1_{epoch}.safetensors").touch()
    (tmp_path / "results").mkdir()
    rows = ["phase,epoch,average_reward", "test,8,nan", "test,9,18", "test,10,19.5", "test,11,17"]
    (tmp_path / "results" / "pong_s1.csv").write_text("\n".join(rows))
    keys = [("Which network", "3\n"), ("The network plays", "v"), ("Q-values", "\x1b")]
    command = [sys.executable, "-m", "simple_dqn", "play", "--backend", "cpu"]
    environment = {"COLORTERM": "truecolor", "SIMPLE_DQN_ROOT": str(tmp_path), "DISPLAY": ""}
    environment["WAYLAND_DISPLAY"] = ""
    status, output = run_in_terminal(command, tmp_path, keys=keys, **environment)
    assert status == 0, output
    assert re.search(r"\x1b\[\?1049h\x1b\[\?25l(.|\n)*\x1b\[\?25h\x1b\[\?1049l", output)
    menu = r"1  cartpole_s1_5\s+2  pong_s1_10 +test 19.5, best\s+3  pong_s1_11 +test 17, last\s"
    assert re.search(rf"Which network\?\s+{menu}", output)
    assert output.count("no display for a window") == 1


def test_a_game_in_a_terminal(tmp_path: Path) -> None:
    """Drawn, paused and played with arrows, which are held for all of a step.

    Ctrl-Z gives the terminal to the shell, and `fg` continues the game; Ctrl-C leaves it, and what
    was played is kept.
    """
    options = ["--display", "terminal", "--record_experience", str(tmp_path / "played.safetensors")]
    game = InTerminal([sys.executable, "-m", "simple_dqn", "play", "pong", *options], tmp_path)
    settings = termios.tcgetattr(game.controller)
    game.wait_for(r"(\x1b\[38;[25];[0-9;]*m▀+)+(.|\n)*You play   score 0", "p")
    game.wait_for("paused", "\x1b[An-")
    game.wait_for("speed 0.5", "\x1b[15~+p")  # F5 is not Escape
    game.wait_for(r"speed 1\x1b", "\x1a")
    game.wait_for(r"\x1b\[\?25h\x1b\[\?1049l")
    assert os.WIFSTOPPED(os.waitpid(game.process.pid, os.WUNTRACED)[1])
    assert termios.tcgetattr(game.controller) == settings
    game.process.send_signal(signal.SIGCONT)
    game.wait_for(r"\x1b\[\?1049h\x1b\[\?25l", "n")
    game.wait_for("paused", "\x03")
    game.wait_for(r"\x1b\[\?25h\x1b\[\?1049l")
    game.process.wait(60)
    assert termios.tcgetattr(game.controller) == settings
    assert game.end() == 0
    assert 2 in load_file(tmp_path / "played.safetensors")["actions"]  # up is Pong's right
