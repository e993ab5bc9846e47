"""Decisions: weights (N, 1, h, w) of N sources, >= 0, that sum to 1 over N."""

import functools

import torch
from torch import Tensor

from dfp_batch.core.filters import claim_, gaussian_blur, largest_nearby

_NO_REASON = 0.25  # confidence that noise reaches
_LITTLE, _MUCH = 0.1, 0.4  # that is left of it in the mean: less is noise, more is detail
_NOISE_PX, _RIM_PX = 2.0, 4.0


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
    # Plane by plane: the argmax of PyTorch over its first dimension is many times slower.
    largest = decision[0, 0].clone(memory_format=torch.contiguous_format)
    labels = torch.zeros_like(largest, dtype=torch.int16)
    for index in range(1, len(decision)):
        claim_(labels, largest, decision[index, 0], index)
    return labels


def present(labels: Tensor) -> list[int]:
    """The labels that there are in (h, w), ascending."""
    indices: list[int] = labels.flatten().bincount().nonzero()[:, 0].tolist()
    return indices


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


def certainty(confidence: Tensor, reach_px: int) -> Tensor:
    """How far a decision is to be believed, given that of the measured focus.

    Detail makes its surroundings certain, too. Where there is none for a while, no source is in
    focus, and what was measured is noise.

    Args:
        confidence: (1, h, w), in [0, 1].
        reach_px: How far around detail a decision is certain.

    Returns:
        (1, h, w), in [0, 1].
    """
    sure = gaussian_blur(((confidence - _NO_REASON) / (1 - _NO_REASON)).clamp(0, 1), _NOISE_PX)
    sure = ((sure - _LITTLE) / (_MUCH - _LITTLE)).clamp(0, 1)
    return gaussian_blur(largest_nearby(sure, 2 * reach_px + 1), _RIM_PX).clamp(0, 1)


def weighted(sources: Tensor, decision: Tensor) -> Tensor:
    """``sum_k m_k I_k``, (1, C, h, w), of sources (N, C, h, w) and a decision (N, 1, h, w).

    A single source is given back as it is, since its weight is 1.
    """
    return sources if len(sources) == 1 else (decision * sources).sum(0, keepdim=True)


def softmax_(evidence: Tensor) -> Tensor:
    """Softmax over N of evidence (N, h, w), in place: N is large, and memory for two is not."""
    total = torch.zeros_like(evidence[0])
    largest = evidence.amax(0)
    for plane in evidence:
        total += plane.sub_(largest).exp_()
    return evidence.div_(total)
