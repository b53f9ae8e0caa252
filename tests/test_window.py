"""The window: on SDL's dummy drivers, and a real one under Xvfb with real keys."""

import os
import re
import shutil
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt
import pygame
import pytest
from safetensors.numpy import load_file

from simple_dqn.watch.window import Window

SECONDS = 60.0  # after which a test gives up
SNAPSHOT = Path(__file__).parent.parent / "snapshots" / "pong_s1_11.safetensors"
Picture = npt.NDArray[np.uint8]


@pytest.fixture
def window(monkeypatch: pytest.MonkeyPatch) -> Iterator[Window]:
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    monkeypatch.setenv("SDL_AUDIODRIVER", "dummy")
    window = Window("test", 640, 420, instead="", sample_rate=30_720)
    yield window
    window.close()


def shown() -> Picture:
    """What is in the window, (height, width, 3)."""
    return pygame.surfarray.array3d(pygame.display.get_surface()).swapaxes(0, 1)


def test_pictures_are_shown_undistorted(window: Window) -> None:
    """Before the first one there is text in the middle, while a network is loaded."""
    assert (shown()[150:-150, 100:-100] > 200).any()
    picture = np.full((420, 640, 3), (10, 20, 30), np.uint8)
    picture[:210] = (200, 100, 0)
    window.show(picture, ["status", "keys"])
    screen = shown()
    height, width = screen.shape[:2]
    assert width == pytest.approx((height - 46) * 640 / 420, abs=2)
    middle = (height - 46) // 2
    assert (screen[2 : middle - 4, 2:-2] == (200, 100, 0)).all()
    assert (screen[middle + 4 : height - 50, 2:-2] == (10, 20, 30)).all()
    assert (screen[-44:] > 200).any()  # text


@pytest.mark.parametrize("size", [(300, 900), (1600, 200)])
def test_any_size_will_do(window: Window, size: tuple[int, int]) -> None:
    """The picture is complete, in its proportions, with bars beside."""
    window._surface = pygame.display.set_mode(size, pygame.RESIZABLE)
    window.show(np.full((420, 640, 3), 99, np.uint8), ["a long line of text " * 9, ""])
    rows, columns = np.nonzero((shown()[: size[1] - 46] == 99).all(axis=2))
    assert (np.ptp(columns) + 1) / (np.ptp(rows) + 1) == pytest.approx(640 / 420, rel=0.05)


@pytest.mark.parametrize("display", [(800, 600), (3840, 2160)])
def test_the_window_fits_the_display(
    window: Window, monkeypatch: pytest.MonkeyPatch, display: tuple[int, int]
) -> None:
    """As high as the panels leave room for; the mind makes it wider, as far as there is room."""
    monkeypatch.setattr(pygame.display, "get_desktop_sizes", lambda: [display])
    window.__init__("test", 640, 420, instead="")  # type: ignore[misc]
    mind: Any = SimpleNamespace(panel=lambda width, height: np.zeros((height, width, 3), np.uint8))
    widths = []
    for shows in (None, mind):
        window.show(np.zeros((420, 640, 3), np.uint8), ["", ""], mind=shows)
        width, height = pygame.display.get_surface().get_size()
        assert height == pytest.approx(0.8 * display[1], abs=2)
        assert width <= 0.9 * display[0]
        widths.append(width)
    assert widths[0] < widths[1]


def press(key: int, text: str, scancode: int = 0, kind: int = pygame.KEYDOWN) -> None:
    event = pygame.event.Event(kind, key=key, unicode=text, scancode=scancode)
    pygame.event.post(event)


