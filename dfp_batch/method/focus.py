"""Focus measures: which source is sharp where.

A focus measure maps sources (N, C, h, w) to a decision (N, 1, h, w), >= 0, that sums to 1 over N.
"""

from dataclasses import dataclass
from typing import Protocol

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor
from torch.nn import functional

from dfp_batch.errors import ConfigError
from dfp_batch.method.image import luma

_LARGEST_PSF_PX = 15  # it must lie within the smallest image that the method takes


class FocusMeasure(Protocol):
    """Finds for every pixel the source that is in focus."""

    def __call__(self, sources: Tensor) -> Tensor:
        """Decision (N, 1, h, w), >= 0, sums to 1 over N, of sources (N, C, h, w) in [0, 1]."""
        ...


def one_hot(labels: Tensor, count: int) -> Tensor:
    """Decision (count, 1, h, w) in {0, 1} of the source indices ``labels`` (h, w)."""
    # functional.one_hot reads its input back to check it, which would stall every iteration.
    indices = torch.arange(count, device=labels.device).view(-1, 1, 1, 1)
    return (labels == indices).float()


@dataclass(frozen=True)
class Undecided:
    """Every source counts the same everywhere: for merges that need no decision."""

    def __call__(self, sources: Tensor) -> Tensor:
        """Decision (N, 1, h, w), 1 / N everywhere."""
        return torch.full_like(sources[:, :1], 1 / len(sources))


@dataclass(frozen=True)
class SumModifiedLaplacian:
    """Source with the largest smoothed modified Laplacian.

    ``ML = |2 I - I(x-1) - I(x+1)| + |2 I - I(y-1) - I(y+1)|`` on luma (Nayar and Nakagawa, 1994).

    Attributes:
        sigma_px: Gaussian window over which the modified Laplacian is summed.

    Raises:
        ConfigError: if sigma_px is not positive.
    """

    sigma_px: float = 4.0

    def __post_init__(self) -> None:
        if not self.sigma_px > 0:
            raise ConfigError(f"focus.sigma_px must be > 0, got {self.sigma_px}")

    def __call__(self, sources: Tensor) -> Tensor:
        """Decision (N, 1, h, w) in {0, 1} of sources (N, C, h, w)."""
        sharpness = np.stack([self._sharpness(plane) for plane in _luma_planes(sources)])
        labels = torch.from_numpy(sharpness.argmax(0))
        return one_hot(labels, len(sharpness)).to(sources.device)

    def _sharpness(self, plane: NDArray[np.float32]) -> NDArray[np.float32]:
        return sum_modified_laplacian(plane, self.sigma_px)


def sum_modified_laplacian(plane: NDArray[np.float32], sigma_px: float) -> NDArray[np.float32]:
    """Modified Laplacian of a plane (h, w), summed over a Gaussian window: (h, w), >= 0."""
    second = np.array([[-1.0, 2.0, -1.0]], dtype=np.float32)
    across = np.abs(cv2.filter2D(plane, -1, second, borderType=cv2.BORDER_REFLECT_101))
    down = np.abs(cv2.filter2D(plane, -1, second.T, borderType=cv2.BORDER_REFLECT_101))
    detail = across + down
    smooth = cv2.GaussianBlur(detail, (0, 0), sigma_px, borderType=cv2.BORDER_REFLECT_101)
    return np.asarray(smooth, np.float32)


@dataclass(frozen=True)
class MultiScaleLaplacian:
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

    sigma_px: float = 1.0
    floor: float = 0.01
    scales: int = 2
    most: float = 2.0

    def __post_init__(self) -> None:
        for name in ("sigma_px", "floor", "most"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"focus.{name} must be > 0, got {getattr(self, name)}")
        if self.scales < 1:
            raise ConfigError(f"focus.scales must be >= 1, got {self.scales}")

    def __call__(self, sources: Tensor) -> Tensor:
        """Decision (N, 1, h, w), > 0, of sources (N, C, h, w)."""
        planes = _luma_planes(sources)
        size = planes.shape[:0:-1]
        evidence, noise = self._evidence(planes)
        trust = (1 - self.floor / noise) ** 2
        for scale in range(1, self.scales):
            planes = np.stack([cv2.pyrDown(plane) for plane in planes])
            coarser, _ = self._evidence(planes)
            larger = [cv2.resize(plane, size, interpolation=cv2.INTER_LINEAR) for plane in coarser]
            evidence = evidence + trust / 2**scale * np.stack(larger)
        return torch.from_numpy(evidence).softmax(0).unsqueeze(1).to(sources.device)

    def _evidence(self, planes: NDArray[np.float32]) -> tuple[NDArray[np.float32], float]:
        """log(SML_k + n) below its maximum over k, (N, h, w) in [-most, 0]; and n."""
        sharpness = np.stack([sum_modified_laplacian(plane, self.sigma_px) for plane in planes])
        noise = self.floor + float(np.median(sharpness.min(0)))
        evidence = np.log(sharpness + np.float32(noise))
        evidence -= evidence.max(0)
        return np.maximum(evidence, np.float32(-self.most)), noise


@dataclass(frozen=True)
class DoubleReblur:
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

    gaussian_px: int = 5
    dilation_px: int = 3
    erosion_px: int = 3
    threshold: float = 0.01
    keep_largest: bool = True
    psf_px: int = 9
    lowpass_cycles_per_px: float = 0.15

    def __post_init__(self) -> None:
        for name in ("gaussian_px", "psf_px"):
            if getattr(self, name) < 1 or getattr(self, name) % 2 == 0:
                raise ConfigError(
                    f"focus.{name} must be odd and positive, got {getattr(self, name)}"
                )
        if self.psf_px > _LARGEST_PSF_PX:
            raise ConfigError(f"focus.psf_px must be <= {_LARGEST_PSF_PX}, got {self.psf_px}")
        for name in ("dilation_px", "erosion_px"):
            if getattr(self, name) < 1:
                raise ConfigError(f"focus.{name} must be >= 1, got {getattr(self, name)}")

    def __call__(self, sources: Tensor) -> Tensor:
        """Decision (N, 1, h, w) in {0, 1} of sources (N, C, h, w)."""
        planes = luma(sources)
        count = len(planes)
        others = (planes.sum(0, keepdim=True) - planes) / (count - 1)
        sharpness = torch.cat([self.sharpness(*pair) for pair in zip(planes, others, strict=True)])
        labels = self._threshold(sharpness) if count == 2 else self._largest(sharpness)  # noqa: PLR2004
        return one_hot(torch.from_numpy(labels), count).to(sources.device)

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


def _luma_planes(sources: Tensor) -> NDArray[np.float32]:
    return np.ascontiguousarray(luma(sources)[:, 0].cpu().numpy(), dtype=np.float32)
