"""Files of arrays with a JSON header: snapshots, training states and a person's experience.

These are safetensors files: reading one never runs code from it. The format has no checksum of its
own, so a SHA-256 over header and arrays is stored beside the header. It finds damage, not malice:
whoever reads a file checks the values in its header and the shapes of its arrays.
"""

import contextlib
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import safetensors
import safetensors.numpy

from simple_dqn.errors import UserError, refusing
from simple_dqn.files import atomic_file, plain_file, sync

Arrays = dict[str, npt.NDArray[np.generic]]


@contextlib.contextmanager
def arrays_at_end(path: Path, kind: str, header: dict[str, Any], arrays: Arrays) -> Iterator[None]:
    """Write a file beside its place, synced to disk; it takes its place at the end of the block.

    `kind` is the name of the header, which JSON can hold; the name says what the file is.
    """
    # NB! safetensors would write the bytes of a view as they lie in memory.
    arrays = {name: np.asarray(array, order="C") for name, array in arrays.items()}
    text = json.dumps(header)
    metadata = {kind: text, "sha256": _digest(text, arrays)}
    with atomic_file(path) as file:
        file.write(safetensors.numpy.save(arrays, metadata))
        sync(file)
        yield


def read_arrays(path: Path, kind: str, what: str) -> tuple[Any, Arrays]:
    """Return the header and the arrays of a file, neither of which is checked but for damage.

    `kind` is that of `arrays_at_end`; `what` names for people what the file should be.

    Raises:
        UserError: the file is missing, damaged or of another kind.
    """
    plain_file(path, what)
    damaged = f"{path} is damaged (truncated or altered); use another one, or a backup"
    try:
        path.open("rb").close()
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error
    with refusing(damaged), safetensors.safe_open(path, framework="numpy") as file:
        metadata = file.metadata() or {}
        if kind not in metadata:
            raise UserError(f"{path} is not {what}")
        arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        if metadata.get("sha256") != _digest(metadata[kind], arrays):
            raise UserError(damaged)
        return json.loads(metadata[kind]), arrays


def _digest(text: str, arrays: Arrays) -> str:
    sha256 = hashlib.sha256(text.encode())
    for name in sorted(arrays):
        array = arrays[name]
        sha256.update(f"{name} {array.dtype} {array.shape}".encode())
        sha256.update(array.tobytes())
    return sha256.hexdigest()
