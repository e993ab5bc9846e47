"""dfp-batch: archives of multi-focus photographs into sharp, enlarged, measured images.

``from dfp_batch import fuse, FusionConfig`` is the Python interface to one item; the command
``dfp-batch`` runs archives. The names load on first use, so the command line answers at once.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dfp_batch.pipeline.composition import FusionConfig as FusionConfig
    from dfp_batch.pipeline.fusion import FusionResult as FusionResult
    from dfp_batch.pipeline.fusion import fuse as fuse

__version__ = "0.1.0"
__all__ = ["FusionConfig", "FusionResult", "__version__", "fuse"]


def __getattr__(name: str) -> Any:  # noqa: ANN401
    if name in __all__:
        return getattr(import_module("dfp_batch.pipeline.fusion"), name)
    raise AttributeError(f"module 'dfp_batch' has no attribute {name!r}")
