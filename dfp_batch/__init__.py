"""dfp-batch: archives of multi-focus photographs into sharp, enlarged, measured images.

``from dfp_batch import fuse, FusionConfig`` is the Python interface to one item, ``submit`` runs an
archive as the command ``dfp-batch submit`` does, and ``Run`` looks at what came out. The names load
on first use, so the command line answers at once.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dfp_batch.engine.submit import submit as submit
    from dfp_batch.pipeline.composition import FusionConfig as FusionConfig
    from dfp_batch.pipeline.fusion import FusionResult as FusionResult
    from dfp_batch.pipeline.fusion import fuse as fuse
    from dfp_batch.runs.run import Run as Run

__version__ = "0.1.0"
__all__ = ["FusionConfig", "FusionResult", "Run", "__version__", "fuse", "submit"]

_HOMES = {
    "FusionConfig": "dfp_batch.pipeline.composition",
    "FusionResult": "dfp_batch.pipeline.fusion",
    "Run": "dfp_batch.runs.run",
    "fuse": "dfp_batch.pipeline.fusion",
    "submit": "dfp_batch.engine.submit",
}


def __getattr__(name: str) -> Any:  # noqa: ANN401
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'dfp_batch' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
