"""The network's mind as a picture: its Q-values, their course, and what it sees and looks at."""

from collections import deque
from functools import cache
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from simple_dqn.environments.visible_game import VisibleGame
from simple_dqn.watch.watched_game import WatchedGame

if TYPE_CHECKING:
    from simple_dqn.deep_q_network import DeepQNetwork
    from simple_dqn.networks.guided_backpropagation import GuidedNetwork

Picture = npt.NDArray[np.uint8]
Saliency = npt.NDArray[np.float32]
Colour = tuple[int, int, int]  # red, green, blue

# A panel is drawn in units of its width / 360, so that its letters are as sharp as its pixels.
WIDTH, _LEFT, _RIGHT = 360, 8, 352
_HEIGHT = 420  # of the panel in these units; a higher one has higher curves
SECONDS = 8  # length of the curve
_TEXT_BAR = 8  # characters of the longest bar
_EIGHTHS = " ▏▎▍▌▋▊▉█"  # of a character, from the left
_HEIGHTS = " ▁▂▃▄▅▆▇█"
_BACK, _GRID, _TEXT = (24, 24, 28), (70, 70, 76), (222, 222, 222)
_HEADING = (150, 150, 155)
_BAR, _CHOSEN = (92, 112, 140), (255, 158, 52)
_HEAT = np.array([0, 220, 255], np.float32)


