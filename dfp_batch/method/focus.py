"""Focus measures: which source is sharp where.

A focus measure maps sources (N, C, h, w) to a decision (N, 1, h, w), >= 0, that sums to 1 over N.
"""

import functools
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
from dfp_batch.method.stack import Plane, Sources, drafts, in_turn, luma_plane, whole

_LARGEST_PSF_PX = 15  # it must lie within the smallest image that the method takes


class FocusMeasure(Protocol):
    """Finds for every pixel the source that is in focus."""

    def __call__(self, sources: Sources) -> Tensor:
        """Decision (N, 1, h, w), >= 0, sums to 1 over N, of N sources (C, h, w) in [0, 1]."""
        ...


def one_hot(labels: Tensor, count: int) -> Tensor:
    """Decision (count, 1, h, w) in {0, 1} of the source indices ``labels`` (h, w)."""
    # functional.one_hot reads its input back to check it, which would stall every iteration.
    indices = torch.arange(count, device=labels.device).view(-1, 1, 1, 1)
    return (labels == indices).float()


def select_(decision: Tensor, labels: Tensor) -> Tensor:
    """``one_hot`` in the memory of a decision (N, 1, h, w): N is large, and two would not fit."""
    index = labels.to(decision.device, torch.int64)
    return decision.zero_().scatter_(0, index[None, None], 1)


def decided(labels: Tensor, confidence: Tensor, count: int) -> Tensor:
    """Decision for one source, as sure as is said; ``confidence`` below is the inverse.

    Args:
        labels: Source indices (h, w).
        confidence: (h, w), in [0, 1]; 0 is undecided, 1 / N for all.
        count: N >= 2.

    Returns:
        (N, 1, h, w), sums to 1 over N.
    """
    largest = 1 / (1 + (count - 1) * (1 - confidence))
    decision = (largest * (1 - confidence)).repeat(count, 1, 1)
    decision.scatter_(0, labels.long()[None], largest[None])
    return decision.unsqueeze(1)


def winners(decision: Tensor) -> Tensor:
    """Index (h, w), int16, of the largest of N weights (N, 1, h, w), the first of equals."""
    # Plane by plane: the argmax of PyTorch over its first dimension is 10 times slower.
    labels = torch.zeros_like(decision[0, 0], dtype=torch.int16)
    largest = decision[0, 0].clone()
    for index in range(1, len(decision)):
        plane = decision[index, 0]
        labels[plane > largest] = index
        torch.maximum(largest, plane, out=largest)
    return labels


def confidence(decision: Tensor) -> Tensor:
    """How far the largest weight stands above the mean of the others: ``1 - mean / largest``.

    Args:
        decision: (N, 1, h, w), >= 0, sums to 1 over N.

    Returns:
        (1, 1, h, w), in [0, 1]: 0 where all sources count the same, 1 where one counts alone.
    """
    count = len(decision)
    if count == 1:
        return torch.ones_like(decision)
    largest = functools.reduce(torch.maximum, decision).unsqueeze(0)
    sure: Tensor = (1 - (1 - largest) / ((count - 1) * largest)).clamp(0, 1)
    return sure


@dataclass(frozen=True)
class Undecided:
    """Every source counts the same everywhere: for merges that need no decision."""

    def __call__(self, sources: Sources) -> Tensor:
        """Decision (N, 1, h, w), 1 / N everywhere."""
        return torch.full_like(sources[0][:1], 1 / len(sources)).repeat(len(sources), 1, 1, 1)


