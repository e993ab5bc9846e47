"""Decision refinement: make a measured decision follow the content of the sources."""

from dataclasses import dataclass, field
from typing import ClassVar, Protocol

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from dfp_batch.errors import ConfigError
from dfp_batch.method.focus import confidence, one_hot, select_, winners
from dfp_batch.method.losses import embedding_loss
from dfp_batch.method.network import NetworkSpec, SkipNet
from dfp_batch.method.optimise import Compute, Fit, Schedule, minimise
from dfp_batch.method.stack import Plane, Sources, drafts, in_turn, luma_plane, whole

_EXACT_PX = 1 << 20  # the guided filter of images of more pixels is fitted at half their size


class Refinement(Protocol):
    """Improves a decision with the content of the sources.

    One that fits a network, work for an accelerator, says so by an attribute ``iterative = True``.
    """

    def __call__(self, sources: Sources, decision: Tensor, compute: Compute) -> Tensor:
        """Decision (N, 1, h, w), >= 0, sums to 1 over N.

        Args:
            sources: N sources (C, h, w), in [0, 1].
            decision: (N, 1, h, w); it may be overwritten.
            compute: Randomness, precision, progress.
        """
        ...


@dataclass(frozen=True)
class Unrefined:
    """The decision as it was measured."""

    def __call__(self, sources: Sources, decision: Tensor, compute: Compute) -> Tensor:
        """The same decision (N, 1, h, w)."""
        return decision


@dataclass(frozen=True)
class AreaCleanUp:
    """Hard decision without islands: a small region joins what surrounds it.

    Attributes:
        smallest_region: Regions of less than this share of the image are dropped.

    Raises:
        ConfigError: if smallest_region is not in [0, 1).
    """

    smallest_region: float = 0.01

    def __post_init__(self) -> None:
        if not 0 <= self.smallest_region < 1:
            raise ConfigError(
                f"refinement.smallest_region must be in [0, 1), got {self.smallest_region}"
            )

    def __call__(self, sources: Sources, decision: Tensor, compute: Compute) -> Tensor:
        """Decision (N, 1, h, w) in {0, 1}, sums to 1 over N."""
        labels = winners(decision).cpu().numpy()
        kept = torch.from_numpy(drop_small_regions(labels, self.smallest_region))
        return select_(decision, kept)


def drop_small_regions(labels: NDArray[np.int64], share: float) -> NDArray[np.int64]:
    """Give every connected region below ``share`` of the image the label of its nearest neighbour.

    Args:
        labels: Source indices (h, w).
        share: Of the image area, in [0, 1).

    Returns:
        Labels (h, w); unchanged where no region is large enough to keep.
    """
    small = np.zeros(labels.shape, dtype=bool)
    for label in np.unique(labels):
        _, regions, stats, _ = cv2.connectedComponentsWithStats(
            (labels == label).astype(np.uint8), connectivity=4
        )
        is_small = stats[:, cv2.CC_STAT_AREA] < share * labels.size
        is_small[0] = False  # region 0 is "not this label"
        small |= is_small[regions]
    if not small.any() or small.all():
        return labels
    nearest = ndimage.distance_transform_edt(small, return_distances=False, return_indices=True)
    return np.asarray(labels[tuple(nearest)])


