"""A person's play, kept in a file and given to the replay memory."""

import io
import json
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from simple_dqn.environment import Observations
from simple_dqn.environments.roms import Game
from simple_dqn.errors import UserError, refusing
from simple_dqn.files import write_atomically
from simple_dqn.replay_memory import ReplayMemory

if TYPE_CHECKING:
    from simple_dqn.watch.watched_game import Step

FORMAT_VERSION = 1
_LONGEST_SETTINGS = 10_000  # letters
_OPTIONS_OF_STEPS = ("frame_skip", "screen_width", "screen_height", "color_averaging")


class Experience(NamedTuple):
    """Steps in the order of play, each field with them as its first axis.

    Attributes:
        screens: (n, *observation_shape), seen before acting.
        actions: uint8 (n,), pressed in most of a step's frames.
        rewards: float32 (n,), raw.
        terminals: bool (n,), a life was lost or the game ended.
        cuts: bool (n,), what follows does not continue it: another game, or the network
            played meanwhile.
    """

    screens: Observations
    actions: npt.NDArray[np.uint8]
    rewards: npt.NDArray[np.float32]
    terminals: npt.NDArray[np.bool_]
    cuts: npt.NDArray[np.bool_]


class Recorder:
    """Collects the steps that a person plays."""

    def __init__(self) -> None:
        self._steps: list[Step] = []
        self._cuts: list[bool] = []

    def __len__(self) -> int:
        return len(self._steps)

    def add(self, step: "Step") -> None:
        """Keep a step if a person played it."""
        if step.first or not step.by_person:
            self.cut()
        if step.by_person:
            self._steps.append(step)
            self._cuts.append(False)

    def cut(self) -> None:
        """What is added next does not continue the last step."""
        if self._cuts:
            self._cuts[-1] = True

    def experience(self) -> Experience:
        """All steps so far, at least one; what comes later does not continue them."""
        self.cut()
        return Experience(
            np.array([step.screen for step in self._steps]),
            np.array([step.action for step in self._steps], np.uint8),
            np.array([step.reward for step in self._steps], np.float32),
            np.array([step.terminal for step in self._steps], np.bool_),
            np.array(self._cuts, np.bool_),
        )


def experience_settings(
    options: Mapping[str, Any], game: Game, action_meanings: Sequence[str]
) -> dict[str, Any]:
    """Return what steps depend on, so that no run learns from steps that mean something else.

    Args:
        options: of the run or the game, by name.
        game: that is played.
        action_meanings: name of each action.
    """
    return {
        "game": game.name,
        "rom_md5": game.rom_md5,
        "actions": " ".join(action_meanings),
        **{name: options[name] for name in _OPTIONS_OF_STEPS},
        **({} if options["environment"] == "ale" else _of_gym(options)),
    }


def _of_gym(options: Mapping[str, Any]) -> dict[str, Any]:
    """What the steps of other than Atari's games depend on besides."""
    return {name: options[name] for name in ("environment", "observations", "environment_options")}


def write_experience(path: Path, experience: Experience, settings: dict[str, Any]) -> None:
    """Write steps as a NumPy archive; the file appears complete or not at all.

    Args:
        path: of the file.
        experience: the steps.
        settings: what they depend on, by name; `read_experience` compares it.

    Raises:
        UserError: the file cannot be written.
    """
    text = json.dumps({"format_version": FORMAT_VERSION, **settings})
    buffer = io.BytesIO()
    np.savez_compressed(buffer, settings=np.array(text), **experience._asdict())
    write_atomically(path, buffer.getvalue())


def read_experience(
    path: Path,
    settings: dict[str, Any],
    observation_shape: tuple[int, ...],
    observation_dtype: np.dtype[Any],
    most: int,
) -> Experience:
    """Read steps; nothing in the file is ever executed, and every value is checked.

    Args:
        path: written by `write_experience`.
        settings: of the run that will learn from the steps, see `experience_settings`.
        observation_shape: shape of what the run's games show.
        observation_dtype: dtype of what the run's games show.
        most: number of steps that the run's replay memory holds.

    Raises:
        UserError: no such file, not one of ours, damaged, played with other settings, or more
            steps than the replay memory holds.
    """
    bad = (
        f"{path} is not a file of experience, or it is damaged; "
        "scripts/play.sh GAME --record_experience FILE makes such files"
    )
    try:
        with path.open("rb") as file, refusing(bad), zipfile.ZipFile(file) as archive:
            theirs = json.loads(str(_read(archive, "settings", (), np.dtype(np.str_))))
            _check_settings(path, theirs, settings)
            (number,) = _header(archive, "actions")[0]
            if number > most:
                raise UserError(
                    f"{path} holds {number:,} steps, the replay memory {most:,}; "
                    "give a larger --replay_size"
                )
            experience = Experience(
                screens=_read(archive, "screens", (number, *observation_shape), observation_dtype),
                actions=_read(archive, "actions", (number,), np.dtype(np.uint8)),
                rewards=_read(archive, "rewards", (number,), np.dtype(np.float32)),
                terminals=_read(archive, "terminals", (number,), np.dtype(np.bool_)),
                cuts=_read(archive, "cuts", (number,), np.dtype(np.bool_)),
            )
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error
    are_actions = experience.actions.max(initial=0) < len(settings["actions"].split())
    numbers = (experience.rewards, experience.screens)
    if not (are_actions and all(np.isfinite(column).all() for column in numbers)):
        raise UserError(bad)
    return experience


def _check_settings(path: Path, theirs: dict[str, Any], settings: dict[str, Any]) -> None:
    for name, value in {"format_version": FORMAT_VERSION, **settings}.items():
        if theirs.get(name) != value:
            raise UserError(
                f"{path} was played with {name} = {theirs.get(name)}, this run has {value}; "
                "give this run the same options, or leave the file out"
            )


def _header(archive: zipfile.ZipFile, name: str) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Return shape and type of an array in a NumPy archive, without reading the array."""
    with archive.open(f"{name}.npy") as file:
        if np.lib.format.read_magic(file) != (1, 0):
            raise ValueError("no format that np.savez writes")
        shape, column_major, dtype = np.lib.format.read_array_header_1_0(file)
        if column_major:
            raise ValueError("not the order that we write")
        return shape, dtype


def _read(
    archive: zipfile.ZipFile, name: str, shape: tuple[int, ...], dtype: np.dtype[Any]
) -> npt.NDArray[Any]:
    """Read an array of the given shape and type; nothing is allocated for any other."""
    there = _header(archive, name)
    text = dtype.kind == there[1].kind == "U" and there[1].itemsize <= 4 * _LONGEST_SETTINGS
    if there[0] != shape or not (text or there[1] == dtype):
        raise ValueError(f"{name} is an array of {there}")
    with archive.open(f"{name}.npy") as file:
        array: npt.NDArray[Any] = np.lib.format.read_array(file, allow_pickle=False)
        return array


def fill_memory(memory: ReplayMemory, experience: Experience, num_games: int) -> int:
    """Add steps to the replay memory, cut into as many stretches as it has lanes.

    Up to num_games - 1 of the last steps are left out, since all lanes are written together.

    Returns:
        How many steps were added.
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
