"""Every frame counts: what several sources show alike is averaged, and so is their noise.

In a deep stack more sources than one are sharp at a pixel, and where there is no detail all of them
show the same. Band by band of a Laplacian pyramid a source counts as far as it differs from the
merged image by no more than noise: a blurred one in coarse bands alone, a veiled one not at all.
"""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from dfp_batch.core.contracts import Compute, Merge, Sources
from dfp_batch.core.filters import box_blur, pyramid_down
from dfp_batch.core.image import luma_plane
from dfp_batch.core.part import NotNegative, Positive
from dfp_batch.core.pyramid import collapse, pyramid_bands
from dfp_batch.core.quality import NoiseOfLight, noise_of_light
from dfp_batch.core.sources import previews
from dfp_batch.merging.gradient_domain import GradientDomain

_WINDOW_PX = 5
_TINY = 1e-12


@dataclass(frozen=True)
class EveryFrame(Merge):
    """Another merge, averaged with all sources that show the same.

    In every band B, with the squared difference ``d_k`` of source k to the merged image, averaged
    over a window and all channels, and the variance v that noise alone gives that difference::

        (B + sum_k w_k B_k) / (1 + sum_k w_k),   w_k = (1 - m_k) / (1 + s max(0, d_k / v - 1)^2)

    The idea is that of burst photography (Hasinoff et al., 2016), which shrinks differences in
    tiles of the Fourier domain.

    Attributes:
        base: The merge whose image is averaged.
        strictness: s: how fast a source that differs ceases to count.
        least_noise: Standard deviation at mid-grey below which the image is left as it is.
    """

    base: Merge = field(default_factory=GradientDomain)
    strictness: Positive = 32.0
    least_noise: NotNegative = 0.01

    def __call__(
        self, sources: Sources, decision: Tensor, certainty: Tensor, compute: Compute
    ) -> Tensor:
        """Merged (1, C, h, w), in [0, 1]."""
        merged = self.base(sources, decision, certainty, compute)[0]
        if noise_of_light([merged]).at(0.5) < self.least_noise:  # which texture only adds to
            return merged[None]
        noise = noise_of_light(previews(sources))
        if noise.at(0.5) < self.least_noise:
            return merged[None]
        return self._averaged(sources, decision, merged, noise).clamp_(0, 1)[None]

    def _averaged(
        self, sources: Sources, decision: Tensor, merged: Tensor, noise: NoiseOfLight
    ) -> Tensor:
        bands = list(pyramid_bands(merged.clone()))
        variances = _variances(merged, noise, len(bands))
        total, count = [band.clone() for band in bands], [torch.ones_like(v) for v in variances]
        for index in range(len(sources)):
            own = 1 - decision[index].float()
            for level, band in enumerate(pyramid_bands(sources[index])):
                weight = self._weight(band - bands[level], variances[level]).mul_(own)
                total[level].addcmul_(weight, band)
                count[level] += weight
                own = pyramid_down(own)
        return collapse([one / weight for one, weight in zip(total, count, strict=True)])

    def _weight(self, difference: Tensor, variance: Tensor) -> Tensor:
        power = box_blur(difference.square().mean(0, keepdim=True), _WINDOW_PX, "replicate")
        excess = (power / variance - 1).clamp_min_(0)
        return 1 / (1 + self.strictness * excess.square())


def _variances(merged: Tensor, noise: NoiseOfLight, levels: int) -> list[Tensor]:
    """Of the noise of a difference in every band, (1, h, w), (1, h / 2, w / 2)..."""
    variance, found = noise.variance(luma_plane(merged)), []
    for gain in _gains(levels):
        found.append((2 * gain * variance).clamp_min(_TINY))
        variance = pyramid_down(variance)
    return found


def _gains(levels: int) -> list[float]:
    """Variance in every band of noise of variance 1."""
    side_px = 8 << levels
    generator = torch.Generator().manual_seed(0)
    image = torch.randn(1, min(side_px, 512), min(side_px, 512), generator=generator)
    return [float(band.var()) for band in pyramid_bands(image)][:levels]