@dataclass(frozen=True)
class Votes:
    """Hard decision by a vote of the sure pixels; where nothing is seen, the surroundings decide.

    Every pixel gives ``v_k = max(confidence - threshold, 0)`` votes to its source k, and they are
    summed over the levels l = 0, 1, ... of a pyramid::

        V_k = sum_l falloff^l  G * (v_k reduced l times)

    so sure pixels count for themselves, and the others follow what is sure near by, or far.

    Attributes:
        threshold: Confidence that is no more than noise, in [0, 1).
        sigma_px: Of the Gaussian G, in pixels of the level.
        levels: Of the pyramid; every level is half as large as the one before.
        falloff: Weight of a level against the one before.

    Raises:
        ConfigError: for a field out of its range.
    """

    threshold: float = 0.2
    sigma_px: float = 2.0
    levels: int = 7
    falloff: float = 0.5

    def __post_init__(self) -> None:
        if not 0 <= self.threshold < 1:
            raise ConfigError(f"refinement.threshold must be in [0, 1), got {self.threshold}")
        for name in ("sigma_px", "falloff"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"refinement.{name} must be > 0, got {getattr(self, name)}")
        if self.levels < 1:
            raise ConfigError(f"refinement.levels must be >= 1, got {self.levels}")

    def __call__(self, sources: Sources, decision: Tensor, compute: Compute) -> Tensor:
        """Decision (N, 1, h, w) in {0, 1}, sums to 1 over N."""
        labels = winners(decision).cpu().numpy()
        sure = (confidence(decision)[0, 0] - self.threshold).clamp_min(0).cpu().numpy()
        most, elected = np.full(sure.shape, -1, np.float32), labels.copy()
        for label in np.unique(labels):
            votes = self._spread(np.where(labels == label, sure, np.float32(0)))
            elected[votes > most] = label
            np.maximum(most, votes, out=most)
        elected = np.where(most > 0, elected, labels)
        return select_(decision, torch.from_numpy(elected))

    def _spread(self, votes: Plane) -> Plane:
        levels = []
        for _ in range(self.levels):
            levels.append(cv2.GaussianBlur(votes, (0, 0), self.sigma_px))
            size = ((votes.shape[1] + 1) // 2, (votes.shape[0] + 1) // 2)
            votes = np.asarray(cv2.resize(votes, size, interpolation=cv2.INTER_AREA), np.float32)
        total = levels.pop()
        while levels:
            finer = levels.pop()
            total = cv2.resize(total, finer.shape[::-1], interpolation=cv2.INTER_LINEAR)
            total = finer + np.float32(self.falloff) * total
        return np.asarray(total, np.float32)


@dataclass(frozen=True)
class GuidedFilter:
    """Guided filter of every decision map by the mean luma of the sources (He et al., 2010).

    Attributes:
        radius_px: Of the square windows.
        epsilon: Variance below which an edge of the guide is ignored, guide in [0, 1].

    Raises:
        ConfigError: if radius_px < 1 or epsilon is not positive.
    """

    radius_px: int = 4
    epsilon: float = 1e-3

    def __post_init__(self) -> None:
        if self.radius_px < 1:
            raise ConfigError(f"refinement.radius_px must be >= 1, got {self.radius_px}")
        if not self.epsilon > 0:
            raise ConfigError(f"refinement.epsilon must be > 0, got {self.epsilon}")

    def __call__(self, sources: Sources, decision: Tensor, compute: Compute) -> Tensor:
        """Decision (N, 1, h, w), >= 0, sums to 1 over N."""
        guide = np.zeros(decision.shape[2:], np.float32)
        for source in in_turn(drafts(sources)):
            guide += luma_plane(source)
        guide /= len(sources)
        maps = decision[:, 0].cpu().numpy()  # on the CPU the memory of the decision itself
        total = np.zeros_like(guide)
        for weight in maps:
            weight[:] = self._filter(guide, weight).clip(0, 1)
            total += weight
        maps /= np.maximum(total, np.finfo(np.float32).tiny)
        return torch.from_numpy(maps)[:, None].to(decision)

    def _filter(self, guide: Plane, weight: Plane) -> Plane:
        """Slope and offset of large images are fitted at half their size (He and Sun, 2015)."""
        h, w = guide.shape
        if h * w < _EXACT_PX:
            slope, offset = self._fit(guide, weight, self.radius_px)
            return slope * guide + offset
        size = ((w + 1) // 2, (h + 1) // 2)
        small_guide, small_weight = (
            np.asarray(cv2.resize(plane, size, interpolation=cv2.INTER_AREA), np.float32)
            for plane in (guide, weight)
        )
        slope, offset = self._fit(small_guide, small_weight, max(1, self.radius_px // 2))
        filtered = cv2.resize(slope, (w, h)) * guide + cv2.resize(offset, (w, h))
        return np.asarray(filtered, np.float32)

    def _fit(self, guide: Plane, weight: Plane, radius_px: int) -> tuple[Plane, Plane]:
        """Slope and offset of the weight over the guide, in windows and averaged over them."""
        mean_guide, mean_weight = _mean(guide, radius_px), _mean(weight, radius_px)
        variance = _mean(guide * guide, radius_px) - mean_guide**2
        covariance = _mean(guide * weight, radius_px) - mean_guide * mean_weight
        slope = covariance / (variance + self.epsilon)
        offset = mean_weight - slope * mean_guide
        return _mean(slope, radius_px), _mean(offset, radius_px)


def _mean(plane: Plane, radius_px: int) -> Plane:
    size = (2 * radius_px + 1,) * 2
    return np.asarray(cv2.blur(plane, size, borderType=cv2.BORDER_REFLECT), np.float32)


@dataclass(frozen=True)
class Then:
    """One refinement after the other.

    Attributes:
        first: Improves the measured decision.
        second: Improves what the first one made.
    """

    first: Refinement = field(default_factory=AreaCleanUp)
    second: Refinement = field(default_factory=GuidedFilter)

    @property
    def iterative(self) -> bool:
        """Whether one of the two is."""
        return any(getattr(part, "iterative", False) for part in (self.first, self.second))

    def __call__(self, sources: Sources, decision: Tensor, compute: Compute) -> Tensor:
        """Decision (N, 1, h, w), >= 0, sums to 1 over N."""
        return self.second(sources, self.first(sources, decision, compute), compute)


@dataclass(frozen=True)
class DecisionEmbedding:
    """The paper's decision embedding, Eq. (20) and Algorithm 2.

    A SKIPnet makes m_hat from the average of the sources; m_hat is binarised in the loop.

    Differs from the paper: the binarisation passes its gradient straight through (Bengio et al.,
    2013) - without that it has none; and N outputs with an argmax stand for one output and its
    complement, which is the same for N = 2.

    Attributes:
        iterations: K of Algorithm 2.
        learning_rate: Of Adam.
        network: The generator of the decision.

    Raises:
        ConfigError: for a field out of its range.
    """

    iterations: int = 500
    learning_rate: float = 1e-3
    network: NetworkSpec = field(default_factory=SkipNet)

    iterative: ClassVar[bool] = True

    def __post_init__(self) -> None:
        Schedule(self.iterations, self.learning_rate)

    def __call__(self, sources: Sources, decision: Tensor, compute: Compute) -> Tensor:
        """Decision (N, 1, h, w) in {0, 1}, sums to 1 over N."""
        stack = whole(sources).to(decision.device)
        fit = Fit.start(self.network, stack.mean(0, keepdim=True), len(stack), compute)
        schedule = Schedule(self.iterations, self.learning_rate)
        minimise(
            fit,
            lambda logits: embedding_loss(binarise(logits), stack, decision),
            schedule,
            compute,
            "decision",
        )
        return binarise(fit.solution(compute, "decision"))


def binarise(logits: Tensor) -> Tensor:
    """Binary decision (N, 1, h, w) of logits (1, N, h, w), with the gradient of the softmax."""
    soft = logits.softmax(1)[0].unsqueeze(1)
    hard = one_hot(logits[0].argmax(0), logits.shape[1])
    return hard + (soft - soft.detach())  # exactly hard: the bracket is 0
