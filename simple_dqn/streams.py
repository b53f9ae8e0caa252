"""Standard streams that are closed, full or gone: no command breaks off with a traceback.

What a command says on stderr is not its work, so a run goes on when nobody can read it any more.
Standard output is the result: where it cannot be written, the command ends.
"""

import contextlib
import io
import os
import sys
from collections.abc import Iterator
from typing import Any, TextIO

from simple_dqn.errors import UserError

_READER_GONE = 141  # 128 + SIGPIPE, as the shell tells of a program whose reader left


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
        _discard(sys.stdout)
        if isinstance(error, BrokenPipeError):
            raise SystemExit(_READER_GONE) from error
        raise UserError(f"cannot write to standard output: {error.strerror}") from error


@contextlib.contextmanager
def lasting() -> Iterator[None]:
    """Let all three streams be there, and let no write to stderr fail."""
    _open_closed()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a name may have letters that the encoding lacks
            stream.reconfigure(errors="backslashreplace")
    stderr = sys.stderr
    sys.stderr = _Unfailing(stderr)
    try:
        yield
    finally:
        sys.stderr = stderr
        for stream in (sys.stdout, stderr):
            try:
                stream.flush()
            except OSError:
                _discard(stream)


def _open_closed() -> None:
    """Put the null device where a stream was closed (`2>&-`).

    NB! Else the first file that is opened, a CSV perhaps, would be file 2, and libraries would
    write their complaints into it.
    """
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest free number, which is this one
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(number, mode, closefd=False))


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


def _discard(stream: TextIO) -> None:
    """Send what the stream still holds nowhere: Python would complain of it at its end."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)
