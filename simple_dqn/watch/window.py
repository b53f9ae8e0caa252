"""A window with sound, through pygame."""

import logging
import os
import re
from collections.abc import Collection, Sequence

import cv2
import numpy as np
import numpy.typing as npt

from simple_dqn.errors import UserError
from simple_dqn.watch.mind import WIDTH, Mind
from simple_dqn.watch.steering import STEERING

os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
os.environ.setdefault("SDL_VIDEO_X11_WMCLASS", "simple_dqn")
os.environ.setdefault("SDL_VIDEO_CENTERED", "1")  # so that a wider window is on the display, too
import pygame

logger = logging.getLogger(__name__)

# SDL's drivers without a screen. SDL takes one of them by itself where it finds no screen.
_UNSEEN = {"dummy", "offscreen"}
_TEXT, _DIM, _BACK, _HEADING = (230, 230, 230), (150, 150, 155), (16, 16, 18), (255, 158, 52)
# Shares of the display for a window at first: title bar, dock and panels need the rest.
_WIDEST, _HIGHEST = 0.9, 0.8
_BAR = 46  # pixels below the picture for two lines of text, on a display of up to 1080 lines
_FONT = 22  # pixels, there too
_FRAMES_PER_SOUND = 4
_STICK_MOVED = 0.5  # of its way


