"""Writing files so that a crash at any moment leaves either the old file or the new one."""

import contextlib
import os
import re
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

import filelock

from simple_dqn.errors import UserError

_REQUESTS_TO_STOP = ("SIGINT", "SIGTERM", "SIGHUP")  # Windows has no SIGHUP
_TEMPORARY = re.compile(r"\.(.+)\.\d+\.tmp")
_PICTURES = (".png", ".svg", ".pdf", ".webp")
_KINDS = {".csv": "CSV file", ".mp4": "film", **dict.fromkeys(_PICTURES, "picture")}


def plain_file(path: Path, what: str) -> None:
    """Raise a `UserError` before a folder, a pipe, a device or what cannot be `what` is opened."""
    kind = _other_than_a_file(path) or _KINDS.get(path.suffix.lower(), "")
    if kind not in what:
        raise UserError(f"{path} is a {kind}; give {what}")


def read_text(path: Path, what: str) -> str:
    """Read a text file that is `what`; a `UserError` says why this fails."""
    plain_file(path, what)
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}; give {what}") from error
    except UnicodeError as error:
        raise UserError(f"{path} is not a text file; give {what}") from error


def _other_than_a_file(path: Path) -> str:
    """What is there in place of a plain file; "": a file, or nothing that could be read."""
    with contextlib.suppress(OSError):
        if path.exists() and not path.is_file():
            return "folder" if path.is_dir() else "pipe or device"
    return ""


@contextlib.contextmanager
def atomic_file(path: Path) -> Iterator[BinaryIO]:
    """Open a file beside its place; at the end, sync it to disk and rename it into place.

    Where this fails, the earlier file stays as it was, and a `UserError` says why.
    """
    if kind := _other_than_a_file(path):  # whose place would be taken, also that of a device
        raise UserError(f"cannot write {path}: it is a {kind}; name a file")
    temporary = _temporary(path)
    with errors_naming(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with temporary.open("wb") as file:
                yield file
            put_in_place(temporary, path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise


@contextlib.contextmanager
def errors_naming(path: Path) -> Iterator[None]:
    """Raise a UserError in place of an OSError while a file is written."""
    try:
        yield
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror}; nothing was changed") from error


def put_in_place(temporary: Path, path: Path) -> None:
    """Sync a finished file to disk and rename it into place, so that it outlives a power cut."""
    with temporary.open("rb+") as file:
        sync(file)
    temporary.replace(path)
    if os.name != "nt":  # Windows cannot open folders
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file at once; see `atomic_file`."""
    with atomic_file(path) as file:
        file.write(content)


def sync(file: BinaryIO) -> None:
    """Sync what was written so far to disk."""
    file.flush()
    os.fsync(file.fileno())


def remove_temporary_files(folder: Path, is_ours: Callable[[Path], object]) -> None:
    """Remove what an interrupted `atomic_file` left of files that only we write, by their paths."""
    for path in folder.glob(".*.tmp"):
        match = _TEMPORARY.fullmatch(path.name)
        if match and is_ours(folder / match[1]):
            path.unlink(missing_ok=True)


@contextlib.contextmanager
def locked(path: Path, whose: Path) -> Iterator[None]:
    """Hold the lock file `path` of the file `whose`, or raise a `UserError` if another run does.

    A process that dies releases its locks.
    """
    with errors_naming(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            lock = filelock.FileLock(path, timeout=0).acquire()
        except filelock.Timeout as error:
            raise UserError(
                f"{whose} is being written by another run; wait until it ends, or give this run "
                "another label"
            ) from error
    with lock:  # releases it
        yield


def remove(paths: Sequence[Path]) -> None:
    """Remove files, all of them or none; a `UserError` names one that cannot be removed."""
    with contextlib.ExitStack() as undo:
        for path in paths:
            with errors_naming(path):
                undo.callback(path.replace(_temporary(path)).replace, path)
                if _temporary(path).is_dir():
                    raise IsADirectoryError(0, "it is a folder")
        undo.pop_all()
    for path in paths:
        _temporary(path).unlink()


def check_writable(path: Path, options: str = "--csv_file and --save_weights_prefix") -> None:
    """Raise a `UserError` that names `options` if a file cannot be written; leave it as it is."""
    try:
        if kind := _other_than_a_file(path):
            raise UserError(f"cannot write {path}: it is a {kind}; name a file with {options}")
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = _temporary(path)
        temporary.touch()
        temporary.unlink()
        if path.exists():
            with path.open("ab"):
                pass
    except OSError as error:
        raise UserError(
            f"cannot write {path}: {error.strerror}; choose another place with {options}"
        ) from error


def _temporary(path: Path) -> Path:
    """Where a file grows before it takes its place."""
    return path.with_name(f".{path.name}.{os.getpid()}.tmp")


@contextlib.contextmanager
def interrupts_held() -> Iterator[Callable[[], None]]:
    """Hold back requests to stop; the function that is given raises KeyboardInterrupt for them.

    Call that function where stopping does no harm, within the block or after it. Python delivers
    signals to the main thread alone, so in another thread there is nothing to hold back.
    """
    came: list[object] = []

    def check() -> None:
        if came:
            raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield check
        return
    numbers = [getattr(signal, name) for name in _REQUESTS_TO_STOP if hasattr(signal, name)]
    numbers = [number for number in numbers if signal.getsignal(number) != signal.SIG_IGN]  # nohup
    before = {number: signal.signal(number, lambda *_: came.append(_)) for number in numbers}
    try:
        yield check
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
