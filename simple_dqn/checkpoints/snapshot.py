"""Snapshot files: a trained network that explains itself, and what training needs to resume.

`pong_10.safetensors` holds the network's weights and a JSON header with everything that testing
or playing needs to know. `pong_10.training.safetensors` beside it holds what only `resume.sh`
needs: target network, optimizer, priorities, and what the pieces of the replay memory are. Both
are safetensors files: reading one never runs code from it. A SHA-256 over header and arrays stands
in the file, since the format itself has no checksum. The checksum finds damage; what a header may
say, `schema.py` checks.
"""

import contextlib
import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import psutil
import safetensors
import safetensors.numpy

from simple_dqn.checkpoints.places import snapshots_like
from simple_dqn.environments.roms import Game
from simple_dqn.errors import UserError, refusing
from simple_dqn.files import atomic_file, sync
from simple_dqn.options.schema import FORMAT_VERSION, check_header

_TYPES = {"F16", "F32", "F64", "I64"}  # of arrays, in the language of safetensors
# Options in which runs may differ that are seeds of one setting.
_OF_A_SEED = {"random_seed", "epochs", "save_memory", "test_steps", "test_games"}
Arrays = dict[str, npt.NDArray[np.generic]]


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


def run_snapshots(prefix: Path) -> dict[int, Path]:
    """The snapshots of a run by epoch: those named like `snapshot_path(prefix, epoch)`."""
    pattern = re.compile(re.escape(prefix.name) + r"_(\d+)\.safetensors")
    found = {}
    if prefix.parent.is_dir():
        for path in prefix.parent.iterdir():
            if match := pattern.fullmatch(path.name):
                found[int(match[1])] = path
    return dict(sorted(found.items()))


def options_of_runs(csv_files: Iterable[Path]) -> dict[Path, dict[str, Any]]:
    """The game and the options of runs but for what may differ among the seeds of one setting.

    Args:
        csv_files: of the runs, in `results/` or in a folder of it.

    Returns:
        By CSV file, for the runs of which a snapshot is found: in `snapshots/` beside `results/`,
        or in the folder of the same name there.
    """
    found = {}
    for csv_file in csv_files:
        folder = csv_file.resolve().parent
        beside = folder.parent / "snapshots", folder.parent.parent / "snapshots" / folder.name
        paths = [path for place in beside for path in run_snapshots(place / csv_file.stem).values()]
        for path in reversed(paths):
            with contextlib.suppress(UserError):
                header = read_snapshot(path).header
                options = {k: v for k, v in header["options"].items() if k not in _OF_A_SEED}
                found[csv_file] = {"game": header["game"], **options}
                break
    return found


def write_snapshot(path: Path, header: dict[str, Any], arrays: Arrays) -> None:
    """Write a snapshot; the file appears complete or not at all.

    Raises:
        UserError: the file cannot be written.
    """
    with snapshot_at_end(path, header, arrays):
        pass


@contextlib.contextmanager
def snapshot_at_end(path: Path, header: dict[str, Any], arrays: Arrays) -> Iterator[None]:
    """Write a snapshot to the disk, beside its place; it takes its place at the end of the block.

    Raises:
        UserError: the file cannot be written.
    """
    text = json.dumps({"format_version": FORMAT_VERSION, **header})
    metadata = {"simple_dqn": text, "sha256": _digest(text, arrays)}
    with atomic_file(path) as file:
        file.write(safetensors.numpy.save(arrays, metadata))
        sync(file)
        yield


def read_snapshot(path: Path) -> Snapshot:
    """Read a snapshot, check that it is complete, and check its header by the schema.

    Raises:
        UserError: missing, not a snapshot, damaged, written by a newer version, larger than the
            free memory, or with a header that no snapshot has.
    """
    try:
        with path.open("rb") as file:
            start = file.read(9)
        size = path.stat().st_size
    except OSError as error:
        hint = " or ".join(map(str, snapshots_like(str(path))))
        raise UserError(
            f"cannot read snapshot {path}: {error.strerror}"
            + (f"; did you mean {hint}?" if hint else "")
        ) from error
    # NB! A safetensors file begins with the length of its header, whose first byte may be a
    # pickle's 0x80 too; the header itself begins with a brace.
    if path.suffix == ".pkl" or (start[:1] == b"\x80" and start[8:] != b"{"):
        raise UserError(
            f"{path} is a pickle file, which could run any code; simple_dqn reads only its own "
            ".safetensors snapshots: train the network again with scripts/train.sh"
        )
    free = psutil.virtual_memory().available
    if size > free:
        raise UserError(f"{path} takes {size / 1e9:.2f} GB, but {free / 1e9:.2f} GB are free")
    damaged = f"{path} is damaged (truncated or altered); use another epoch's snapshot or a backup"
    with refusing(damaged), safetensors.safe_open(path, framework="numpy") as file:
        metadata = file.metadata() or {}
        if "simple_dqn" not in metadata:
            raise UserError(f"{path} is a safetensors file, but no snapshot of simple_dqn")
        names = list(file.keys())
        if any(file.get_slice(name).get_dtype() not in _TYPES for name in names):
            raise UserError(f"{path} has arrays of types that no snapshot of simple_dqn has")
        arrays = {name: file.get_tensor(name) for name in names}
    text = metadata["simple_dqn"]
    if metadata.get("sha256") != _digest(text, arrays):
        raise UserError(damaged)
    with refusing(f"{path} has a header that cannot be read; use a snapshot from another source"):
        header = json.loads(text)
    return Snapshot(_checked(header, path), arrays, path)


def _checked(header: object, path: Path) -> dict[str, Any]:
    """Check a header.

    Raises:
        UserError: it is not one that this version writes.
    """
    version = header.get("format_version") if isinstance(header, dict) else None
    if isinstance(version, int) and version > FORMAT_VERSION:
        raise UserError(f"{path} was written by a newer simple_dqn; update this one to read it")
    try:
        return check_header(header)
    except UserError as error:
        raise UserError(
            f"{path} was altered, or another program wrote it: {error}; use another snapshot"
        ) from error


def check_game(snapshot: Snapshot, game: Game) -> None:
    """See that a snapshot is of a game.

    Raises:
        UserError: it is of another one.
    """
    if (snapshot.header["game"], snapshot.header["rom_md5"]) != (game.name, game.rom_md5):
        raise UserError(
            f"{snapshot.path} is a snapshot of {snapshot.header['game']}, not of {game.name} "
            f"({game.rom_path}); use the game it was trained on"
        )


def check_actions(snapshot: Snapshot, action_meanings: Sequence[str]) -> None:
    """See that a snapshot's network chooses among the actions of a game.

    Raises:
        UserError: it does not.
    """
    theirs = snapshot.header["action_meanings"]
    if theirs != list(action_meanings):
        raise UserError(
            f"the network of {snapshot.path} chooses among the actions {' '.join(theirs)}, but the "
            f"game has {' '.join(action_meanings)}; give --minimal_action_set as it was trained"
        )


def _digest(text: str, arrays: Arrays) -> str:
    sha256 = hashlib.sha256(text.encode())
    for name in sorted(arrays):
        array = arrays[name]
        sha256.update(f"{name} {array.dtype} {array.shape}".encode())
        sha256.update(np.ascontiguousarray(array).tobytes())
    return sha256.hexdigest()