class Mind:
    """Follows the decisions of a game's network and draws them."""

    def __init__(self, game: WatchedGame, network: "DeepQNetwork", guided: "GuidedNetwork") -> None:
        """Prepare to look into a network; `guided` is a copy of it for guided backpropagation."""
        self._game, self._network, self.guided = game, network, guided
        self._names = [name.lower() for name in game.action_meanings]
        room = int(SECONDS * game.console.frames_per_second / game.frame_skip)
        self._past: deque[float] = deque(maxlen=room)  # highest Q-values
        self._differences: deque[float] = deque(maxlen=room)  # best minus worst
        self._spans: deque[tuple[float, float]] = deque(maxlen=room)  # lowest and highest return
        # The largest amount so far of each number of an observation that is not a screen.
        self._largest: npt.NDArray[np.float64] = np.array(1e-12)
        self._decision = -1
        self._panel: Picture = np.zeros((0, 0, 3), np.uint8)  # of the latest decision

    def over(self, picture: Picture) -> Picture:
        """Return the game's picture, enlarged, with what speaks for the action in light blue."""
        self.follow()
        if self._shows_screens:
            picture = lay_over(picture, self._saliency[-1])
        return self._game.console.enlarge(picture)

    def panel(self, width: int, height: int) -> Picture:
        """Draw the latest decision: uint8 (height, width, 3)."""
        self.follow()
        if self._panel.shape[:2] != (height, width):
            page = _Page(width, height)
            self._draw(page)
            self._panel = np.asarray(page.image)
        return self._panel

    def follow(self) -> None:
        """Look into the network once per step of the game."""
        game = self._game
        if game.decisions == self._decision:
            return
        self._panel = self._panel[:0]
        self._decision, self._state = game.decisions, game.seen
        self._shows_screens = game.seen.ndim == 3 and game.seen.dtype == np.uint8  # else numbers
        self._values = values = self._network.predict(game.seen[None])[0]
        # While a person plays, the panel shows what the network would do.
        self._action = action = int(values.argmax()) if game.person_plays else game.action
        # (history, *observation_shape), 0 to 1: how much each number speaks for the action.
        self._saliency = np.abs(self.guided.project_action(game.seen, action))
        self._saliency /= max(float(self._saliency.max()), 1e-12)
        self._distribution = None
        if (distribution := self._network.predict_distribution(game.seen[None])) is not None:
            self._distribution = distribution[0], distribution[1][0, action]
            self._spans.append((float(distribution[0][0]), float(distribution[0][-1])))
        self._past.append(float(values.max()))
        self._differences.append(float(np.ptp(values)))
        if not self._shows_screens:
            self._largest = np.maximum(self._largest, np.abs(game.seen[-1].ravel().astype(float)))
        self._why = ""
        if game.person_plays:
            self._why = "if the network played"
        elif values[action] < values.max():
            self._why = "exploring"  # the network itself never chooses less than the best

    def lines(self) -> list[str]:
        """Write the latest decision as lines of up to 30 characters."""
        self.follow()
        longest = max(map(len, self._names))
        lines = [f"Q-values  {self._why}"]
        for index, (value, share) in enumerate(zip(self._values, self._shares(), strict=True)):
            mark = ">" if index == self._action else " "
            full, rest = divmod(round(8 * _TEXT_BAR * float(share)), 8)
            bar = "█" * full + (_EIGHTHS[rest] if rest else "")
            lines.append(f"{mark}{self._names[index]:{longest}} {bar:{_TEXT_BAR}} {value:6.2f}")
        lines.append(f"best {min(self._past):.2f} to {max(self._past):.2f} in {SECONDS} s")
        if self._distribution is not None:
            low, high, chances = self._chances(26)  # characters
            heights = np.ceil(8 * chances / chances.max()).astype(int)
            lines.append(f"return, {low:.2f} to {high:.2f}")
            lines.append("".join(_HEIGHTS[height] for height in heights))
        return lines

    @property
    def _scale(self) -> float:
        """How much worse than the best an action with an empty bar is: as the worst on average."""
        return max(float(np.mean(self._differences)), 1e-6)

    def _shares(self) -> npt.NDArray[np.float32]:
        """The length of each bar, 0 to 1: 1 for the best, less by how much worse an action is."""
        differences = self._values.max() - self._values
        shares: npt.NDArray[np.float32] = np.clip(1 - differences / self._scale, 0, 1)
        return shares

    def _chances(self, number: int) -> tuple[float, float, npt.NDArray[np.float64]]:
        """The ends of the axis of all late returns, and the chance of each of so many parts."""
        assert self._distribution is not None
        returns, probabilities = self._distribution
        low, high = min(low for low, _ in self._spans), max(high for _, high in self._spans)
        ends = np.linspace(low, high, number + 1)
        return low, high, np.diff(np.interp(ends, returns, probabilities.cumsum(), left=0))

    def _draw(self, page: "_Page") -> None:
        """Draw the latest decision."""
        row = min(30.0, (180 + 0.4 * (page.height - _HEIGHT)) / len(self._values))
        page.text("Q-value of each action", _LEFT, 18, _HEADING)
        page.text(self._why, _RIGHT, 18, _CHOSEN, "rs")
        for index, (value, share) in enumerate(zip(self._values, self._shares(), strict=True)):
            y, size = 26 + index * row, min(13.0, 0.95 * row)
            colour = _CHOSEN if index == self._action else _BAR
            page.box(104, y + 1, 104 + max(1.0, 198 * float(share)), y + row - 1, colour)
            page.text(self._names[index], _LEFT, y + row / 2, _TEXT, "lm", size)
            page.text(f"{value:.2f}", _RIGHT, y + row / 2, _TEXT, "rm", size)
        top, end = 26 + row * len(self._values), page.height - 118
        worse = f"an empty bar is {self._scale:.2f} worse than the best"
        page.text(worse, _LEFT, top + 12, _HEADING)
        top += 20
        if self._distribution is not None:
            self._draw_chances(page, top, (top + end) / 2 - 4)
            top = (top + end) / 2
        self._draw_past(page, top, end - 4)
        seen = "what the network sees; blue: speaks for the action"
        page.text(seen, _LEFT, end + 12, _HEADING)
        if self._shows_screens:
            self._draw_screens(page, end + 20)
        else:
            self._draw_numbers(page, end + 20)

    def _draw_chances(self, page: "_Page", top: float, bottom: float) -> None:
        """Draw how likely each return is, the likeliest highest, the mean and, in reach, 0."""
        assert self._distribution is not None
        low, high, chances = self._chances(len(self._distribution[0]))
        heading = f"return after the orange action, {low:.2f} to {high:.2f}; white: mean"
        page.text(heading, _LEFT, top + 12, _HEADING)
        heights = chances / chances.max() * (bottom - top - 18)
        page.bars(heights, [_CHOSEN] * len(heights), bottom)
        for value, colour in ((0.0, _HEADING), (float(self._values[self._action]), _TEXT)):
            if low <= value <= high:
                x = _LEFT + (value - low) / max(high - low, 1e-12) * (_RIGHT - _LEFT)
                page.line([(x, top + 18), (x, bottom)], colour)

    def _draw_past(self, page: "_Page", top: float, bottom: float) -> None:
        """Draw the highest Q-value over the last seconds, the newest at the right."""
        past = np.array(self._past)
        low, high = past.min(), past.max()
        heading = f"highest Q-value, {low:.2f} to {high:.2f} in {SECONDS} s"
        page.text(heading, _LEFT, top + 12, _HEADING)
        page.line([(_LEFT, bottom), (_RIGHT, bottom)], _GRID)
        room = self._past.maxlen or len(past)
        xs = _RIGHT - (len(past) - 1 - np.arange(len(past))) * (_RIGHT - _LEFT) / room
        ys = bottom - 2 - (past - low) / max(high - low, 1e-6) * (bottom - top - 22)
        page.line(list(zip(xs, ys, strict=True)), _CHOSEN)

    def _draw_screens(self, page: "_Page", top: float) -> None:
        """Draw the screens of the state, the oldest at the left, each with its saliency."""
        side = min(84, (WIDTH - 16) / len(self._state) - 4)
        sides = (max(1, round(side * page.unit)),) * 2
        for index, screen in enumerate(self._state):
            grey = cv2.cvtColor(screen, cv2.COLOR_GRAY2RGB)
            small = lay_over(cv2.resize(grey, sides), self._saliency[index])
            page.image.paste(Image.fromarray(small), page.at(_LEFT + index * (side + 4), top))

    def _draw_numbers(self, page: "_Page", top: float) -> None:
        """Draw the numbers that the network sees as bars around 0, the salient ones in light blue.

        The largest amount of each number so far is the full height. Few have their names below.
        """
        numbers = self._state[-1].ravel().astype(np.float64)
        shares = self._saliency[-1].reshape(-1, 1)
        colours = (np.array(_BAR) * (1 - shares) + _HEAT * shares).astype(int)
        page.bars(numbers / self._largest * 28, [tuple(each) for each in colours], top + 28)
        for index, name in enumerate(self._game.console.observation_names):
            x = _LEFT + (index + 0.5) * (_RIGHT - _LEFT) / len(numbers)
            page.text(f"{numbers[index]:.2f}", x, top + 70, _TEXT, "ms")
            page.text(name, x, top + 84, _HEADING, "ms")