class Window:
    """Shows pictures in a window that can be resized; `Terminal` has the same methods."""

    def __init__(
        self, title: str, width: int, height: int, *, instead: str, sample_rate: int = 0
    ) -> None:
        """Open the window for pictures of this size, with sound if there is a sample rate.

        An error says that there is no display, and what a person can do `instead`.
        """
        try:
            pygame.display.init()
            driver = pygame.display.get_driver()
            if driver in _UNSEEN and not os.environ.get("SDL_VIDEODRIVER"):
                raise pygame.error("no screen found")
        except pygame.error as error:
            raise UserError(f"no display for a window ({error}): {instead}") from error
        if driver == "x11":
            # With its own renderer SDL makes a new window for each new size, and loses keys then.
            os.environ.setdefault("SDL_FRAMEBUFFER_ACCELERATION", "0")
        pygame.font.init()
        pygame.joystick.init()
        self._desktop = pygame.display.get_desktop_sizes()[0]
        self._unit = max(1.0, self._desktop[1] / 1080)
        self._bar = round(_BAR * self._unit)
        self._scale = min(
            _WIDEST * self._desktop[0] / width, (_HIGHEST * self._desktop[1] - self._bar) / height
        )
        pygame.display.set_caption(title)
        self._size = self._before = self._fitting(width, height)  # that we gave; before full screen
        self._surface = pygame.display.set_mode(self._size, pygame.RESIZABLE)
        self._font = pygame.font.Font(None, round(_FONT * self._unit))
        self.has_sound = False
        if sample_rate:
            try:
                pygame.mixer.init(sample_rate, -16, 1, 512, allowedchanges=0)
                self.has_sound = True
            except pygame.error as error:
                logger.warning("no sound: %s", error)
        self._samples: list[npt.NDArray[np.uint8]] = []
        # Directions, by what is held: the scan code of a key, or a gamepad's part.
        self._held: dict[object, str] = {}
        self._gamepads: dict[int, pygame.joystick.JoystickType] = {}
        self._surface.fill(_BACK)
        self._show_card(["loading ..."], *self._size)  # a network takes seconds to load
        pygame.display.flip()
        pygame.event.pump()

    def poll(self) -> tuple[list[str], Collection[str]]:
        """Return the keys pressed since the last call, and the `DIRECTIONS` held now.

        A letter is in lower case, but for E, and the Latin one on that key.
        """
        pressed = []
        for event in pygame.event.get():
            if event.type == pygame.QUIT:
                pressed.append("close")
            elif event.type == pygame.KEYDOWN:
                name = _name(event)
                pressed.append(name)
                if name == "f":
                    self._change_full_screen()
                if name in STEERING:
                    self._held[event.scancode] = STEERING[name]
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
        """Fill the display, or go back to the window as it was."""
        size, flag = self._before, pygame.RESIZABLE
        if not self._surface.get_flags() & pygame.FULLSCREEN:
            self._before = self._surface.get_size()
            size, flag = self._desktop, pygame.FULLSCREEN
        # NB! Without a window manager SDL fills the display only with a window of its size.
        pygame.display.set_mode(self._desktop, pygame.RESIZABLE)
        self._surface = pygame.display.set_mode(size, flag)

    def show(
        self,
        picture: npt.NDArray[np.uint8],
        lines: Collection[str],
        card: Sequence[str] = (),
        mind: Mind | None = None,
    ) -> None:
        """Show a picture, uint8 (height, width, 3), as large as the window allows.

        Two lines of text are below it, a card over it and a mind beside it.
        """
        high, wide = picture.shape[:2]
        panel = WIDTH if mind is not None else 0
        # The mind makes the window wider, unless a person chose its size.
        if self._surface.get_size() == self._size != (fitting := self._fitting(wide + panel, high)):
            self._size = fitting
            self._surface = pygame.display.set_mode(fitting, pygame.RESIZABLE)
        width, height = self._surface.get_size()
        room = max(1, height - self._bar)
        scale = min(width / (wide + panel), room / high)
        size = (max(1, int(wide * scale)), max(1, int(high * scale)))
        scaled = cv2.resize(picture, size, interpolation=cv2.INTER_LINEAR)
        self._surface.fill(_BACK)
        left = (width - int((wide + panel) * scale)) // 2
        drawn = [scaled]
        if mind is not None:  # drawn at the window's own size, in all of its height
            drawn.append(mind.panel(max(1, int(panel * scale)), min(room, 2 * size[1])))
        for x, each in zip((left, left + size[0]), drawn, strict=False):
            image = pygame.image.frombuffer(each.tobytes(), each.shape[1::-1], "RGB")
            self._surface.blit(image, (x, (room - len(each)) // 2))
        for index, (line, colour) in enumerate(zip(lines, (_TEXT, _DIM), strict=True)):
            text = self._font.render(line, True, colour)
            if text.get_width() > width - 20:
                text = pygame.transform.smoothscale_by(text, (width - 20) / text.get_width())
            self._surface.blit(text, (10, room + int((5 + 20 * index) * self._unit)))
        if card:
            self._show_card(card, width, room)
        pygame.display.flip()

    def sound(self, samples: npt.NDArray[np.uint8], volume: float) -> None:
        """Play the sound of a frame, at a volume from 0 to 1, unless it comes too late."""
        self._samples.append(samples)
        if len(self._samples) < _FRAMES_PER_SOUND:
            return
        joined, self._samples = np.concatenate(self._samples), []
        channel = pygame.mixer.Channel(0)
        if channel.get_queue() is None:
            wave = ((joined.astype(np.int16) - 128) << 7).tobytes()
            channel.set_volume(volume)
            channel.queue(pygame.mixer.Sound(buffer=wave))

    def close(self) -> None:
        """Close the window."""
        pygame.quit()

    def _show_card(self, lines: Sequence[str], width: int, height: int) -> None:
        """Show lines in a box in the middle of (width, height), the first one as a heading.

        What follows two spaces or more in a line goes into a second column.
        """
        row = self._font.get_linesize() + 4
        cells = [re.split(r"\s{2,}", line.strip(), maxsplit=1) for line in lines]
        first = [len(line) == 2 and self._font.size(line[0])[0] for line in cells]
        second = max(first) + row  # where the second column begins
        ends = [self._font.size(line[-1])[0] + (len(line) - 1) * second for line in cells]
        box = pygame.Surface((max(ends) + 2 * row, row * (len(cells) + 1)))
        box.fill(_BACK)
        for index, line in enumerate(cells):
            for column, cell in enumerate(line):
                text = self._font.render(cell, True, _TEXT if index else _HEADING)
                box.blit(text, (row + column * second, row // 2 + row * index))
        box.set_alpha(235)
        scale = min(1.0, width / box.get_width(), height / box.get_height())
        box = pygame.transform.smoothscale_by(box, scale)
        self._surface.blit(box, ((width - box.get_width()) // 2, (height - box.get_height()) // 2))

    def _fitting(self, width: int, height: int) -> tuple[int, int]:
        """The width and height of a window for a picture."""
        return (
            min(int(width * self._scale), int(_WIDEST * self._desktop[0])),
            min(int(height * self._scale) + self._bar, int(_HIGHEST * self._desktop[1])),
        )


def _name(event: pygame.event.Event) -> str:
    """Name a key: what it types, in lower case but for E; its place if that is not Latin."""
    if event.key in (pygame.K_ESCAPE, pygame.K_BACKSPACE):
        return pygame.key.name(event.key)
    typed: str = event.unicode.lower()
    letter = event.scancode - pygame.KSCAN_A
    if not typed.isascii() and 0 <= letter < 26:
        typed = chr(ord("a") + letter)
    if typed == "e" and getattr(event, "mod", 0) & pygame.KMOD_SHIFT:
        return "E"
    return typed or pygame.key.name(event.key)
