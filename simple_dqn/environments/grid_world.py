"""Grid World: walk to a star in as few steps as possible; the smallest Markov decision process.

Every state, action and probability is known here, so that values and policies can be computed and
compared with what is learned; see `simple_dqn/tabular/q_table.py`. The environment is a plain
`gymnasium.Env` with the id `simple_dqn/GridWorld-v0`, registered when this module is imported.
"""

from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import numpy.typing as npt

from simple_dqn.errors import UserError

# A start in the middle and two stars in opposite corners, as in many lectures.
DEFAULT_MAP = "*...\n....\n..S.\n...*"
_KNOWN = "S.*#"
_MOVES = ((0, -1), (1, 0), (0, 1), (-1, 0))  # rows, columns: left, down, right, up
_CELL = 32  # pixels
_FLOOR, _WALL, _LINE = (250, 250, 247), (70, 74, 84), (200, 200, 196)
_STAR, _WALKER = (232, 160, 32), (40, 96, 190)

Outcome = tuple[float, int, float, bool]  # probability, next state, reward, whether it is terminal
Table = dict[int, dict[int, list[Outcome]]]


class GridWorld(gymnasium.Env[Any, Any]):
    """A walker on a map of cells.

        S  start; several: one is drawn        .  floor
        *  star, a terminal state              #  wall

    A state is the number of a cell, row by row. An action moves the walker a cell left, down, right
    or up; where there is a wall or an edge the walker stays. Every step costs 1. With `slip` the
    walker moves at right angles instead: half of that probability to either side.

    Attributes:
        P: `P[state][action]` is a list of (probability, next state, reward, terminal), in the form
            of Gymnasium's toy-text environments.
        map: the lines of the map.
    """

    metadata = {"render_modes": ["ansi", "rgb_array"], "render_fps": 4}  # noqa: RUF012

    def __init__(
        self, map: str = DEFAULT_MAP, slip: float = 0.0, render_mode: str | None = None
    ) -> None:
        """Read a map.

        Args:
            map: lines of cells, or the name of a file (.txt) that holds them.
            slip: probability of moving at right angles, 0 to 1.
            render_mode: `ansi`, `rgb_array` or None.

        Raises:
            UserError: the map is no map, no star can be reached, or `slip` is no probability.
        """
        if not 0 <= slip <= 1:
            raise UserError(f"slip {slip} is no probability; give a number from 0 to 1")
        self.map = _read(map)
        self.render_mode = render_mode
        self._width = len(self.map[0])
        cells = "".join(self.map)
        self._starts = [number for number, cell in enumerate(cells) if cell == "S"]
        self.P = self._table(cells, slip)
        self._check_reach(cells)
        self.action_space = gymnasium.spaces.Discrete(len(_MOVES))
        self.observation_space = gymnasium.spaces.Discrete(len(cells))
        self._state = self._starts[0]

    def get_action_meanings(self) -> list[str]:
        """Return the names of the actions."""
        return ["LEFT", "DOWN", "RIGHT", "UP"]

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[int, dict[str, Any]]:
        """Begin at a start."""
        super().reset(seed=seed, options=options)
        self._state = int(self.np_random.choice(self._starts))
        return self._state, {}

    def step(self, action: int) -> tuple[int, float, bool, bool, dict[str, Any]]:
        """Move; a star ends the walk."""
        outcomes = self.P[self._state][int(action)]
        drawn = self.np_random.choice(len(outcomes), p=[outcome[0] for outcome in outcomes])
        _, self._state, reward, terminal = outcomes[drawn]
        return self._state, reward, terminal, False, {}

    def render(self) -> Any:
        """Return the map with the walker, as text (`ansi`) or as a picture, uint8 (h, w, 3)."""
        if self.render_mode == "ansi":
            cells = list("".join(self.map))
            cells[self._state] = "@"
            rows = range(0, len(cells), self._width)
            return "\n".join("".join(cells[row : row + self._width]) for row in rows) + "\n"
        return self._picture() if self.render_mode == "rgb_array" else None

    def _picture(self) -> npt.NDArray[np.uint8]:
        height = len(self.map)
        picture = np.full((height * _CELL, self._width * _CELL, 3), _FLOOR, np.uint8)
        for number, cell in enumerate("".join(self.map)):
            row, column = divmod(number, self._width)
            square = picture[row * _CELL : (row + 1) * _CELL, column * _CELL : (column + 1) * _CELL]
            square[:1], square[:, :1] = _LINE, _LINE
            if cell == "#":
                square[:] = _WALL
            if cell == "*":
                square[_diamond(0.36)] = _STAR
            if number == self._state:
                square[_disc(0.28)] = _WALKER
        return picture

    def _table(self, cells: str, slip: float) -> Table:
        table: Table = {}
        for state, cell in enumerate(cells):
            table[state] = {}
            for action in range(len(_MOVES)):
                if cell in "*#":  # nobody is ever there and moves on
                    table[state][action] = [(1.0, state, 0.0, True)]
                    continue
                ways = (
                    (action, 1 - slip),
                    ((action - 1) % 4, slip / 2),
                    ((action + 1) % 4, slip / 2),
                )
                table[state][action] = [
                    (probability, after, -1.0, cells[after] == "*")
                    for way, probability in ways
                    if probability > 0
                    for after in [self._moved(cells, state, way)]
                ]
        return table

    def _moved(self, cells: str, state: int, action: int) -> int:
        row, column = divmod(state, self._width)
        rows, columns = _MOVES[action]
        row, column = row + rows, column + columns
        inside = 0 <= row < len(self.map) and 0 <= column < self._width
        after = row * self._width + column
        return after if inside and cells[after] != "#" else state

    def _check_reach(self, cells: str) -> None:
        for start in self._starts:
            reached, coming = {start}, [start]
            while coming:
                for outcomes in self.P[coming.pop()].values():
                    new = {after for _, after, _, _ in outcomes} - reached
                    reached |= new
                    coming += new
            if not any(cells[state] == "*" for state in reached):
                row, column = divmod(start, self._width)
                raise UserError(
                    f"the start in row {row + 1}, column {column + 1} of the map is walled in: no "
                    "star can be reached; open a way"
                )


