"""The paper's focus measure, Eq. (11)-(19)."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

import cv2
import numpy as np
import torch
from annotated_types import Le
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor
from torch.nn import functional

from dfp_batch.core.contracts import FocusMeasure, Sources
from dfp_batch.core.decision import one_hot
from dfp_batch.core.image import luma
from dfp_batch.core.part import Count, OddCount, Positive
from dfp_batch.core.sources import whole

_LARGEST_PSF_PX = 15  # it must lie within the smallest image that the method takes


@dataclass(frozen=True)
class DoubleReblur(FocusMeasure):
    """The paper's focus measure, Eq. (11)-(19), with its five parameters [kg, kd, ke, t, f].

    Differs from the paper: the mean of the other sources stands for "the other source", so one path
    serves every N; for N > 2 the largest sharpness decides in place of the threshold.
    Differs from the released code: the spectral division is regularised and low-passed (Eq. 14),
    and holes are filled wherever pixel (0, 0) lies.

    Attributes:
        gaussian_px: kg, kernel size of the second reblur, odd.
        dilation_px: kd, kernel size of the dilation.
        erosion_px: ke, kernel size of the erosion.
        threshold: t, on the sharpness of images in [0, 1].
        keep_largest: f, keep the largest region only and fill its holes.
        psf_px: Size of the estimated point spread function, odd, <= 15.
        lowpass_cycles_per_px: Standard deviation of the Gaussian low-pass on the spectral quotient.

    Raises:
        ConfigError: for an even, non-positive or too large kernel size.
    """

    needs_all: ClassVar[bool] = True

    gaussian_px: OddCount = 5
    dilation_px: Count = 3
    erosion_px: Count = 3
    threshold: float = 0.01
    keep_largest: bool = True
    psf_px: Annotated[OddCount, Le(_LARGEST_PSF_PX)] = 9
    lowpass_cycles_per_px: Positive = 0.15

    def __call__(self, sources: Sources) -> Tensor:
        """Decision (N, 1, h, w) in {0, 1} of N sources (C, h, w), which it holds all at once."""
        planes = luma(whole(sources))
        count = len(planes)
        others = (planes.sum(0, keepdim=True) - planes) / (count - 1)
        sharpness = torch.cat([self.sharpness(*pair) for pair in zip(planes, others, strict=True)])
        labels = self._threshold(sharpness) if count == 2 else self._largest(sharpness)  # noqa: PLR2004
        return one_hot(torch.from_numpy(labels), count).to(planes.device)

    def sharpness(self, plane: Tensor, other: Tensor) -> Tensor:
        """How much reblurring changes ``plane``, Eq. (15)-(16): (1, h, w) >= 0 of two (1, h, w)."""
        psf = self.estimate_psf(plane[0], other[0])
        margin = self.psf_px // 2
        padded = functional.pad(plane[None], (margin,) * 4, mode="reflect")
        reblurred = functional.conv2d(padded, psf.flip(0, 1)[None, None])[0]  # Eq. (15)
        change = (plane - reblurred).abs().cpu().numpy()[0]
        kernel = (self.gaussian_px, self.gaussian_px)
        smooth = cv2.GaussianBlur(change, kernel, 0, borderType=cv2.BORDER_REFLECT_101)
        return torch.from_numpy(np.abs(change - smooth))[None]  # Eq. (16)

    def estimate_psf(self, plane: Tensor, other: Tensor) -> Tensor:
        """Kernel that turns ``plane`` (h, w) into ``other`` (h, w), Eq. (12)-(14).

        Returns:
            (psf_px, psf_px), >= 0, sums to 1; all 0 where one of the two is black.
        """
        h, w = plane.shape
        spectrum, wanted = torch.fft.rfft2(plane), torch.fft.rfft2(other)
        power = spectrum.abs().square()
        noise = (1e-4 * power.mean()).clamp_min(torch.finfo(power.dtype).tiny)
        quotient = wanted * spectrum.conj() / (power + noise)  # Eq. (13)
        fy = torch.fft.fftfreq(h, device=plane.device)[:, None]
        fx = torch.fft.rfftfreq(w, device=plane.device)
        lowpass = torch.exp(-(fx**2 + fy**2) / (2 * self.lowpass_cycles_per_px**2))
        kernel = torch.fft.fftshift(torch.fft.irfft2(quotient * lowpass, s=(h, w)))  # Eq. (14)
        top, left = h // 2 - self.psf_px // 2, w // 2 - self.psf_px // 2
        psf = kernel[top : top + self.psf_px, left : left + self.psf_px].clamp_min(0)
        normalised: Tensor = psf / psf.sum().clamp_min(torch.finfo(psf.dtype).tiny)
        return normalised

    def _threshold(self, sharpness: Tensor) -> NDArray[np.int64]:
        in_focus = sharpness[0].numpy() >= self.threshold  # Eq. (17)
        return np.where(self._clean(in_focus), 0, 1)

    def _largest(self, sharpness: Tensor) -> NDArray[np.int64]:
        labels = sharpness.argmax(0).numpy()
        cleaned = np.stack([self._clean(labels == k) for k in range(len(sharpness))])
        claimed = np.where(cleaned, sharpness.numpy(), -1).argmax(0)
        return np.where(cleaned.any(0), claimed, labels)

    def _clean(self, region: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Close with kd and ke, Eq. (18); keep the largest region, fill its holes, Eq. (19)."""
        closed = cv2.dilate(region.astype(np.uint8), np.ones((self.dilation_px,) * 2, np.uint8))
        closed = cv2.erode(closed, np.ones((self.erosion_px,) * 2, np.uint8))
        if not self.keep_largest:
            return np.asarray(closed, dtype=bool)
        count, regions, stats, _ = cv2.connectedComponentsWithStats(closed, connectivity=8)
        if count == 1:
            return np.zeros(region.shape, dtype=bool)
        largest = 1 + stats[1:, cv2.CC_STAT_AREA].argmax()
        return np.asarray(ndimage.binary_fill_holes(regions == largest))
