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
_TEXT_BAR = 8  # characters of the longest bar
_EIGHTHS = " ▏▎▍▌▋▊▉█"  # of a character, from the left
_HEIGHTS = " ▁▂▃▄▅▆▇█"
_BACK, _GRID, _TEXT = (24, 24, 28), (70, 70, 76), (222, 222, 222)
_HEADING = (150, 150, 155)
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
        self._follow()
        shown = self._lay_over(picture)
        panel = np.full((len(shown), WIDTH, 3), _BACK, np.uint8)
        panel[:HEIGHT] = self._panel.draw()
        return np.concatenate([shown, panel], axis=1)

    def in_text(self, picture: Picture) -> tuple[Picture, list[str]]:
        """Do the same for a terminal: the picture without the panel, and lines that stand for it.

        Args:
            picture: as for `beside`.

        Returns:
            uint8 (height, width, 3), enlarged, and lines of up to 30 characters.
        """
        self._follow()
        return self._lay_over(picture), self._panel.lines()

    def _follow(self) -> None:
        """Look into the network, if the game's current step is a new one."""
        game = self._game
        if game.decisions == self._decision:
            return
        self._decision = game.decisions
        values = self._network.predict(game.seen[None])[0]
        # While a person plays, the panel shows what the network would do.
        action = int(values.argmax()) if game.person_plays else game.action
        self._saliency = np.abs(self._guided.project_action(game.seen, action))
        self._saliency /= max(float(self._saliency.max()), 1e-12)
        told = self._network.predict_distribution(game.seen[None])
        self._panel.update(
            values,
            action,
            game.seen,
            self._saliency,
            distribution=(told[0], told[1][0, action]) if told is not None else None,
            person_plays=game.person_plays,
        )

    def _lay_over(self, picture: Picture) -> Picture:
        if _is_screen(self._game.seen):
            picture = lay_over(picture, self._saliency[-1])
        return self._game.console.enlarge(picture)


