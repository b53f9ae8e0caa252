"""The exception classes for people's mistakes."""


class UserError(Exception):
    """Something the user can mend; its text says what is wrong and what to do.

    `main` prints it as one line on stderr and exits with `status`. Everything else that is raised
    is our bug and keeps its traceback.
    """

    status = 1


class OptionError(UserError):
    """An option has a value that it cannot have."""

    status = 2
