"""The one exception class for people's mistakes."""


class UserError(Exception):
    """Something the user can mend; its text says what is wrong and what to do.

    `main` prints it as one line on stderr and exits with status 1. Everything else that is raised
    is our bug and keeps its traceback.
    """