def test_keys_count_by_their_place_whatever_the_layout(window: Window) -> None:
    """With CapsLock, and on a Cyrillic layout; a key of the AZERTY layout is what it types."""
    press(pygame.K_m, "M", pygame.KSCAN_M)
    press(0x44C, "ь", pygame.KSCAN_M)
    press(0x439, "Й", pygame.KSCAN_Q)
    press(pygame.K_a, "a", pygame.KSCAN_Q)
    press(0x446, "ц", pygame.KSCAN_W)
    press(pygame.K_SPACE, " ", pygame.KSCAN_SPACE)
    press(pygame.K_UP, "", pygame.KSCAN_UP)
    assert window.poll() == (["m", "m", "q", "a", "w", " ", "up"], {"LEFT", "UP", "FIRE"})
    press(pygame.K_a, "a", pygame.KSCAN_Q, pygame.KEYUP)
    press(pygame.K_UP, "", pygame.KSCAN_UP, pygame.KEYUP)
    assert window.poll() == ([], {"UP", "FIRE"})  # w is still down
    press(0x446, "ц", pygame.KSCAN_W, pygame.KEYUP)
    press(pygame.K_SPACE, " ", pygame.KSCAN_SPACE, pygame.KEYUP)
    assert window.poll() == ([], set())
    for mod in (0, pygame.KMOD_CAPS, pygame.KMOD_SHIFT):
        event = {"key": pygame.K_e, "unicode": "E", "scancode": pygame.KSCAN_E, "mod": mod}
        pygame.event.post(pygame.event.Event(pygame.KEYDOWN, event))
    press(pygame.K_BACKSPACE, "\b", pygame.KSCAN_BACKSPACE)
    press(pygame.K_F12, "", pygame.KSCAN_F12)
    press(pygame.K_ESCAPE, "\x1b", pygame.KSCAN_ESCAPE)
    pygame.event.post(pygame.event.Event(pygame.QUIT))
    assert window.poll()[0] == ["e", "e", "E", "backspace", "f12", "escape", "close"]


def test_a_gamepad_steers(window: Window) -> None:
    """Its stick, its pad, its buttons; SDL's events, since no machine of ours has a gamepad."""

    def held(kind: int, **what: object) -> set[str]:
        pygame.event.post(pygame.event.Event(kind, instance_id=0, **what))
        return set(window.poll()[1])

    assert held(pygame.JOYAXISMOTION, axis=1, value=-0.9) == {"UP"}
    assert held(pygame.JOYAXISMOTION, axis=0, value=1.0) == {"UP", "RIGHT"}
    assert held(pygame.JOYAXISMOTION, axis=3, value=1.0) == {"UP", "RIGHT"}  # the other stick
    assert held(pygame.JOYBUTTONDOWN, button=2) == {"UP", "RIGHT", "FIRE"}
    assert held(pygame.JOYAXISMOTION, axis=1, value=0.1) == {"RIGHT", "FIRE"}
    assert held(pygame.JOYBUTTONUP, button=2) == {"RIGHT"}
    assert held(pygame.JOYHATMOTION, hat=0, value=(-1, 1)) == {"RIGHT", "LEFT", "UP"}
    assert held(pygame.JOYHATMOTION, hat=0, value=(0, -1)) == {"RIGHT", "DOWN"}
    assert held(pygame.JOYDEVICEREMOVED) == set()


