"""The network's mind as a picture: its Q-values, their course, and what it sees and looks at."""

from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING

import cv2
import numpy as np
import numpy.typing as npt

from simple_dqn.environment import Observations
from simple_dqn.watch.watched_game import WatchedGame

if TYPE_CHECKING:
    from simple_dqn.deep_q_network import DeepQNetwork
    from simple_dqn.networks.guided_backpropagation import GuidedNetwork

Picture = npt.NDArray[np.uint8]
Saliency = npt.NDArray[np.float32]

WIDTH, HEIGHT = 360, 420  # pixels of the panel; no game is lower
_SECONDS = 8  # length of the curve
_BACK, _GRID, _TEXT = (24, 24, 28), (70, 70, 76), (222, 222, 222)
_BAR, _CHOSEN = (92, 112, 140), (255, 158, 52)
_HEAT = np.array([0, 220, 255], np.float32)


class Mind:
    """Follows the decisions of a game's network and draws them."""

    def __init__(
        self,
        game: WatchedGame,
        network: "DeepQNetwork",
        guided: "GuidedNetwork",
    ) -> None:
        """Prepare to look into a network.

        Args:
            game: the game that the network plays, or would play if no person did.
            network: the network that gives the Q-values.
            guided: the same network, prepared for guided backpropagation.
        """
        self._game, self._network, self._guided = game, network, guided
        steps_per_second = game.console.frames_per_second / game.frame_skip
        self._panel = MindPanel(game.action_meanings, steps_per_second)
        self._decision = -1
        self._saliency = np.zeros(game.state.shape, np.float32)

    def beside(self, picture: Picture) -> Picture:
        """Lay the pixels that speak for the action over the game, and put the panel at its right.

        Args:
            picture: uint8 (height, width, 3), the picture of the game.

        Returns:
            uint8 (height, width + 360, 3) for the height and width of the enlarged picture; 420 to
            500 high and 1000 wide for an Atari game.
        """
        game = self._game
        if game.decisions != self._decision:
            self._decision = game.decisions
            values = self._network.predict(game.seen[None])[0]
            # While a person plays, the panel shows what the network would do.
            action = int(values.argmax()) if game.person_plays else game.action
            self._saliency = np.abs(self._guided.project_action(game.seen, action))
            self._saliency /= max(float(self._saliency.max()), 1e-12)
            self._panel.update(values, action, game.seen, self._saliency)
        if _is_screen(game.seen):
            picture = lay_over(picture, self._saliency[-1])
        shown = game.console.enlarge(picture)
        panel = np.full((len(shown), WIDTH, 3), _BACK, np.uint8)
        panel[:HEIGHT] = self._panel.picture
        return np.concatenate([shown, panel], axis=1)


