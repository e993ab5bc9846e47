"""Sum-modified-Laplacians at several scales, against noise."""

from dataclasses import dataclass

from torch import Tensor

from dfp_batch.core.contracts import FocusMeasure, Sources
from dfp_batch.core.decision import kept_in, softmax_
from dfp_batch.core.filters import median, pyramid_down, resize_linearly
from dfp_batch.core.part import Count, Positive
from dfp_batch.core.sources import greys
from dfp_batch.focus.sum_modified_laplacian import sum_modified_laplacian


@dataclass(frozen=True)
class MultiScaleLaplacian(FocusMeasure):
    """Evidence of sum-modified-Laplacians at several scales, against noise: a soft decision.

    At every scale s = 0, 1, ... of a Gaussian pyramid, with SML_k of source k::

        log m_k  +=  w_s log(SML_k + n_s),   n_s = floor + median over pixels of min_k SML_k

    n_s is what is left where nothing is in focus: sensor noise, compression. Where no source stands
    out of it - flat areas - the decision is undecided, 1 / N, for a refinement to fill. The noise
    also says how far to trust coarser scales, which see less noise but blur boundaries:
    ``w_s = (1 - floor / n_0)^2 / 2^s`` for s > 0.

    Attributes:
        sigma_px: Gaussian window of the sum, in pixels of the scale.
        floor: Least noise that is assumed, of images in [0, 1].
        scales: Number of scales; each is half as large as the one before.
        most: Largest evidence of one scale for one source over another, in nepers.

    Raises:
        ConfigError: for a field out of its range.
    """

    sigma_px: Positive = 1.0
    floor: Positive = 0.01
    scales: Count = 2
    most: Positive = 2.0

    def __call__(self, sources: Sources) -> Tensor:
        """Decision (N, 1, h, w), > 0, of N sources (C, h, w), which it looks at one by one."""
        sharpness = self._sharpness(sources)
        evidence, noise = sharpness[0], self._evidence_(sharpness[0])
        trust = (1 - self.floor / noise) ** 2
        for scale, coarser in enumerate(sharpness[1:], 1):
            self._evidence_(coarser)
            for finest, plane in zip(evidence, coarser, strict=True):
                larger = resize_linearly(plane[None], (finest.shape[0], finest.shape[1]))[0]
                finest.add_(larger.mul_(trust / 2**scale))
        return softmax_(evidence).unsqueeze(1)

    def _sharpness(self, sources: Sources) -> list[Tensor]:
        """SML_k of all sources at every scale, (N, h, w), (N, h / 2, w / 2), ..."""
        scales: list[Tensor] = []
        for index, grey in enumerate(greys(sources)):
            plane = grey
            for scale in range(self.scales):
                plane = pyramid_down(plane) if scale else grey
                if index == 0:
                    dtype = kept_in(len(sources) * grey.numel(), grey.device)
                    scales.append(plane.new_empty(len(sources), *plane.shape[1:], dtype=dtype))
                scales[scale][index] = sum_modified_laplacian(plane, self.sigma_px)[0]
        return scales

    def _evidence_(self, sharpness: Tensor) -> float:
        """Makes of SML_k, in place, log(SML_k + n) below its maximum over k, >= -most; gives n."""
        noise = self.floor + float(median(sharpness.amin(0).float()))
        for plane in sharpness:
            plane.add_(noise).log_()
        largest = sharpness.amax(0)
        for plane in sharpness:
            plane.sub_(largest).clamp_min_(-self.most)
        return noise
