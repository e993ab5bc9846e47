"""Image quality as numbers: the paper's no-reference metrics, PSNR and SSIM.

Mind the scales: the paper's metrics take luma in [0, 255], PSNR and SSIM take luma in [0, 1].
"""

from dfp_batch.metrics.paper import (
    edge_coherence,
    edge_intensity,
    information_entropy,
    mean_gradient,
    mean_grey,
    paper_metrics,
    relative_metrics,
)
from dfp_batch.metrics.reference import psnr_db, ssim

__all__ = [
    "edge_coherence",
    "edge_intensity",
    "information_entropy",
    "mean_gradient",
    "mean_grey",
    "paper_metrics",
    "psnr_db",
    "relative_metrics",
    "ssim",
]
