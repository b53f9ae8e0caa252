"""Standard streams that are full or gone: no command ends with a traceback because of one."""

import io
import os
import sys
from typing import TextIO

from simple_dqn.errors import UserError, printable

_READER_GONE = 141  # 128 + SIGPIPE, a shell's status of a program whose reader left


def write(text: str) -> None:
    """Write a result to standard output, at once.

    A full disk raises a `UserError`; a reader that has left, as `head` does, ends the command.
    """
    try:
        sys.stdout.write(printable(text))
        sys.stdout.flush()
    except OSError as error:
        _give_up(sys.stdout)
        if isinstance(error, BrokenPipeError):
            raise SystemExit(_READER_GONE) from error
        raise UserError(f"cannot write to standard output: {error.strerror}") from error


def complain(text: str) -> None:
    """Write a message to stderr, where it can be written; what is logged is treated alike."""
    try:
        sys.stderr.write(printable(text))
        sys.stderr.flush()
    except OSError:
        _give_up(sys.stderr)


def accept_odd_letters() -> None:
    """Escape the letters that the encoding of a stream lacks, in file names for example."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _give_up(stream: TextIO) -> None:
    """Let what the stream still holds go nowhere: Python would complain of it at its end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
