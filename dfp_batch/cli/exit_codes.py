"""What the exit code of a command says; ``dfp-batch --help`` ends with it."""

from enum import IntEnum

from dfp_batch import errors


class ExitCode(IntEnum):
    """How a command ended; its help begins with the number.

    Attributes:
        meaning: For people.
    """

    meaning: str

    def __new__(cls, number: int, meaning: str) -> "ExitCode":
        """A number and what it means."""
        made = int.__new__(cls, number)
        made._value_ = number
        made.meaning = meaning
        return made

    OK = 0, "all is well"
    PROBLEM = 1, "doctor has found a problem; else a fault of dfp-batch itself"
    USAGE = 2, "bad usage, configuration or manifest; nothing was done"
    PAIRS = 3, "pairs have failed, would fail (plan), or are to be done again (verify)"
    STOPPED = 4, "stopped before the end; the same command goes on"
    HELD = 5, "another driver holds the run"
    INTERRUPTED = 130, "Ctrl-C"


_OF_ERRORS: tuple[tuple[type[errors.DfpError], ExitCode], ...] = (
    (errors.ConfigError, ExitCode.USAGE),
    (errors.ManifestError, ExitCode.USAGE),
    (errors.PairError, ExitCode.PAIRS),
    (errors.ObjectMissingError, ExitCode.USAGE),
    (errors.RunHeldError, ExitCode.HELD),
    (errors.DfpError, ExitCode.STOPPED),
)


def of_error(error: errors.DfpError) -> ExitCode:
    """The code of a command that ends with this error."""
    return next(code for kind, code in _OF_ERRORS if isinstance(error, kind))


def table() -> str:
    """A line for each code, for the end of the help."""
    return "\n  ".join(["Exit codes:", *(f"{code.value:3}  {code.meaning}" for code in ExitCode)])
