"""Standard streams that are full or gone: no command breaks off with a traceback.

What a command logs on stderr is not its work, so a run continues when nobody can read it any more.
Standard output is the result: where it cannot be written, the command ends.
"""

import contextlib
import io
import os
import sys
from collections.abc import Iterator
from typing import Any, TextIO

from simple_dqn.errors import UserError

_READER_GONE = 141  # 128 + SIGPIPE, a shell's status of a program whose reader left


def write(text: str) -> None:
    """Write to standard output, at once.

    Raises:
        UserError: it cannot be written, because the disk is full for example.
        SystemExit: its reader has left, as `head` does; the command ends without a word.
    """
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except OSError as error:
        # What the stream still holds goes nowhere: Python would complain of it at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if isinstance(error, BrokenPipeError):
            raise SystemExit(_READER_GONE) from error
        raise UserError(f"cannot write to standard output: {error.strerror}") from error


@contextlib.contextmanager
def lasting() -> Iterator[None]:
    """Let no write to stderr fail, nor a name with letters that the encoding lacks."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    stderr = sys.stderr
    sys.stderr = _Unfailing(stderr)
    try:
        yield
    finally:
        sys.stderr = stderr


class _Unfailing:
    """A text stream whose writes never fail: a pipe's reader or a terminal may go away."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        with contextlib.suppress(OSError):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError):
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
