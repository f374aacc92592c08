"""The one exception a user can cause.

Its message is a full sentence: where, what is wrong, what is allowed, what to do next. The command
line prints it and exits with its code; anything else that escapes is a fault of the program.
"""


class CadenzaError(Exception):
    """Something the user can mend: an input, an option, a full disk."""

    exit_code = 2
