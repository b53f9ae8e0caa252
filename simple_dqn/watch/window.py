"""A window with sound, through pygame."""

import contextlib
import ctypes
import logging
import os
import re
import sys
from collections.abc import Callable, Collection, Iterator, Sequence

import cv2
import numpy as np
import numpy.typing as npt

from simple_dqn.errors import UserError

os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
os.environ.setdefault("SDL_VIDEO_X11_WMCLASS", "simple_dqn")
os.environ.setdefault("SDL_VIDEO_CENTERED", "1")  # so that a wider window is whole, too
import pygame

logger = logging.getLogger(__name__)

_STEERING = {
    "up": "UP",
    "down": "DOWN",
    "left": "LEFT",
    "right": "RIGHT",
    " ": "FIRE",
    "w": "UP",
    "a": "LEFT",
    "s": "DOWN",
    "d": "RIGHT",
}
# SDL's drivers without a screen. SDL takes one of them by itself where it finds no screen.
_UNSEEN = {"dummy", "offscreen"}
_TEXT, _DIM, _BACK = (230, 230, 230), (150, 150, 155), (16, 16, 18)
_HEADING = (255, 158, 52)
# Shares of the display for a window at first: title bar, dock and panels need the rest.
_WIDEST, _HIGHEST = 0.9, 0.8
_BAR = 46  # pixels below the picture for two lines of text, on a display of up to 1080 lines
_FONT = 22  # pixels, there too
_FRAMES_PER_SOUND = 4
_STICK_MOVED = 0.5  # of its way
_INSTEAD = (
    "play in the terminal with --display terminal, film the game with scripts/record.sh, or run on "
    "a machine with a screen"
)


def _when_x_is_lost(function: Callable[[], None] | None) -> object:
    """Let Xlib call a function before it ends the process, where the X server goes away."""
    if function is None:
        return None
    handler = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p)(lambda _: function() or 0)
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL("libX11.so.6").XSetIOErrorHandler(handler)
    return handler