class MindPanel:
    """Shows what is beside a game, as a picture or as text; one `update` per step of the network.

    The best action's bar is the longest that there is. Another bar is shorter by what its action is
    worse: it is gone at the difference of best and worst that is average in the last seconds.
    """

    def __init__(self, action_meanings: Sequence[str], steps_per_second: float) -> None:
        """Prepare to draw a game with these actions."""
        self._names = [name.lower() for name in action_meanings]
        room = int(_SECONDS * steps_per_second)
        self._past: deque[float] = deque(maxlen=room)  # highest Q-values
        self._differences: deque[float] = deque(maxlen=room)  # best minus worst
        # Of each number of an observation that is not a screen.
        self._largest: npt.NDArray[np.float64] = np.array(1e-12)
        self._values: npt.NDArray[np.float32] = np.zeros(len(action_meanings), np.float32)

    def update(
        self,
        values: npt.NDArray[np.float32],
        action: int,
        state: Observations,
        saliency: Saliency,
        *,
        distribution: tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]] | None = None,
        person_plays: bool = False,
    ) -> None:
        """Take in a new decision.

        Args:
            values: float32 (num_actions,), Q-values.
            action: number of the chosen action.
            state: (history, *observation_shape).
            saliency: float32 (history, *observation_shape), 0 to 1: how much each pixel or number
                speaks for the chosen action.
            distribution: returns, (num_atoms,), and their probabilities after the chosen action;
                None: the network has none.
            person_plays: whether the network only would choose the action.
        """
        self._past.append(float(values.max()))
        self._differences.append(float(np.ptp(values)))
        self._values, self._action = values, action
        self._state, self._saliency, self._distribution = state, saliency, distribution
        if not _is_screen(state):
            self._largest = np.maximum(self._largest, np.abs(state[-1].ravel().astype(float)))
        if person_plays:
            self._why = "if the network played"
        elif values[action] < values.max():
            self._why = "exploring"  # the network itself never chooses less than the best
        else:
            self._why = ""

    def draw(self) -> Picture:
        """Draw the latest decision, uint8 (HEIGHT, WIDTH, 3)."""
        self.picture = np.full((HEIGHT, WIDTH, 3), _BACK, np.uint8)
        self._head("Q-value of each action", 15)
        self._write(self._why, 190, 15, 0.4, _CHOSEN)
        self._draw_values(top=22, bottom=202)
        low, high = min(self._past), max(self._past)
        heading = f"highest Q-value, {low:.2f} to {high:.2f} in {_SECONDS} s"
        if self._distribution is not None:
            self._draw_distribution(*self._distribution, top=222, bottom=250)
            self._head(heading, 264)
            self._draw_past(top=269, bottom=300)
        else:
            self._head(heading, 218)
            self._draw_past(top=224, bottom=300)
        name = self._names[self._action]
        self._head(f"what the network sees; blue: speaks for {name}", 316)
        if _is_screen(self._state):
            self._draw_screens(self._state, self._saliency, top=324)
        else:
            numbers, saliency = self._state[-1].ravel(), self._saliency[-1].ravel()
            self._draw_numbers(numbers, saliency, top=328, bottom=HEIGHT - 8)
        return self.picture

    def lines(self) -> list[str]:
        """Tell the latest decision in lines of text."""
        longest = max(map(len, self._names))
        lines = [f"Q-values  {self._why}"]
        for index, (value, share) in enumerate(zip(self._values, self._shares(), strict=True)):
            mark = ">" if index == self._action else " "
            whole, rest = divmod(round(8 * _TEXT_BAR * float(share)), 8)
            bar = "█" * whole + (_EIGHTHS[rest] if rest else "")
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

    def _draw_values(self, top: int, bottom: int) -> None:
        """Draw a bar for each action; the chosen action is orange."""
        row = min(30.0, (bottom - top) / len(self._values))
        left, right = 118, WIDTH - 58
        size = 0.42 if row > 16 else 0.34
        for index, (value, share) in enumerate(zip(self._values, self._shares(), strict=True)):
            y = int(top + index * row)
            colour = _CHOSEN if index == self._action else _BAR
            end = left + int((right - left) * float(share))
            low, high = y + 1, int(y + row) - 2
            cv2.rectangle(self.picture, (left, low), (max(end, left + 1), high), colour, -1)
            self._write(self._names[index], 8, high - int((row - 14) / 2), size)
            self._write(f"{float(value):.2f}", right + 6, high - int((row - 14) / 2), size)

    def _draw_distribution(
        self,
        returns: npt.NDArray[np.float32],
        probabilities: npt.NDArray[np.float32],
        top: int,
        bottom: int,
    ) -> None:
        """Draw the probabilities of the returns after the chosen action, the likeliest highest."""
        name = self._names[self._action]
        self._head(
            f"return after {name}, {returns[0]:g} to {returns[-1]:g}, and its chance", top - 4
        )
        left, right = 8, WIDTH - 8
        edges = np.linspace(left, right, len(returns) + 1).astype(int)
        heights = (probabilities / probabilities.max() * (bottom - top)).astype(int)
        for start, end, height in zip(edges[:-1], edges[1:], heights, strict=True):
            corner = (int(start), bottom - int(height))
            cv2.rectangle(
                self.picture, corner, (max(int(start), int(end) - 2), bottom), _CHOSEN, -1
            )
        middle = (left + right) // 2
        cv2.line(self.picture, (left, bottom), (right, bottom), _GRID, 1)
        cv2.line(self.picture, (middle, top), (middle, bottom), _GRID, 1)  # a return of 0

    def _draw_past(self, top: int, bottom: int) -> None:
        """Draw the highest Q-value over the last seconds, the newest at the right."""
        left, right = 8, WIDTH - 8
        cv2.rectangle(self.picture, (left, top), (right, bottom), _GRID, 1)
        if len(self._past) > 1:
            past = np.array(self._past)
            low, high = past.min(), max(past.max(), past.min() + 1e-6)
            room = self._past.maxlen or len(past)
            xs = right - (len(past) - 1 - np.arange(len(past))) * (right - left - 2) / room
            ys = bottom - 3 - (past - low) / (high - low) * (bottom - top - 6)
            points = np.stack([xs, ys], 1).round().astype(np.int32)
            cv2.polylines(self.picture, [points], False, _CHOSEN, 1, cv2.LINE_AA)

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

    def _head(self, text: str, y: int) -> None:
        self._write(text, 8, y, 0.38, _HEADING)

    def _write(
        self, text: str, x: int, y: int, size: float, colour: tuple[int, int, int] = _TEXT
    ) -> None:
        font, where = cv2.FONT_HERSHEY_SIMPLEX, (x, y)
        cv2.putText(self.picture, text, where, font, size, colour, 1, cv2.LINE_AA)


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
