"""Writing files so that a crash at any moment leaves the old one or the new one, whole."""

import contextlib
import fcntl
import os
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from simple_dqn.errors import UserError

_TEMPORARY = re.compile(r"\..+\.\d+\.tmp")


@contextlib.contextmanager
def atomic_file(path: Path) -> Iterator[BinaryIO]:
    """Open a file beside its place; at the end, sync it to disk and rename it into place.

    Whatever breaks meanwhile, the earlier file stays as it was.

    Raises:
        UserError: the place cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with temporary.open("wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
            sync_folder(path.parent)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror}; nothing was changed") from error


def write_atomically(path: Path, content: bytes) -> None:
    """Write a whole file; see `atomic_file`.

    Raises:
        UserError: the place cannot be written.
    """
    with atomic_file(path) as file:
        file.write(content)


def sync_folder(folder: Path) -> None:
    """Sync a folder to disk, so that a file's new name outlives a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove_temporary_files(folder: Path, prefix: str) -> None:
    """Remove what an interrupted `atomic_file` left of files whose names begin with a prefix."""
    for path in folder.glob(f".{prefix}*.tmp"):
        if _TEMPORARY.fullmatch(path.name):
            path.unlink(missing_ok=True)


@contextlib.contextmanager
def locked(path: Path, whose: str) -> Iterator[None]:
    """Hold a lock on a file that stands for others; the lock of a dead process counts as none.

    Args:
        path: of the lock file, which is made if it is missing and stays.
        whose: what the lock protects, for the message.

    Raises:
        UserError: another process holds the lock, or the file cannot be made.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("a+")
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror}") from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            file.seek(0)
            raise UserError(
                f"{whose} is being written by another run (process {file.read().strip() or '?'}); "
                "wait for its end, or give this run another label"
            ) from error
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        yield


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
