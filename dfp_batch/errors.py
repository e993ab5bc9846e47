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

Every class carries the ``category`` that decides what the engine does with it; its docstring says
what the user does about it.
"""

from typing import ClassVar, Literal

Category = Literal["input", "transient", "resource", "crash", "timeout", "fatal"]
MEANINGS: dict[Category, str] = {
    "input": "The file: damaged, missing, not readable for you, archived, or unlike the others of "
    "its pair. Not tried again in this session; the next `submit` does, last, and so does `retry`.",
    "transient": "The store or the machine, for a while. Tried again by itself.",
    "resource": "Too little memory. Tried again by itself, with less of it.",
    "crash": "A process died while it ran. Tried again; after two deaths the pair is quarantined "
    "until `retry --quarantined` or `submit --retry-quarantined`.",
    "timeout": "No sign of life, or far too long for its size. Tried once more, then quarantined.",
    "fatal": "Credentials, disk, a run directory that cannot be written: no pair could be done. "
    "The run stops, and the same command goes on.",
}


class DfpError(Exception):
    """Root of all errors raised on purpose; ``str(error)`` is one line for the user."""

    category: ClassVar[Category] = "fatal"


class ConfigError(DfpError):
    """An option or a configuration value is wrong; nothing has run.

    What to do: correct what the message names and give the command again.
    """


class ManifestError(DfpError):
    """The manifest is wrong; nothing has run.

    What to do: correct the rows that the message names, counted from 0, or let
    ``dfp-batch manifest`` make it.
    """


class RunHeldError(DfpError):
    """Another driver holds the lease of this run.

    What to do: wait for it, or if it is dead and five minutes are too long, ``--takeover``.
    """


class RunStoppedError(DfpError):
    """The run was stopped before the end; the same command goes on from here.

    What to do: if you did not stop it, what the message says; then the same command.
    """


class ExecutorLostError(RunStoppedError):
    """What runs the stages is gone or does not answer; what it held is lost.

    What to do: look whether Ray, or the cluster, is up; the same command goes on.
    """


class LedgerError(DfpError):
    """The run directory is not what this version can read or write.

    What to do: restore the file that the message names, or take the version that wrote it.
    """


class PairError(DfpError):
    """One pair cannot be done; the others go on.

    What to do: what its row, or ``dfp-batch failures``, says.
    """

    category: ClassVar[Category] = "input"


class ImageError(PairError):
    """An image cannot be decoded, or does not fit the other sources of its pair.

    What to do: replace the file that the message names, then ``retry --category input``.
    """


class AlignmentError(PairError):
    """The frames of a pair could not be registered to each other.

    What to do: look whether they show one scene; ``--align none`` takes them as they are.
    """


class DivergedError(PairError):
    """The optimisation produced NaN or infinity.

    What to do: another preset, or a smaller learning rate.
    """


class DeviceMemoryError(PairError):
    """The device has too little memory for this pair.

    What to do: nothing at first; if it stays, a larger machine, or a smaller ``--scale``.
    """

    category: ClassVar[Category] = "resource"


class WorkerLostError(PairError):
    """The process that held the pair died.

    What to do: nothing at first; of a pair that is quarantined, see whether its files are sound and
    the memory suffices, then ``retry --quarantined``.
    """

    category: ClassVar[Category] = "crash"


class PairTimeoutError(PairError):
    """A stage took longer than it may, or gave no sign of life.

    What to do: see whether the store is slow or the machine overloaded, then
    ``retry --quarantined``.
    """

    category: ClassVar[Category] = "timeout"


class StorageError(DfpError):
    """The store failed, timed out or was busy; worth another try.

    What to do: nothing; if it stays, ask whoever runs the store.
    """

    category: ClassVar[Category] = "transient"


class ObjectMissingError(StorageError):
    """The URL names nothing.

    What to do: put the file there, or correct the manifest.
    """

    category: ClassVar[Category] = "input"


class ObjectAccessError(StorageError):
    """This object or its bucket cannot be read; others may be.

    What to do: get the right to read it, or restore it from the archive tier, then
    ``retry --category input``.
    """

    category: ClassVar[Category] = "input"


class StorageAccessError(StorageError):
    """Credentials, disk or no right to write: no further access to the store can succeed.

    What to do: renew credentials, free the disk, or give the right; the same command goes on.
    """

    category: ClassVar[Category] = "fatal"
