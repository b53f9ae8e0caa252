"""Writing files so that a crash at any moment leaves the old one or the new one, whole."""

import contextlib
import os
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import filelock

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
    if os.name == "nt":  # Windows opens no folders
        return
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
def locked(path: Path, whose: Path) -> Iterator[None]:
    """Hold a lock on a file that stands for another; the lock of a dead process counts as none.

    Args:
        path: of the lock file.
        whose: file that the lock protects.

    Raises:
        UserError: another process holds the lock, or the lock file cannot be made.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = filelock.FileLock(path, timeout=0)
        lock.acquire()
    except filelock.Timeout as error:
        raise UserError(
            f"{whose} is being written by another run; wait for its end, or give this run another "
            "label"
        ) from error
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror}") from error
    try:
        yield
    finally:
        lock.release()


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
