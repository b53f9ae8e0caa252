"""The network's mind as a picture: its Q-values, their course, and what it sees and looks at."""

from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING

import cv2
import numpy as np
import numpy.typing as npt

from simple_dqn.watch.watched_game import WatchedGame

if TYPE_CHECKING:
    from simple_dqn.deep_q_network import DeepQNetwork
    from simple_dqn.networks.guided_backpropagation import GuidedNetwork

Picture = npt.NDArray[np.uint8]
Saliency = npt.NDArray[np.float32]
Colour = tuple[int, int, int]  # red, green, blue

WIDTH, HEIGHT = 360, 420  # pixels of the panel; no game is lower
_SECONDS = 8  # length of the curve
_TEXT_BAR = 8  # characters of the longest bar
_EIGHTHS = " ▏▎▍▌▋▊▉█"  # of a character, from the left
_HEIGHTS = " ▁▂▃▄▅▆▇█"
_BACK, _GRID, _TEXT = (24, 24, 28), (70, 70, 76), (222, 222, 222)
_HEADING = (150, 150, 155)
_BAR, _CHOSEN = (92, 112, 140), (255, 158, 52)
_HEAT = np.array([0, 220, 255], np.float32)


class Mind:
    """Follows the decisions of a game's network and draws them.

    The best action's bar has full length. The bar of another action is shorter in proportion to how
    much worse the action is; it vanishes at the average, over the last seconds, of the difference
    between best and worst.
    """

    def __init__(self, game: WatchedGame, network: "DeepQNetwork", guided: "GuidedNetwork") -> None:
        """Prepare to look into a network; `guided` is a copy of it for guided backpropagation."""
        self._game, self._network, self._guided = game, network, guided
        self._names = [name.lower() for name in game.action_meanings]
        room = int(_SECONDS * game.console.frames_per_second / game.frame_skip)
        self._past: deque[float] = deque(maxlen=room)  # highest Q-values
        self._differences: deque[float] = deque(maxlen=room)  # best minus worst
        # The largest amount so far of each number of an observation that is not a screen.
        self._largest: npt.NDArray[np.float64] = np.array(1e-12)
        self._decision = -1

    def beside(self, picture: Picture) -> Picture:
        """Return a picture of the game, enlarged, with the panel at its right.

        The pixels that speak for the action are light blue.
        """
        self._follow()
        shown = self._lay_over(picture)
        panel = np.full((len(shown), WIDTH, 3), _BACK, np.uint8)
        self._draw(panel)
        return np.concatenate([shown, panel], axis=1)

    def in_text(self, picture: Picture) -> tuple[Picture, list[str]]:
        """Return the enlarged picture without the panel, and its lines of up to 30 characters."""
        self._follow()
        return self._lay_over(picture), self._lines()

    def _follow(self) -> None:
        """Look into the network once per step of the game."""
        game = self._game
        if game.decisions == self._decision:
            return
        self._decision, self._state = game.decisions, game.seen
        self._values = values = self._network.predict(game.seen[None])[0]
        # While a person plays, the panel shows what the network would do.
        self._action = action = int(values.argmax()) if game.person_plays else game.action
        # (history, *observation_shape), 0 to 1: how much each number speaks for the action.
        self._saliency = np.abs(self._guided.project_action(game.seen, action))
        self._saliency /= max(float(self._saliency.max()), 1e-12)
        self._distribution = None
        if (distribution := self._network.predict_distribution(game.seen[None])) is not None:
            self._distribution = distribution[0], distribution[1][0, action]
        self._past.append(float(values.max()))
        self._differences.append(float(np.ptp(values)))
        if not self._shows_screens:
            self._largest = np.maximum(self._largest, np.abs(game.seen[-1].ravel().astype(float)))
        self._why = ""
        if game.person_plays:
            self._why = "if the network played"
        elif values[action] < values.max():
            self._why = "exploring"  # the network itself never chooses less than the best

    @property
    def _shows_screens(self) -> bool:
        """Whether the state consists of screens, not of numbers."""
        return self._state.ndim == 3 and bool(self._state.dtype == np.uint8)

    def _lay_over(self, picture: Picture) -> Picture:
        if self._shows_screens:
            picture = lay_over(picture, self._saliency[-1])
        return self._game.console.enlarge(picture)

    def _draw(self, panel: Picture) -> None:
        """Draw the latest decision into a panel, uint8 (at least HEIGHT, WIDTH, 3)."""
        name = self._names[self._action]
        _head(panel, "Q-value of each action", 15)
        _write(panel, self._why, 190, 15, 0.4, _CHOSEN)
        self._draw_values(panel, top=22, bottom=202)
        middle = 218
        if self._distribution is not None:
            returns, probabilities = self._distribution
            span = f"{returns[0]:g} to {returns[-1]:g}"
            _head(panel, f"return after {name}, {span}, and its chance", middle)
            _draw_chances(panel, probabilities, top=222, bottom=250)
            middle = 264
        low, high = min(self._past), max(self._past)
        _head(panel, f"highest Q-value, {low:.2f} to {high:.2f} in {_SECONDS} s", middle)
        self._draw_past(panel, top=middle + 6, bottom=300)
        _head(panel, f"what the network sees; blue: speaks for {name}", 316)
        if self._shows_screens:
            self._draw_screens(panel, top=324)
        else:
            self._draw_numbers(panel, middle=370, most=42)

    def _lines(self) -> list[str]:
        """Write the latest decision as lines of text."""
        longest = max(map(len, self._names))
        lines = [f"Q-values  {self._why}"]
        for index, (value, share) in enumerate(zip(self._values, self._shares(), strict=True)):
            mark = ">" if index == self._action else " "
            full, rest = divmod(round(8 * _TEXT_BAR * float(share)), 8)
            bar = "█" * full + (_EIGHTHS[rest] if rest else "")
            name = f"{self._names[index]:{longest}}"
            lines.append(f"{mark}{name} {bar:{_TEXT_BAR}} {value:6.2f}")
        lines.append(f"best {min(self._past):.2f} to {max(self._past):.2f} in {_SECONDS} s")
        if self._distribution is not None:
            returns, probabilities = self._distribution
            pieces = np.array([piece.mean() for piece in np.array_split(probabilities, 26)])
            heights = np.ceil(8 * pieces / pieces.max()).astype(int)
            lines.append(f"return, {returns[0]:g} to {returns[-1]:g}")
            lines.append("".join(_HEIGHTS[height] for height in heights))
        return lines

    def _shares(self) -> npt.NDArray[np.float32]:
        """The length of each bar, 0 to 1."""
        differences = self._values.max() - self._values
        average = max(float(np.mean(self._differences)), 1e-6)
        shares: npt.NDArray[np.float32] = np.clip(1 - differences / average, 0, 1)
        return shares

    def _draw_values(self, panel: Picture, top: int, bottom: int) -> None:
        """Draw a bar for each action; the chosen action is orange."""
        row = min(30.0, (bottom - top) / len(self._values))
        left, right = 118, WIDTH - 58
        size = 0.42 if row > 16 else 0.34
        for index, (value, share) in enumerate(zip(self._values, self._shares(), strict=True)):
            y = int(top + index * row)
            colour = _CHOSEN if index == self._action else _BAR
            end = left + int((right - left) * float(share))
            low, high = y + 1, int(y + row) - 2
            cv2.rectangle(panel, (left, low), (max(end, left + 1), high), colour, -1)
            _write(panel, self._names[index], 8, high - int((row - 14) / 2), size)
            _write(panel, f"{float(value):.2f}", right + 6, high - int((row - 14) / 2), size)

    def _draw_past(self, panel: Picture, top: int, bottom: int) -> None:
        """Draw the highest Q-value over the last seconds, the newest at the right."""
        left, right = 8, WIDTH - 8
        cv2.rectangle(panel, (left, top), (right, bottom), _GRID, 1)
        past = np.array(self._past)
        low, high = past.min(), max(past.max(), past.min() + 1e-6)
        room = self._past.maxlen or len(past)
        xs = right - (len(past) - 1 - np.arange(len(past))) * (right - left - 2) / room
        ys = bottom - 3 - (past - low) / (high - low) * (bottom - top - 6)
        points = np.stack([xs, ys], 1).round().astype(np.int32)
        cv2.polylines(panel, [points], False, _CHOSEN, 1, cv2.LINE_AA)

    def _draw_screens(self, panel: Picture, top: int) -> None:
        """Draw the screens of the state, the oldest at the left, each with its saliency."""
        side = min(84, (WIDTH - 16) // len(self._state) - 4)
        for index, screen in enumerate(self._state):
            grey = cv2.cvtColor(screen, cv2.COLOR_GRAY2RGB)
            small = cv2.resize(grey, (side, side), interpolation=cv2.INTER_AREA)
            x = 8 + index * (side + 4)
            panel[top : top + side, x : x + side] = lay_over(small, self._saliency[index])

    def _draw_numbers(self, panel: Picture, middle: int, most: int) -> None:
        """Draw the numbers that the network sees as bars around 0, the salient ones in light blue.

        The largest amount of each number so far is the full height, `most` pixels.
        """
        numbers = self._state[-1].ravel().astype(np.float64)
        shares = self._saliency[-1].reshape(-1, 1)
        colours = (np.array(_BAR) * (1 - shares) + _HEAT * shares).tolist()
        cv2.line(panel, (8, middle), (WIDTH - 8, middle), _GRID, 1)
        heights = (numbers / self._largest * most).round().astype(int)
        _draw_bars(panel, heights, colours, middle, gap=3)


def _draw_chances(
    panel: Picture, probabilities: npt.NDArray[np.float32], top: int, bottom: int
) -> None:
    """Draw the probabilities of the returns after the chosen action, the likeliest highest."""
    heights = (probabilities / probabilities.max() * (bottom - top)).astype(int)
    _draw_bars(panel, heights, [_CHOSEN] * len(heights), bottom, gap=2)
    cv2.line(panel, (8, bottom), (WIDTH - 8, bottom), _GRID, 1)
    cv2.line(panel, (WIDTH // 2, top), (WIDTH // 2, bottom), _GRID, 1)  # a return of 0


def _draw_bars(
    panel: Picture,
    heights: npt.NDArray[np.int64],
    colours: Sequence[Colour],
    bottom: int,
    gap: int,
) -> None:
    """Draw bars from left to right that begin at a row; a negative one hangs down from it."""
    edges = np.linspace(8, WIDTH - 8, len(heights) + 1).astype(int)
    for start, end, height, colour in zip(edges, edges[1:], heights, colours, strict=False):
        corner, other = (start, bottom - height), (max(start, end - gap), bottom)
        cv2.rectangle(panel, corner, other, colour, -1)


def _head(panel: Picture, text: str, y: int) -> None:
    _write(panel, text, 8, y, 0.38, _HEADING)


def _write(panel: Picture, text: str, x: int, y: int, size: float, colour: Colour = _TEXT) -> None:
    cv2.putText(panel, text, (x, y), cv2.FONT_HERSHEY_SIMPLEX, size, colour, 1, cv2.LINE_AA)


def lay_over(picture: Picture, saliency: Saliency) -> Picture:
    """Lay a saliency, float32 (h, w), 0 to 1, resized, over a picture in light blue."""
    height, width = picture.shape[:2]
    heat = cv2.resize(saliency, (width, height), interpolation=cv2.INTER_LINEAR)
    share = np.clip(1.5 * heat - 0.2, 0, 0.85)[..., None]
    laid: Picture = (picture * (1 - share) + _HEAT * share).astype(np.uint8)
    return laid
