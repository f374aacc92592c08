"""The one exception a user can cause.

Its message is a full sentence: where, what is wrong, what is allowed, what to do next. The command
line prints it and exits with its code; anything else that escapes is a fault of the program.
"""


class CadenzaError(Exception):
    """Something the user can mend: an input, an option, a full disk."""

    exit_code = 2


class BadFile(CadenzaError):  # noqa: N818
    """A file that gives no notes: its name, its `fault`, and what is to be done where it is one of a corpus."""

    def __init__(self, name: str, fault: str, advice: str = "leave it out") -> None:
        super().__init__(name, fault, advice)
        self.fault = fault

    def __str__(self) -> str:
        name, fault, advice = self.args
        return f"{name}: {fault}; {advice}."
