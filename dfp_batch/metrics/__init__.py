"""Quality as numbers: the paper's metrics, PSNR and SSIM, fusion metrics, accuracy of decisions.

Mind the scales: the paper's and the fusion metrics take luma in [0, 255], PSNR and SSIM in [0, 1].

The functions load on first use, so that who only needs ``metrics.names`` loads nothing else.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dfp_batch.metrics.decision import decision_accuracy as decision_accuracy
    from dfp_batch.metrics.decision import near_boundary as near_boundary
    from dfp_batch.metrics.decision import regions as regions
    from dfp_batch.metrics.fusion import fusion_metrics as fusion_metrics
    from dfp_batch.metrics.fusion import q_abf as q_abf
    from dfp_batch.metrics.fusion import q_w as q_w
    from dfp_batch.metrics.fusion import scd as scd
    from dfp_batch.metrics.fusion import viff as viff
    from dfp_batch.metrics.paper import edge_coherence as edge_coherence
    from dfp_batch.metrics.paper import edge_intensity as edge_intensity
    from dfp_batch.metrics.paper import information_entropy as information_entropy
    from dfp_batch.metrics.paper import mean_gradient as mean_gradient
    from dfp_batch.metrics.paper import mean_grey as mean_grey
    from dfp_batch.metrics.paper import paper_metrics as paper_metrics
    from dfp_batch.metrics.paper import relative_metrics as relative_metrics
    from dfp_batch.metrics.reference import psnr_db as psnr_db
    from dfp_batch.metrics.reference import ssim as ssim

_FUNCTIONS = {
    "decision": ("decision_accuracy", "near_boundary", "regions"),
    "fusion": ("fusion_metrics", "q_abf", "q_w", "scd", "viff"),
    "paper": (
        "edge_coherence",
        "edge_intensity",
        "information_entropy",
        "mean_gradient",
        "mean_grey",
        "paper_metrics",
        "relative_metrics",
    ),
    "reference": ("psnr_db", "ssim"),
}
_MODULES = {name: module for module, names in _FUNCTIONS.items() for name in names}


def __getattr__(name: str) -> Any:  # noqa: ANN401
    if name in _MODULES:
        return getattr(import_module(f"dfp_batch.metrics.{_MODULES[name]}"), name)
    raise AttributeError(f"module 'dfp_batch.metrics' has no attribute {name!r}")
