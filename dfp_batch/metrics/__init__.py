"""Quality as numbers: the paper's metrics, PSNR and SSIM, fusion metrics, accuracy of decisions.

Mind the scales: the paper's and the fusion metrics take luma in [0, 255], PSNR and SSIM in [0, 1].
"""

from dfp_batch.metrics.decision import decision_accuracy, near_boundary, regions
from dfp_batch.metrics.fusion import fusion_metrics, q_abf, q_w, scd, viff
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
    "decision_accuracy",
    "edge_coherence",
    "edge_intensity",
    "fusion_metrics",
    "information_entropy",
    "mean_gradient",
    "mean_grey",
    "near_boundary",
    "paper_metrics",
    "psnr_db",
    "q_abf",
    "q_w",
    "regions",
    "relative_metrics",
    "scd",
    "ssim",
    "viff",
]
