"""Snapshot files: a trained network that explains itself, and what training needs to continue.

`pong_10.safetensors` holds the network's weights and a JSON header with everything that testing
or playing needs to know. `pong_10.training.safetensors` beside it holds what only `resume.sh`
needs: target network, optimizer, priorities, and which pieces the replay memory consists of.
`array_file.py` has the format; `schema.py` checks what a header says.
"""

import contextlib
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from simple_dqn.array_file import Arrays, arrays_at_end, read_arrays
from simple_dqn.checkpoints.places import snapshots_like
from simple_dqn.environments.roms import Game
from simple_dqn.errors import UserError
from simple_dqn.options.schema import FORMAT_VERSION, check_header
from simple_dqn.options.settings import NOT_OF_LEARNING

_KIND = "simple_dqn"
_TYPES = {"float16", "float32", "float64", "int64"}
# Runs of one setting may differ in these options.
_OF_A_SEED = NOT_OF_LEARNING | {"random_seed", "test_steps", "test_games"}


class Snapshot(NamedTuple):
    """What a snapshot file holds, and where it is."""

    header: dict[str, Any]
    arrays: Arrays
    path: Path


def snapshot_path(prefix: Path, epoch: int) -> Path:
    """`snapshots/pong` and 10 -> `snapshots/pong_10.safetensors`."""
    return prefix.with_name(f"{prefix.name}_{epoch}.safetensors")


def training_state_path(snapshot: Path) -> Path:
    """`pong_10.safetensors` -> `pong_10.training.safetensors`."""
    return snapshot.with_name(f"{snapshot.stem}.training.safetensors")


def run_prefix(snapshot: Path) -> Path:
    """`snapshots/pong_10.safetensors` -> `snapshots/pong`."""
    return snapshot.with_name(re.sub(r"_\d+$", "", snapshot.stem))


def files_of_epochs(prefix: Path) -> list[tuple[int, str, Path]]:
    """Epoch, kind (such as `training.safetensors`) and path of each file of a run's epochs."""
    matches = [
        (epoch_pattern(prefix).fullmatch(path.name), path) for path in prefix.parent.glob("*")
    ]
    return sorted((int(match[1]), match[2], path) for match, path in matches if match)


def epoch_pattern(prefix: Path) -> re.Pattern[str]:
    """What the names of the files of a run's epochs are like: number of the epoch, and kind."""
    return re.compile(
        re.escape(prefix.name) + r"_(\d+)\.(safetensors|training\.safetensors|memory)"
    )


def run_snapshots(prefix: Path) -> dict[int, Path]:
    """The snapshots of a run by epoch: those named like `snapshot_path(prefix, epoch)`."""
    return {epoch: path for epoch, kind, path in files_of_epochs(prefix) if kind == "safetensors"}


def _prefixes(csv_file: Path) -> list[Path]:
    """Where a run's snapshots may be: `snapshots/` beside `results/`, or the same folder there."""
    folder = csv_file.resolve().parent
    places = folder.parent / "snapshots", folder.parent.parent / "snapshots" / folder.name
    return [place / csv_file.stem for place in places]


def snapshot_of_run(csv_file: Path, epoch: int | None = None) -> Path:
    """The snapshot of an epoch, or the last, of the run that wrote a CSV file."""
    prefixes = _prefixes(csv_file)
    prefix = next(filter(run_snapshots, prefixes), prefixes[0])
    return snapshot_path(prefix, max(run_snapshots(prefix), default=0) if epoch is None else epoch)


def options_of_runs(csv_files: Iterable[Path]) -> dict[Path, dict[str, Any]]:
    """Game and options of the runs that have a snapshot, by CSV file.

    Options in which runs of one setting may differ are left out.
    """
    found = {}
    for csv_file in csv_files:
        paths = [path for prefix in _prefixes(csv_file) for path in run_snapshots(prefix).values()]
        for path in reversed(paths):
            with contextlib.suppress(UserError):
                header = read_snapshot(path).header
                options = {k: v for k, v in header["options"].items() if k not in _OF_A_SEED}
                found[csv_file] = {"game": header["game"], **options}
                break
    return found


def write_snapshot(path: Path, header: dict[str, Any], arrays: Arrays) -> None:
    """Write a snapshot; the file appears complete or not at all."""
    with snapshot_at_end(path, header, arrays):
        pass


def snapshot_at_end(
    path: Path, header: dict[str, Any], arrays: Arrays
) -> contextlib.AbstractContextManager[None]:
    """Write a snapshot beside its place; see `arrays_at_end`."""
    return arrays_at_end(path, _KIND, {"format_version": FORMAT_VERSION, **header}, arrays)


def read_snapshot(path: Path) -> Snapshot:
    """Read a snapshot or a training state; anything else raises a `UserError`, as does damage."""
    if not path.is_file():
        near = " or ".join(map(str, snapshots_like(str(path))))
        hint = f"; did you mean {near}?" if near else ""
        raise UserError(f"cannot read snapshot {path}: there is no such file{hint}")
    if path.suffix == ".pkl":
        raise UserError(
            f"{path} is a pickle file, which could run any code; simple_dqn reads only its own "
            ".safetensors snapshots: train the network again with scripts/train.sh"
        )
    header, arrays = read_arrays(path, _KIND, "a snapshot of simple_dqn")
    if any(array.dtype.name not in _TYPES for array in arrays.values()):
        raise UserError(f"{path} has arrays of types that no snapshot of simple_dqn has")
    version = header.get("format_version") if isinstance(header, dict) else None
    if isinstance(version, int) and version > FORMAT_VERSION:
        raise UserError(f"{path} was written by a newer simple_dqn; update this one to read it")
    try:
        return Snapshot(check_header(header), arrays, path)
    except UserError as error:
        raise UserError(
            f"{path} was altered, or another program wrote it: {error}; use another snapshot"
        ) from error


def check_game(snapshot: Snapshot, game: Game) -> None:
    """Raise a `UserError` if a snapshot is of another game."""
    if (snapshot.header["game"], snapshot.header["rom_md5"]) != (game.name, game.rom_md5):
        raise UserError(
            f"{snapshot.path} is a snapshot of {snapshot.header['game']}, not of {game.name} "
            f"({game.rom_path}); use the game it was trained on"
        )


def check_same_actions(snapshot: Snapshot, action_meanings: Sequence[str]) -> None:
    """Raise a `UserError` if a snapshot's network chooses among other actions than a game's."""
    theirs = snapshot.header["action_meanings"]
    if theirs != list(action_meanings):
        raise UserError(
            f"the network of {snapshot.path} chooses among the actions {' '.join(theirs)}, but the "
            f"game has {' '.join(action_meanings)}; give --minimal_action_set as it was trained"
        )