class MindPanel:
    """Draws the panel beside a game; one `update` per step of the network."""

    def __init__(self, action_meanings: Sequence[str], steps_per_second: float) -> None:
        """Prepare to draw a game with these actions."""
        self._names = list(action_meanings)
        self._values: deque[float] = deque(maxlen=int(_SECONDS * steps_per_second))
        self._lowest, self._highest = np.inf, -np.inf
        self._largest: npt.NDArray[np.float64] = np.array(
            1e-12
        )  # of each number of an observation that is no screen
        self.picture: Picture = np.full((HEIGHT, WIDTH, 3), _BACK, np.uint8)

    def update(
        self,
        values: npt.NDArray[np.float32],
        action: int,
        state: Observations,
        saliency: Saliency,
    ) -> None:
        """Draw a new decision.

        Args:
            values: float32 (num_actions,), Q-values.
            action: number of the chosen action.
            state: (history, *observation_shape).
            saliency: float32 (history, *observation_shape), 0 to 1: how much each pixel or number
                speaks for the chosen action.
        """
        self._values.append(float(values.max()))
        # The scale only widens, so that bars of different moments can be compared.
        self._lowest = min(self._lowest, float(values.min()))
        self._highest = max(self._highest, float(values.max()))
        self.picture = np.full((HEIGHT, WIDTH, 3), _BACK, np.uint8)
        self._draw_values(values, action, top=8, bottom=212)
        self._draw_past(top=228, bottom=300)
        if _is_screen(state):
            self._draw_screens(state, saliency, top=324)
        else:
            self._draw_numbers(state[-1].ravel(), saliency[-1].ravel(), top=328, bottom=HEIGHT - 8)

    def _draw_values(
        self, values: npt.NDArray[np.float32], action: int, top: int, bottom: int
    ) -> None:
        """Draw a bar for each action, from the lowest value so far; the chosen action is orange."""
        row = min(30.0, (bottom - top) / len(values))
        span = max(self._highest - self._lowest, 1e-6)
        left, right = 118, WIDTH - 58
        size = 0.42 if row > 16 else 0.34
        for index, value in enumerate(values):
            y = int(top + index * row)
            colour = _CHOSEN if index == action else _BAR
            end = left + int((right - left) * (float(value) - self._lowest) / span)
            low, high = y + 2, int(y + row) - 2
            cv2.rectangle(self.picture, (left, low), (max(end, left + 1), high), colour, -1)
            self._write(self._names[index].lower(), 8, high - int((row - 14) / 2), size)
            self._write(f"{float(value):.2f}", right + 6, high - int((row - 14) / 2), size)

    def _draw_past(self, top: int, bottom: int) -> None:
        """Draw the highest Q-value over the last seconds, the newest at the right."""
        left, right = 8, WIDTH - 8
        cv2.rectangle(self.picture, (left, top), (right, bottom), _GRID, 1)
        if len(self._values) > 1:
            past = np.array(self._values)
            low, high = past.min(), max(past.max(), past.min() + 1e-6)
            room = self._values.maxlen or len(past)
            xs = right - (len(past) - 1 - np.arange(len(past))) * (right - left - 2) / room
            ys = bottom - 3 - (past - low) / (high - low) * (bottom - top - 6)
            points = np.stack([xs, ys], 1).round().astype(np.int32)
            cv2.polylines(self.picture, [points], False, _CHOSEN, 1, cv2.LINE_AA)
            text = f"value: {low:.2f} to {high:.2f} in the last {_SECONDS} s"
            self._write(text, left, bottom + 14, 0.36)

    def _draw_screens(self, state: Picture, saliency: Saliency, top: int) -> None:
        """Draw the screens of the state, the oldest at the left, each with its saliency."""
        number = len(state)
        side = min(84, (WIDTH - 16) // number - 4)
        for index in range(number):
            grey = cv2.cvtColor(state[index], cv2.COLOR_GRAY2RGB)
            screen = cv2.resize(grey, (side, side), interpolation=cv2.INTER_AREA)
            x = 8 + index * (side + 4)
            self.picture[top : top + side, x : x + side] = lay_over(screen, saliency[index])

    def _draw_numbers(
        self, numbers: npt.NDArray[np.generic], saliency: Saliency, top: int, bottom: int
    ) -> None:
        """Draw the numbers that the network sees as bars around 0, the salient ones in light blue.

        The largest amount of each number so far is the full height.
        """
        values = numbers.astype(np.float64)
        self._largest = np.maximum(self._largest, np.abs(values))
        left, right, middle = 8, WIDTH - 8, (top + bottom) // 2
        edges = np.linspace(left, right, len(values) + 1).astype(int)
        heights = (values / self._largest * (bottom - top) / 2).round().astype(int)
        cv2.line(self.picture, (left, middle), (right, middle), _GRID, 1)
        for start, end, height, share in zip(
            edges[:-1], edges[1:], heights, saliency.clip(0, 1), strict=True
        ):
            colour = tuple((np.array(_BAR) * (1 - share) + _HEAT * share).tolist())
            last = max(int(start), int(end) - 3)
            cv2.rectangle(
                self.picture, (int(start), middle - int(height)), (last, middle), colour, -1
            )

    def _write(self, text: str, x: int, y: int, size: float) -> None:
        font, where = cv2.FONT_HERSHEY_SIMPLEX, (x, y)
        cv2.putText(self.picture, text, where, font, size, _TEXT, 1, cv2.LINE_AA)


def _is_screen(state: Observations) -> bool:
    """Whether a state (history, *observation_shape) consists of screens."""
    return state.ndim == 3 and state.dtype == np.uint8


def lay_over(picture: Picture, saliency: Saliency) -> Picture:
    """Lay a saliency over a picture in light blue.

    Args:
        picture: uint8 (height, width, 3), RGB.
        saliency: float32 (h, w), 0 to 1; it is resized to the size of the picture.

    Returns:
        uint8 (height, width, 3).
    """
    height, width = picture.shape[:2]
    heat = cv2.resize(saliency, (width, height), interpolation=cv2.INTER_LINEAR)
    share = np.clip(1.5 * heat - 0.2, 0, 0.85)[..., None]
    laid: Picture = (picture * (1 - share) + _HEAT * share).astype(np.uint8)
    return laid