class Window:
    """Shows pictures in a window that can be resized; a `play.Display`."""

    is_fine = True

    def __init__(
        self,
        title: str,
        width: int,
        height: int,
        *,
        instead: str = _INSTEAD,
        sample_rate: int = 0,
        on_lost: Callable[[], None] | None = None,
    ) -> None:
        """Open the window.

        Args:
            title: of the window.
            width: of the pictures at first.
            height: of the pictures at first.
            instead: what a person without a display can do; the end of the error's text.
            sample_rate: samples of sound per second; 0: there is no sound.
            on_lost: called if the X server goes away; Xlib ends the process then.

        Raises:
            UserError: there is no display.
        """
        try:
            _check_screen()
            with _libraries_silent():
                pygame.display.init()
            if not os.environ.get("SDL_VIDEODRIVER") and pygame.display.get_driver() in _UNSEEN:
                raise pygame.error("no screen found")
        except pygame.error as error:
            raise UserError(f"no display for a window ({error}): {instead}") from error
        if pygame.display.get_driver() == "x11":
            # With its own renderer SDL makes a new window for each new size, and loses keys then.
            os.environ.setdefault("SDL_FRAMEBUFFER_ACCELERATION", "0")
            self._on_lost = _when_x_is_lost(on_lost)  # kept, since C calls it
        pygame.font.init()
        self._shape: tuple[int, ...] = (height, width)
        desktop_width, desktop_height = self._desktop = pygame.display.get_desktop_sizes()[0]
        self._unit = max(1.0, desktop_height / 1080)
        self._bar = round(_BAR * self._unit)
        self._scale = min(
            _WIDEST * desktop_width / width, (_HIGHEST * desktop_height - self._bar) / height
        )
        pygame.display.set_caption(title)
        pygame.display.set_icon(_icon())
        self._size = self._fitting(self._shape)  # that we gave the window
        self._surface = pygame.display.set_mode(self._size, pygame.RESIZABLE)
        self._before = self._size  # full screen
        self._font = pygame.font.Font(None, round(_FONT * self._unit))
        self._channel = self._open_sound(sample_rate) if sample_rate else None
        self._samples: list[npt.NDArray[np.uint8]] = []
        # Directions, by what is held: the scan code of a key, or a gamepad's part.
        self._held: dict[object, str] = {}
        self._gamepads: dict[int, pygame.joystick.JoystickType] = {}
        with _libraries_silent():
            pygame.joystick.init()
        self._show_loading()

    @property
    def has_sound(self) -> bool:
        """Whether there is sound, and a device to hear it."""
        return self._channel is not None

    def poll(self) -> tuple[list[str], Collection[str]]:
        """Return the keys pressed since the last call, and the directions held now."""
        pressed = []
        for event in pygame.event.get():
            if event.type == pygame.QUIT:
                pressed.append("close")
            elif event.type == pygame.KEYDOWN:
                name = _name(event)
                pressed.append(name)
                if name == "f":
                    self._change_full_screen()
                if name in _STEERING:
                    self._held[event.scancode] = _STEERING[name]
            elif event.type == pygame.KEYUP:
                self._held.pop(event.scancode, None)
            else:
                self._use_gamepad(event)
        return pressed, set(self._held.values())

    def _use_gamepad(self, event: pygame.event.Event) -> None:
        """Take in that a gamepad came or went, or that its stick, pad or button moved."""
        if event.type == pygame.JOYDEVICEADDED:
            gamepad = pygame.joystick.Joystick(event.device_index)
            self._gamepads[gamepad.get_instance_id()] = gamepad  # kept, else it reports nothing
        elif event.type == pygame.JOYDEVICEREMOVED:
            self._gamepads.pop(event.instance_id, None)
            self._held = {part: d for part, d in self._held.items() if isinstance(part, int)}
        elif event.type == pygame.JOYAXISMOTION and event.axis < 2:
            self._hold("stick", event.axis, event.value)
        elif event.type == pygame.JOYHATMOTION:
            self._hold("pad", 0, event.value[0])
            self._hold("pad", 1, -event.value[1])  # up is 1
        elif event.type == pygame.JOYBUTTONDOWN:
            self._held["button", event.button] = "FIRE"
        elif event.type == pygame.JOYBUTTONUP:
            self._held.pop(("button", event.button), None)

    def _hold(self, part: str, axis: int, value: float) -> None:
        """Take in where a stick or pad is: from -1, left or up, to 1, right or down."""
        self._held.pop((part, axis), None)
        if abs(value) > _STICK_MOVED:
            directions = (("LEFT", "RIGHT"), ("UP", "DOWN"))
            self._held[part, axis] = directions[axis][value > 0]

    def _change_full_screen(self) -> None:
        """Fill the display, or go back to the window as it was.

        NB! Without a window manager SDL fills the display only with a window of its size and place,
        and gives a window that was full the size of before, whatever size it is given.
        """
        is_full = bool(self._surface.get_flags() & pygame.FULLSCREEN)
        if is_full and self._before == self._size:
            self._before = self._size = self._fitting(self._shape)
        elif not is_full:
            self._before = self._surface.get_size()
        pygame.display.set_mode(self._desktop, pygame.RESIZABLE)
        self._surface = pygame.display.set_mode(
            self._before if is_full else self._desktop,
            pygame.RESIZABLE if is_full else pygame.FULLSCREEN,
        )

    def show(
        self,
        picture: npt.NDArray[np.uint8],
        lines: Collection[str],
        card: Sequence[str] = (),
        beside: Sequence[str] = (),  # noqa: ARG002 (a window's picture has it)
    ) -> None:
        """Show a picture as large as the window allows, two lines of text below, a card over it."""
        self._follow(picture.shape[:2])
        width, height = self._surface.get_size()
        room = max(1, height - self._bar)
        scale = min(width / picture.shape[1], room / picture.shape[0])
        size = (max(1, int(picture.shape[1] * scale)), max(1, int(picture.shape[0] * scale)))
        scaled = cv2.resize(picture, size, interpolation=cv2.INTER_LINEAR)
        self._surface.fill(_BACK)
        image = pygame.image.frombuffer(scaled.data, size, "RGB")
        self._surface.blit(image, ((width - size[0]) // 2, (room - size[1]) // 2))
        for index, (line, colour) in enumerate(zip(lines, (_TEXT, _DIM), strict=True)):
            text = self._font.render(line, True, colour)
            if text.get_width() > width - 20:
                text = pygame.transform.smoothscale_by(text, (width - 20) / text.get_width())
            self._surface.blit(text, (10, room + int((5 + 20 * index) * self._unit)))
        if card:
            self._show_card(card, width, room)
        pygame.display.flip()

    def sound(self, samples: npt.NDArray[np.uint8], volume: float) -> None:
        """Play the sound of a frame; sound that comes too late is dropped."""
        if self._channel is None:
            return
        self._samples.append(samples)
        if len(self._samples) < _FRAMES_PER_SOUND:
            return
        joined, self._samples = np.concatenate(self._samples), []
        if self._channel.get_queue() is None:
            wave = ((joined.astype(np.int16) - 128) << 7).tobytes()
            self._channel.set_volume(volume)
            self._channel.queue(pygame.mixer.Sound(buffer=wave))

    def close(self) -> None:
        """Close the window."""
        pygame.quit()

    def _show_loading(self) -> None:
        """Show at once that something will come: a network takes seconds to load."""
        width, height = self._surface.get_size()
        self._surface.fill(_BACK)
        self._show_card(["loading ..."], width, height)
        pygame.display.flip()
        pygame.event.pump()

    def _show_card(self, lines: Sequence[str], width: int, height: int) -> None:
        """Show lines in a box in the middle of (width, height), the first one as a heading.

        What follows two spaces or more in a line stands in a second column.
        """
        row = self._font.get_linesize() + 4
        cells = [re.split(r"\s{2,}", line.strip(), maxsplit=1) for line in lines]
        texts = [
            [self._font.render(cell, True, _TEXT if index else _HEADING) for cell in line]
            for index, line in enumerate(cells)
        ]
        column = max((line[0].get_width() for line in texts if len(line) > 1), default=0) + row
        ends = [line[0].get_width() for line in texts]
        ends += [column + line[1].get_width() for line in texts if len(line) > 1]
        box = pygame.Surface((max(ends) + 2 * row, row * (len(texts) + 1)))
        box.fill(_BACK)
        for index, line in enumerate(texts):
            for number, text in enumerate(line):
                box.blit(text, (row + number * column, row // 2 + row * index))
        box.set_alpha(235)
        scale = min(1.0, width / box.get_width(), height / box.get_height())
        if scale < 1:
            box = pygame.transform.smoothscale_by(box, scale)
        self._surface.blit(box, ((width - box.get_width()) // 2, (height - box.get_height()) // 2))

    def _fitting(self, shape: tuple[int, ...]) -> tuple[int, int]:
        """The width and height of a window for a picture (height, width)."""
        width = min(int(shape[1] * self._scale), int(_WIDEST * self._desktop[0]))
        height = int(shape[0] * self._scale) + self._bar
        return width, min(height, int(_HIGHEST * self._desktop[1]))

    def _follow(self, shape: tuple[int, ...]) -> None:
        """Give the window the size for another picture, unless a person chose one."""
        if shape != self._shape and self._surface.get_size() == self._size:
            self._size = self._fitting(shape)
            self._surface = pygame.display.set_mode(self._size, pygame.RESIZABLE)
        self._shape = shape

    def _open_sound(self, sample_rate: int) -> pygame.mixer.Channel | None:
        try:
            with _libraries_silent():
                pygame.mixer.init(sample_rate, -16, 1, 512, allowedchanges=0)
        except pygame.error as error:
            logger.warning("no sound: %s", error)
            return None
        return pygame.mixer.Channel(0)


def _icon() -> pygame.Surface:
    """A ball between two paddles."""
    icon = pygame.Surface((64, 64))
    icon.fill((144, 72, 17))
    for colour, box in (
        ((213, 130, 74), (6, 10, 8, 26)),
        ((236, 236, 236), (32, 28, 8, 8)),
        ((92, 186, 92), (50, 28, 8, 26)),
    ):
        icon.fill(colour, box)
    return icon


def _name(event: pygame.event.Event) -> str:
    """Name a key: what it types, in lower case; its place on the keyboard if that is not Latin.

    Only the capital E has a meaning of its own.
    """
    if event.key == pygame.K_ESCAPE:
        return "escape"
    if event.key == pygame.K_BACKSPACE:
        return "backspace"
    typed: str = event.unicode.lower()
    letter = event.scancode - pygame.KSCAN_A
    if not typed.isascii() and 0 <= letter < 26:
        typed = chr(ord("a") + letter)
    if typed == "e" and getattr(event, "mod", 0) & pygame.KMOD_SHIFT:
        return "E"
    return typed or pygame.key.name(event.key)


@contextlib.contextmanager
def _libraries_silent() -> Iterator[None]:
    """Keep complaints of C libraries off stderr: SDL's own error says the same in one line."""
    sys.stderr.flush()
    kept = os.dup(2)
    with open(os.devnull, "wb") as nowhere:  # noqa: PTH123
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def _check_screen() -> None:
    """Stop where there can be no screen, before SDL searches for one and complains.

    Raises:
        pygame.error: no environment variable names a screen.
    """
    named = ("DISPLAY", "WAYLAND_DISPLAY", "SDL_VIDEODRIVER")
    if sys.platform == "linux" and not any(os.environ.get(name) for name in named):
        raise pygame.error("neither DISPLAY nor WAYLAND_DISPLAY is set")