def _read(text: str) -> list[str]:
    """The lines of a map, or of the file that holds it.

    Raises:
        UserError: it is no map.
    """
    if text.endswith(".txt"):
        try:
            text = Path(text).read_text()
        except (OSError, UnicodeError) as error:
            raise UserError(f"cannot read map {text}: {error}") from error
    lines = [line.strip() for line in text.split("\n") if line.strip()]
    unknown = sorted(set("".join(lines)) - set(_KNOWN))
    if unknown:
        raise UserError(
            f"the map has the unknown letter {unknown[0]!r}; S is a start, * a star, # a wall and "
            ". floor"
        )
    for cell, name in (("S", "start"), ("*", "star")):
        if not any(cell in line for line in lines):
            raise UserError(f"the map has no {name}; put a {cell} on it")
    if len({len(line) for line in lines}) > 1:
        raise UserError("the lines of the map differ in length; fill them up with . or #")
    return lines


def _disc(radius: float) -> npt.NDArray[np.bool_]:
    """A disc in a cell; the radius is a share of the cell's side."""
    places = (np.arange(_CELL) + 0.5) / _CELL - 0.5
    inside: npt.NDArray[np.bool_] = np.hypot(places[:, None], places) < radius
    return inside


def _diamond(radius: float) -> npt.NDArray[np.bool_]:
    """A star with four points."""
    places = np.abs((np.arange(_CELL) + 0.5) / _CELL - 0.5)
    inside: npt.NDArray[np.bool_] = np.sqrt(places[:, None]) + np.sqrt(places) < np.sqrt(radius)
    return inside


gymnasium.register(
    "simple_dqn/GridWorld-v0",
    entry_point=f"{__name__}:{GridWorld.__name__}",
    max_episode_steps=1000,
)
