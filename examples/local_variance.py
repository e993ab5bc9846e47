"""A focus measure of one's own, used by name.

Usage: python examples/local_variance.py

In a run: PYTHONPATH=examples dfp-batch submit manifest.parquet --set
focus=local_variance:LocalVariance --set focus.side_px=9
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from dfp_batch import fuse
from dfp_batch.config.run_config import run_config
from dfp_batch.core.contracts import FocusMeasure, Sources
from dfp_batch.core.filters import box_blur
from dfp_batch.core.part import OddCount
from dfp_batch.core.sources import greys
from fuse_two_arrays import scene


@dataclass(frozen=True)
class LocalVariance(FocusMeasure):
    """The share of every source in the variance of luma within a square window.

    Attributes:
        side_px: Of the window.
    """

    side_px: OddCount = 7

    def __call__(self, sources: Sources) -> Tensor:
        """Decision (N, 1, h, w), >= 0, sums to 1 over N."""
        variances = torch.stack([self.variance(grey) for grey in greys(sources)])
        return variances / variances.sum(0)

    def variance(self, plane: Tensor) -> Tensor:
        """Of a plane (1, h, w), within the window about every pixel: (1, h, w), > 0."""
        mean = box_blur(plane, self.side_px, "reflect")
        spread = box_blur(plane * plane, self.side_px, "reflect") - mean * mean
        return spread.clamp_min(0) + 1e-6


def main() -> None:
    """Fuse with it, named as in a configuration."""
    settings = {"focus": "local_variance:LocalVariance", "focus.side_px": 9, "scale": 1}
    config = run_config("fast", None, settings).fusion
    result = fuse(scene(), config)
    left = result.decision[0, 0, :, :60].mean()
    print(f"the first source is taken for {float(left):.0%} of the left half")


if __name__ == "__main__":
    main()