class _Page:
    """A panel that is drawn in units of its width / WIDTH."""

    def __init__(self, width: int, height: int) -> None:
        self.unit = width / WIDTH
        self.height = height / self.unit
        self.image = Image.new("RGB", (width, height), _BACK)
        self._draw = ImageDraw.Draw(self.image)

    def at(self, x: float, y: float) -> tuple[int, int]:
        """The pixel at a place."""
        return round(x * self.unit), round(y * self.unit)

    def text(
        self, text: str, x: float, y: float, colour: Colour, anchor: str = "ls", size: float = 12
    ) -> None:
        self._draw.text(self.at(x, y), text, colour, _font(round(size * self.unit)), anchor)

    def box(self, left: float, top: float, right: float, bottom: float, colour: Colour) -> None:
        """Fill a box, which is at least a pixel wide and high."""
        (x, y), (after_x, after_y) = self.at(left, top), self.at(right, bottom)
        self._draw.rectangle((x, y, max(x, after_x - 1), max(y, after_y - 1)), colour)

    def bars(self, heights: npt.NDArray[Any], colours: list[Colour], bottom: float) -> None:
        """Draw bars from left to right that begin at a row; a negative one hangs down from it."""
        self.line([(_LEFT, bottom), (_RIGHT, bottom)], _GRID)
        step = (_RIGHT - _LEFT) / len(heights)
        for index, (height, colour) in enumerate(zip(heights, colours, strict=True)):
            left, (upper, lower) = _LEFT + index * step, sorted((bottom - height, bottom))
            if lower - upper > 0.5:
                self.box(left, upper, left + step - min(2, step / 3), lower, colour)

    def line(self, points: list[tuple[float, float]], colour: Colour) -> None:
        """Draw a line through points."""
        self._draw.line([self.at(x, y) for x, y in points], colour, max(1, round(self.unit)))


_font = cache(ImageFont.load_default)


def beside(
    picture: Picture,
    game: VisibleGame,
    mind: Mind | None,
    width: int | None = None,
    scale: float = 1,
) -> Picture:
    """Enlarge a game's picture to a width or by a factor, with the panel of a mind at its right.

    Both sides of the result are even, as films need them.
    """
    shown = game.enlarge(picture) if mind is None else mind.over(picture)
    high, wide = shown.shape[:2]
    together = wide if mind is None else wide + WIDTH
    width = (width or round(scale * together)) // 2 * 2
    left, high = (max(2, 2 * round(side * width / together / 2)) for side in (wide, high))
    way = cv2.INTER_AREA if left < wide else cv2.INTER_NEAREST
    panels = [] if mind is None else [mind.panel(width - left, high)]
    return np.concatenate([cv2.resize(shown, (left, high), interpolation=way), *panels], axis=1)


def write_over(picture: Picture, text: str) -> Picture:
    """Write a text into the lower left corner of a picture."""
    image, high = Image.fromarray(picture), len(picture)
    style: dict[str, Any] = {"font": _font(high // 18), "stroke_width": 2, "stroke_fill": _BACK}
    ImageDraw.Draw(image).text((high // 30, high - high // 30), text, _TEXT, anchor="ls", **style)
    return np.asarray(image)


def lay_over(picture: Picture, saliency: Saliency) -> Picture:
    """Lay a saliency, float32 (h, w), 0 to 1, resized, over a picture in light blue."""
    height, width = picture.shape[:2]
    heat = cv2.resize(saliency, (width, height), interpolation=cv2.INTER_LINEAR)
    share = np.clip(1.5 * heat - 0.2, 0, 0.85)[..., None]
    laid: Picture = (picture * (1 - share) + _HEAT * share).astype(np.uint8)
    return laid
