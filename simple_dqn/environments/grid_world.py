"""Grid World: walk to a star in as few steps as possible; the smallest Markov decision process.

Every state, action and probability is known here, so that values and policies can be computed and
compared with what is learned; see `simple_dqn/tabular/`. The environment is a plain `gymnasium.Env`
with the id `simple_dqn/GridWorld-v0`, registered when this module is imported.
"""

from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import numpy.typing as npt

from simple_dqn.errors import UserError
from simple_dqn.files import read_text

# A start in the middle and two stars in opposite corners, as in many lectures.
DEFAULT_MAP = "*...\n....\n..S.\n...*"
_MOVES = ((0, -1), (1, 0), (0, 1), (-1, 0))  # rows, columns: left, down, right, up
_CELL = 32  # pixels
_FLOOR, _WALL, _LINE = (250, 250, 247), (70, 74, 84), (200, 200, 196)
_STAR, _WALKER = (232, 160, 32), (40, 96, 190)
# Pixels of a cell by their distance from its centre: a star with four points, and a disc.
_DISTANCES = np.abs((np.arange(_CELL) + 0.5) / _CELL - 0.5)
_IN_STAR = np.sqrt(_DISTANCES[:, None]) + np.sqrt(_DISTANCES) < np.sqrt(0.36)
_IN_WALKER = np.hypot(_DISTANCES[:, None], _DISTANCES) < 0.28

# As in Gymnasium's own FrozenLake: probability, next state, reward, whether the game ends.
_Outcome = tuple[float, int, float, bool]
Table = dict[int, dict[int, list[_Outcome]]]  # of each state and action


class GridWorld(gymnasium.Env[Any, Any]):
    """A walker on a map of cells; `desc` has its letters, str (rows, columns), as in FrozenLake.

        S  start; several: one is drawn        .  floor
        *  star, a terminal state              #  wall

    A state is the number of a cell, row by row. An action moves the walker a cell left, down, right
    or up; where there is a wall or an edge the walker stays. Every step costs 1. With `slip` the
    walker moves at right angles instead: half of that probability to either side.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 4}  # noqa: RUF012

    def __init__(
        self, map: str = DEFAULT_MAP, slip: float = 0.0, render_mode: str | None = None
    ) -> None:
        """Read a map: lines of cells, or the name of a file (.txt) that holds them."""
        if not 0 <= slip <= 1:
            raise UserError(f"slip {slip} is not a probability; give a number from 0 to 1")
        self.desc = _read(map)
        self.render_mode = render_mode
        self._starts = np.flatnonzero(self.desc == "S")
        states, actions = range(self.desc.size), range(len(_MOVES))
        self.P: Table = {s: {a: self._outcomes(s, a, slip) for a in actions} for s in states}
        self.action_space = gymnasium.spaces.Discrete(len(_MOVES))
        self.observation_space = gymnasium.spaces.Discrete(self.desc.size)
        self._state = int(self._starts[0])

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
        """Return a picture of the map with the walker, uint8 (height, width, 3)."""
        rows, columns = self.desc.shape
        picture = np.full((rows * _CELL, columns * _CELL, 3), _FLOOR, np.uint8)
        for state, letter in enumerate(self.desc.flat):
            top, left = (_CELL * place for place in divmod(state, columns))
            square = picture[top : top + _CELL, left : left + _CELL]
            square[:1], square[:, :1] = _LINE, _LINE
            if letter == "#":
                square[:] = _WALL
            if letter == "*":
                square[_IN_STAR] = _STAR
            if state == self._state:
                square[_IN_WALKER] = _WALKER
        return picture

    def _outcomes(self, state: int, action: int, slip: float) -> list[_Outcome]:
        """What can happen; nothing on a star or in a wall, where no game continues."""
        if self.desc.flat[state] in "*#":
            return [(1.0, state, 0.0, True)]
        ways = [(1 - slip, action), (slip / 2, (action - 1) % 4), (slip / 2, (action + 1) % 4)]
        return [
            (probability, after, -1.0, bool(self.desc.flat[after] == "*"))
            for probability, way in ways
            if probability > 0
            for after in [self._moved(state, way)]
        ]

    def _moved(self, state: int, action: int) -> int:
        rows, columns = self.desc.shape
        row = min(max(state // columns + _MOVES[action][0], 0), rows - 1)
        column = min(max(state % columns + _MOVES[action][1], 0), columns - 1)
        return state if self.desc[row, column] == "#" else row * columns + column


def _read(text: str) -> npt.NDArray[np.str_]:
    """The letters of a map, or of the file that holds it, (rows, columns)."""
    if text.endswith(".txt"):
        text = read_text(Path(text), "a text file with a map")
    lines = [line.strip() for line in text.split("\n") if line.strip()]
    if unknown := set("".join(lines)) - set("S.*#"):
        raise UserError(
            f"the map has the unknown letter {min(unknown)!r}; S is a start, * a star, # a wall "
            "and . floor"
        )
    for letter, name in (("S", "start"), ("*", "star")):
        if not any(letter in line for line in lines):
            raise UserError(f"the map has no {name}; put a {letter} on it")
    if len({len(line) for line in lines}) > 1:
        raise UserError("the lines of the map differ in length; fill them up with . or #")
    return np.array([list(line) for line in lines])


gymnasium.register(
    "simple_dqn/GridWorld-v0",
    entry_point=f"{__name__}:{GridWorld.__name__}",
    max_episode_steps=1000,
)
