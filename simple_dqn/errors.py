"""The exception classes for people's mistakes, and for files that are not what they should be."""

import contextlib
from collections.abc import Iterator

_LONGEST = 1000  # characters of a message


def printable(text: str) -> str:
    """Escape what a terminal would obey: a name or a value that comes from a file may have it."""
    return "".join(c if c.isprintable() or c == "\n" else repr(c)[1:-1] for c in text)


class UserError(Exception):
    """Something the user can mend; its text says what is wrong and what to do.

    `main` prints it as one line on stderr and exits with `status`. Everything else that is raised
    is our bug and keeps its traceback.
    """

    status = 1

    def __str__(self) -> str:
        """One line of printable letters."""
        text = super().__str__()
        if len(text) > _LONGEST:  # the end says what to do
            text = f"{text[: _LONGEST // 2]}...{text[-_LONGEST // 2 :]}"
        return printable(text).replace("\n", "\\n")


class OptionError(UserError):
    """An option has a value that it cannot have."""

    status = 2


@contextlib.contextmanager
def refusing(message: str) -> Iterator[None]:
    """Make one error of whatever other libraries raise when they read a damaged or crafted file.

    Such libraries raise errors of many kinds, and not only of those that they document. NB! Only
    calls of readers belong into this context, since mistakes of ours would hide in it.

    Raises:
        UserError: a reader failed; the message names the file.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        raise UserError(message) from error