@dataclass(frozen=True)
class SumModifiedLaplacian:
    """Source with the largest smoothed modified Laplacian.

    ``ML = |2 I - I(x-1) - I(x+1)| + |2 I - I(y-1) - I(y+1)|`` on luma (Nayar and Nakagawa, 1994).
    The decision is as sure as the largest sum S stands above the mean R of the others and noise:
    ``(S - R) / (S + 2 n)``, n the median over pixels of the least sum.

    Attributes:
        sigma_px: Gaussian window over which the modified Laplacian is summed.

    Raises:
        ConfigError: if sigma_px is not positive.
    """

    sigma_px: float = 4.0

    def __post_init__(self) -> None:
        if not self.sigma_px > 0:
            raise ConfigError(f"focus.sigma_px must be > 0, got {self.sigma_px}")

    def __call__(self, sources: Sources) -> Tensor:
        """Decision (N, 1, h, w) of N sources (C, h, w), which it looks at one by one."""
        count = len(sources)
        for index, source in enumerate(in_turn(drafts(sources))):
            sharpness = sum_modified_laplacian(luma_plane(source), self.sigma_px)
            if index == 0:
                largest, total, least = sharpness, sharpness.copy(), sharpness.copy()
                labels = np.zeros(largest.shape, np.int16)
                continue
            labels[sharpness > largest] = index
            np.maximum(largest, sharpness, out=largest)
            np.minimum(least, sharpness, out=least)
            total += sharpness
        above = largest - (total - largest) / max(1, count - 1)
        noise = np.float32(np.median(least))
        sure = above / np.maximum(largest + 2 * noise, np.finfo(np.float32).tiny)
        sure = torch.from_numpy(sure.clip(0, 1))
        return decided(torch.from_numpy(labels), sure, count).to(source.device)


def sum_modified_laplacian(plane: Plane, sigma_px: float) -> Plane:
    """Modified Laplacian of a plane (h, w), summed over a Gaussian window: (h, w), >= 0."""
    second = np.array([[-1.0, 2.0, -1.0]], dtype=np.float32)
    across = cv2.filter2D(plane, -1, second, borderType=cv2.BORDER_REFLECT_101)
    down = cv2.filter2D(plane, -1, second.T, borderType=cv2.BORDER_REFLECT_101)
    detail = np.abs(across, out=across)
    detail += np.abs(down, out=down)
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

    def __call__(self, sources: Sources) -> Tensor:
        """Decision (N, 1, h, w), > 0, of N sources (C, h, w), which it looks at one by one."""
        sharpness = self._sharpness(sources)
        evidence, noise = sharpness[0], self._evidence(sharpness[0])
        trust = (1 - self.floor / noise) ** 2
        for scale, coarser in enumerate(sharpness[1:], 1):
            self._evidence(coarser)
            for finest, plane in zip(evidence, coarser, strict=True):
                size = (finest.shape[1], finest.shape[0])
                larger = cv2.resize(plane, size, interpolation=cv2.INTER_LINEAR)
                np.add(finest, np.float32(trust / 2**scale) * larger, out=finest)
        decision = torch.from_numpy(evidence)
        return softmax_(decision).unsqueeze(1)

    def _sharpness(self, sources: Sources) -> list[NDArray[np.float32]]:
        """SML_k of all sources at every scale, (N, h, w), (N, h / 2, w / 2), ..."""
        scales: list[NDArray[np.float32]] = []
        for index, source in enumerate(in_turn(drafts(sources))):
            plane = luma_plane(source)
            for scale in range(self.scales):
                plane = np.asarray(cv2.pyrDown(plane), np.float32) if scale else plane
                if index == 0:
                    scales.append(np.empty((len(sources), *plane.shape), np.float32))
                scales[scale][index] = sum_modified_laplacian(plane, self.sigma_px)
        return scales

    def _evidence(self, sharpness: NDArray[np.float32]) -> float:
        """Makes of SML_k, in place, log(SML_k + n) below its maximum over k, >= -most; gives n."""
        noise = self.floor + float(np.median(sharpness.min(0)))
        for plane in sharpness:
            np.log(np.add(plane, np.float32(noise), out=plane), out=plane)
        largest = sharpness.max(0)
        for plane in sharpness:
            np.maximum(np.subtract(plane, largest, out=plane), np.float32(-self.most), out=plane)
        return noise


def softmax_(evidence: Tensor) -> Tensor:
    """Softmax over N of evidence (N, h, w), in place: N is large, and memory for two is not."""
    total = torch.zeros_like(evidence[0])
    largest = evidence.amax(0)
    for plane in evidence:
        total += plane.sub_(largest).exp_()
    return evidence.div_(total)


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
