"""A person's play, kept in a file and given to the replay memory."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from simple_dqn.array_file import arrays_at_end, read_arrays
from simple_dqn.environment import Observations
from simple_dqn.environments.roms import Game
from simple_dqn.errors import UserError
from simple_dqn.replay_memory import ReplayMemory

FORMAT_VERSION = 2
_KIND = "simple_dqn_experience"
_OPTIONS_OF_STEPS = ("frame_skip", "screen_width", "screen_height", "color_averaging")
_OPTIONS_OF_OTHER_GAMES = ("environment", "observations", "environment_options")


class Step(NamedTuple):
    """What the replay memory keeps of a step, and who played the step."""

    first: bool  # the first step of its game
    screen: Observations  # (*observation_shape), the latest one before the action
    action: int  # the action of most of the step's frames
    reward: float
    terminal: bool  # a life was lost or the game ended
    by_person: bool  # a person chose the action, which is none where most frames had none


class Experience(NamedTuple):
    """The fields of n `Step`s in the order of play.

    A step is cut off where the next one does not follow on it: that is of another game, or the
    network played meanwhile.
    """

    screens: Observations  # (n, *observation_shape); others (n,)
    actions: npt.NDArray[np.uint8]
    rewards: npt.NDArray[np.float32]  # not clipped
    terminals: npt.NDArray[np.bool_]
    cuts: npt.NDArray[np.bool_]


class Recorder:
    """Collects the steps that a person plays."""

    def __init__(self) -> None:
        self._steps: list[Step] = []
        self._cuts: list[bool] = []

    def __len__(self) -> int:
        return len(self._steps)

    def add(self, step: Step) -> None:
        """Keep a step if a person played it."""
        if self._cuts and (step.first or not step.by_person):
            self._cuts[-1] = True
        if step.by_person:
            self._steps.append(step)
            self._cuts.append(False)

    def experience(self) -> Experience:
        """All steps so far, at least one."""
        return Experience(
            np.array([step.screen for step in self._steps]),
            np.array([step.action for step in self._steps], np.uint8),
            np.array([step.reward for step in self._steps], np.float32),
            np.array([step.terminal for step in self._steps], np.bool_),
            np.array([*self._cuts[:-1], True], np.bool_),
        )


def experience_settings(
    options: Mapping[str, Any], game: Game, action_meanings: Sequence[str]
) -> dict[str, Any]:
    """Return what steps depend on, so that no run learns from steps that mean something else."""
    others = () if options["environment"] == "ale" else _OPTIONS_OF_OTHER_GAMES
    return {
        "game": game.name,
        "rom_md5": game.rom_md5,
        "actions": " ".join(action_meanings),
        **{name: options[name] for name in (*_OPTIONS_OF_STEPS, *others)},
    }


def write_experience(path: Path, experience: Experience, settings: dict[str, Any]) -> None:
    """Write steps and the settings that they depend on; the file appears complete or not at all."""
    header = {"format_version": FORMAT_VERSION, **settings}
    with arrays_at_end(path, _KIND, header, experience._asdict()):
        pass


def read_experience(
    path: Path,
    settings: dict[str, Any],
    observation_shape: tuple[int, ...],
    observation_dtype: np.dtype[Any],
    most: int,
) -> Experience:
    """Read steps that `write_experience` wrote and a run will learn from; check every value.

    Shape and dtype are those of what the run's games show; its memory holds `most` steps.

    Raises:
        UserError: the file is missing, damaged or something else, was played with other settings,
            or holds more steps than the replay memory.
    """
    header, arrays = read_arrays(path, _KIND, "a recording of scripts/play.sh --record_experience")
    for name, value in {"format_version": FORMAT_VERSION, **settings}.items():
        theirs = header.get(name) if isinstance(header, dict) else None
        if theirs != value:
            raise UserError(
                f"{path} was played with {name} = {theirs}, this run has {value}; "
                "give this run the same options, or leave the file out"
            )
    columns: list[Any] = [arrays.get(name, np.empty(())) for name in Experience._fields]
    number = columns[1].size
    if number > most:
        raise UserError(
            f"{path} holds {number:,} steps, the replay memory {most:,}; "
            "give a larger --replay_size"
        )
    dtypes = [observation_dtype, *map(np.dtype, ("uint8", "float32", "bool", "bool"))]
    if (
        [column.shape for column in columns] != [(number, *observation_shape), *[(number,)] * 4]
        or [column.dtype for column in columns] != dtypes
        or columns[1].max(initial=0) >= len(settings["actions"].split())
        or not all(np.isfinite(column).all() for column in columns)
    ):
        raise UserError(f"{path} holds steps that the game of this run does not have; leave it out")
    return Experience(*columns)


def fill_memory(memory: ReplayMemory, experience: Experience, num_games: int) -> int:
    """Add steps to the replay memory, cut into as many parts as it has lanes.

    Up to num_games - 1 of the last steps are left out, since all lanes are written together.

    Returns:
        Number of steps that were added.
    """
    length = len(experience.actions) // num_games
    lanes = np.arange(num_games) * length
    memory.cut()
    for steps in lanes + np.arange(length)[:, None]:
        memory.add(
            experience.screens[steps],
            experience.actions[steps].astype(np.int64),
            experience.rewards[steps],
            experience.terminals[steps],
            experience.cuts[steps],
        )
    memory.cut()
    return num_games * length
