"""Writing files so that a crash at any moment leaves the old one or the new one, whole."""

import os
import tempfile
from pathlib import Path

from simple_dqn.errors import UserError


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file beside its place, sync it and rename it into place.

    Raises:
        UserError: the place cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with temporary.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror}; nothing was changed") from error


def check_writable(folder: Path, options: str = "--csv_file and --save_weights_prefix") -> None:
    """Make the folder if need be and try that files can be written there.

    Args:
        folder: to try.
        options: that choose another one.

    Raises:
        UserError: they cannot.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise UserError(
            f"cannot write files in {folder}: {error.strerror}; choose another place with {options}"
        ) from error