def test_sound_is_played(
    window: Window, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Without a sound device the game is shown all the same."""
    assert window.has_sound
    for _ in range(8):
        window.sound(np.zeros(512, np.uint8), 0.5)
    channel = pygame.mixer.Channel(0)
    assert channel.get_busy()
    assert channel.get_volume() == pytest.approx(0.5, abs=0.01)
    window.close()
    monkeypatch.setenv("SDL_AUDIODRIVER", "none of these")
    silent = Window("test", 640, 420, instead="", sample_rate=30_720)
    silent.show(np.zeros((420, 640, 3), np.uint8), ["", ""])
    assert not silent.has_sound
    assert [record.getMessage()[:9] for record in caplog.records] == ["no sound:"]


def wait_until(condition: Callable[[], object]) -> None:
    """Ask again and again, until the answer is true; no more than a minute."""
    until = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.02)


class Desktop:
    """A virtual X display, its pixels and its keyboard."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        read, write = os.pipe()
        screen = ["-screen", "0", "800x600x24", "-fbdir", folder]
        self._server = subprocess.Popen(
            ["Xvfb", "-displayfd", str(write), *screen],
            pass_fds=[write],
            stderr=subprocess.DEVNULL,
        )
        os.close(write)
        with os.fdopen(read) as pipe:
            display = f":{pipe.readline().strip()}"
        self.environment = os.environ | {"DISPLAY": display, "SDL_AUDIODRIVER": "dummy"}
        self.environment.pop("SDL_VIDEODRIVER", None)
        self._pixels = folder / "Xvfb_screen0"

    def close(self) -> None:
        self._server.terminate()
        self._server.wait()

    def xdotool(self, *arguments: str) -> str:
        return subprocess.run(
            ["xdotool", *arguments],
            env=self.environment,
            check=True,
            capture_output=True,
            text=True,
            timeout=SECONDS,
        ).stdout

    def window(self) -> str:
        """The number of the command's window."""
        return self.xdotool("search", "--class", "simple_dqn")

    def geometry(self) -> tuple[int, int, int, int]:
        """The left, top, width and height of the command's window."""
        told = self.xdotool("getwindowgeometry", "--shell", self.window())
        numbers = {name: int(value) for name, value in re.findall(r"(\w+)=(-?\d+)", told)}
        return numbers["X"], numbers["Y"], numbers["WIDTH"], numbers["HEIGHT"]

    def screenshot(self) -> Picture:
        """The display's pixels, (height, width, 3): a file in X's window dump format."""
        data = self._pixels.read_bytes()
        header = struct.unpack(">25I", data[:100])
        size, width, height, line, colours = header[0], *header[4:6], header[12], header[19]
        rows = np.frombuffer(data, np.uint8, line * height, size + 12 * colours)
        return rows.reshape(height, -1, 4)[:, :width, 2::-1]


def play(desktop: Desktop, *arguments: str) -> subprocess.Popen[str]:
    """Start the command and wait until its window shows a game, not the text "loading"."""
    process = subprocess.Popen(
        [sys.executable, "-m", "simple_dqn", "play", *arguments],
        cwd=desktop.folder,
        env=desktop.environment,
        stderr=subprocess.PIPE,
        text=True,
    )
    wait_until(lambda: process.poll() is not None or (desktop.screenshot() > 60).mean() > 0.02)
    assert process.poll() is None, process.communicate()
    return process


@pytest.fixture
def desktop(tmp_path: Path) -> Iterator[Desktop]:
    if not (shutil.which("Xvfb") and shutil.which("xdotool")):
        pytest.skip("needs Xvfb and xdotool")
    desktop = Desktop(tmp_path)
    yield desktop
    desktop.close()


def test_a_network_is_watched_and_relieved(desktop: Desktop, tmp_path: Path) -> None:
    """Its moves, ours, its again; then the mind, full screen, a person's size; all by real keys."""
    experience = tmp_path / "played.safetensors"
    record = ["--record_experience", str(experience)]
    process = play(desktop, str(SNAPSHOT), *record, "--backend", "cpu")
    height, width = desktop.screenshot().shape[:2]

    def status() -> bytes:
        """The pixels where it is written who plays."""
        screen = desktop.screenshot()
        rows, columns = np.nonzero((screen == (16, 16, 18)).all(axis=2))
        top, left = rows.max() - 45, columns.min()
        return screen[top : top + 25, left : left + 130].tobytes()

    def game() -> bytes:
        return desktop.screenshot()[height // 4 : height // 2].tobytes()

    def fits(geometry: tuple[int, int, int, int]) -> bool:
        left, top, wide, high = geometry
        return left >= 0 and top >= 0 and left + wide <= width and top + high <= height

    watching, first = status(), game()
    wait_until(lambda: game() != first)  # it moves
    desktop.xdotool("key", "m")
    wait_until(lambda: status() != watching)
    desktop.xdotool("keydown", "Up")
    for _ in range(9):
        now = game()
        wait_until(lambda now=now: game() != now)
    desktop.xdotool("keyup", "Up", "key", "m")
    wait_until(lambda: status() == watching)
    narrow, window = desktop.geometry(), desktop.window()
    title = desktop.xdotool("getwindowname", window)
    assert title == "simple_dqn: pong, network nips of epoch 11, pong_s1_11\n"
    assert fits(narrow)
    assert narrow[3] > 0.6 * height
    desktop.xdotool("key", "v")
    wait_until(lambda: desktop.geometry()[2] > narrow[2] and fits(desktop.geometry()))
    assert desktop.window() == window  # a new one would lose keys
    desktop.xdotool("key", "f")
    wait_until(lambda: desktop.geometry() == (0, 0, width, height))
    desktop.xdotool("key", "v", "f")
    wait_until(lambda: desktop.geometry() == narrow)
    desktop.xdotool("windowsize", "--sync", window, "500", "400")
    before = desktop.screenshot()
    desktop.xdotool("key", "v", "m")  # the status line shows when both are done
    wait_until(lambda: (desktop.screenshot() != before).any())
    assert desktop.geometry()[2:] == (500, 400)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=SECONDS)
    assert process.returncode == 0, errors
    assert not re.search("error|Traceback", errors), errors
    played = load_file(experience)
    assert 2 in played["actions"]  # up is Pong's right
    assert played["cuts"][-1]
    assert played["screens"].shape[1:] == (84, 84)
