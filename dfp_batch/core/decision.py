"""Decisions: weights (N, 1, h, w) of N sources, >= 0, that sum to 1 over N."""

import functools

import torch
from torch import Tensor

from dfp_batch.core.filters import claim_, gaussian_blur, largest_nearby

_NO_REASON = 0.25  # confidence that noise reaches
_LITTLE, _MUCH = 0.1, 0.4  # that is left of it in the mean: less is noise, more is detail
_NOISE_PX, _RIM_PX = 2.0, 4.0
_BLOCK_ROWS = 64  # that stay in the cache
_LARGE = 1 << 26  # weights, beyond which memory counts for more than their last digits


def kept_in(weights: int, device: torch.device) -> torch.dtype:
    """Type of so many weights N * h * w: float32, or float16 where they are many and on a CPU."""
    return torch.float16 if weights > _LARGE and device.type == "cpu" else torch.float32


def one_hot(labels: Tensor, count: int) -> Tensor:
    """Decision (count, 1, h, w) in {0, 1} of the source indices ``labels`` (h, w)."""
    # functional.one_hot reads its input back to check it, which would stall every iteration.
    indices = torch.arange(count, device=labels.device).view(-1, 1, 1, 1)
    return (labels == indices).float()


def select_(decision: Tensor, labels: Tensor) -> Tensor:
    """``one_hot`` in the memory of a decision (N, 1, h, w): N is large, and two would not fit."""
    here = labels.to(decision.device)
    for index, weight in enumerate(decision):
        weight.copy_(here == index)
    return decision


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
    rest = largest * (1 - confidence)
    dtype = kept_in(count * labels.numel(), labels.device)
    decision = rest.new_empty(count, 1, *labels.shape, dtype=dtype)
    for index, weight in enumerate(decision):
        weight.copy_(torch.where(labels == index, largest, rest))
    return decision


def winners(decision: Tensor) -> Tensor:
    """Index (h, w), int16, of the largest of N weights (N, 1, h, w), the first of equals."""
    # Plane by plane: the argmax of PyTorch over its first dimension is many times slower.
    largest = decision[0, 0].to(torch.float32, copy=True, memory_format=torch.contiguous_format)
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
    largest = functools.reduce(torch.maximum, decision).float().unsqueeze(0)
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


def total(decision: Tensor) -> Tensor:
    """Sum over N of (N, ...), float32: plane by plane, since there may be many of them."""
    whole = decision[0].to(torch.float32, copy=True)
    for weight in decision[1:]:
        whole += weight
    return whole


def divide_(decision: Tensor, weights: Tensor) -> Tensor:
    """Every weight of (N, ...) by the same, plane by plane in place."""
    for weight in decision:
        if weight.dtype == weights.dtype:
            weight.div_(weights)
            continue
        # Of two types PyTorch takes five times as long at once.
        rows = (one.split(_BLOCK_ROWS, -2) for one in (weight, weights))
        for part, divisor in zip(*rows, strict=True):
            part.copy_(part.float().div_(divisor))
    return decision


def softmax_(evidence: Tensor) -> Tensor:
    """Softmax over N of evidence (N, h, w), in place: N is large, and memory for two is not."""
    largest = evidence.amax(0)
    for plane in evidence:
        plane.sub_(largest).exp_()
    return divide_(evidence, total(evidence))
