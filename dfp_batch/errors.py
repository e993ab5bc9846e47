"""Every error the package raises on purpose.

::

    DfpError
    |-- ConfigError            the run never starts: bad option or config       (exit 2)
    |-- ManifestError          the run never starts: bad manifest               (exit 2)
    |-- RunHeldError           another driver holds the run                     (exit 5)
    |-- RunStoppedError        stopped before the end, resumable                (exit 4)
    |   `-- ExecutorLostError  what runs the stages is gone, and all it held with it
    |-- LedgerError            fatal: the run directory cannot be trusted       (exit 4)
    |-- PairError              this pair only; the others go on
    |   |-- ImageError         input: undecodable, wrong size, wrong channels
    |   |-- AlignmentError     input: the frames could not be registered
    |   |-- DivergedError      input: the optimisation left the finite numbers
    |   |-- DeviceMemoryError  resource: the device has too little memory (retried)
    |   |-- WorkerLostError    crash: the process that held the pair died (retried)
    |   `-- PairTimeoutError   timeout: it took too long, or gave no sign of life (retried once)
    `-- StorageError           transient: the store failed or was slow (retried)
        |-- ObjectMissingError input: nothing is there
        |-- ObjectAccessError  input: this one cannot be read (403, archived, no such bucket)
        `-- StorageAccessError fatal: credentials, disk, no right to write (exit 4)

Every class carries the ``category`` that decides what the engine does with it.
"""

from typing import ClassVar, Literal

Category = Literal["input", "transient", "resource", "crash", "timeout", "fatal"]


class DfpError(Exception):
    """Root of all errors raised on purpose; ``str(error)`` is one line for the user."""

    category: ClassVar[Category] = "fatal"


class ConfigError(DfpError):
    """An option or a configuration value is wrong; nothing has run."""


class ManifestError(DfpError):
    """The manifest is wrong; nothing has run."""


class RunHeldError(DfpError):
    """Another driver holds the lease of this run."""


class RunStoppedError(DfpError):
    """The run was stopped before the end; the same command goes on from here."""


class ExecutorLostError(RunStoppedError):
    """What runs the stages is gone or does not answer; what it held is lost."""


class LedgerError(DfpError):
    """The run directory is not what this version can read or write."""


class PairError(DfpError):
    """One pair cannot be done; the others go on."""

    category: ClassVar[Category] = "input"


class ImageError(PairError):
    """An image cannot be decoded, or does not fit the other sources of its pair."""


class AlignmentError(PairError):
    """The frames of a pair could not be registered to each other."""


class DivergedError(PairError):
    """The optimisation produced NaN or infinity."""


class DeviceMemoryError(PairError):
    """The device has too little memory for this pair."""

    category: ClassVar[Category] = "resource"


class WorkerLostError(PairError):
    """The process that held the pair died."""

    category: ClassVar[Category] = "crash"


class PairTimeoutError(PairError):
    """A stage took longer than it may, or gave no sign of life."""

    category: ClassVar[Category] = "timeout"


class StorageError(DfpError):
    """The store failed, timed out or was busy; worth another try."""

    category: ClassVar[Category] = "transient"


class ObjectMissingError(StorageError):
    """The URL names nothing."""

    category: ClassVar[Category] = "input"


class ObjectAccessError(StorageError):
    """This object or its bucket cannot be read; others may be."""

    category: ClassVar[Category] = "input"


class StorageAccessError(StorageError):
    """Credentials, disk or no right to write: no further access to the store can succeed."""

    category: ClassVar[Category] = "fatal"
