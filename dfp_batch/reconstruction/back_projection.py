"""Classical enlargement of the merged sources: bicubic, Lanczos, back projection."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from dfp_batch.core.contracts import Compute, Reconstruction, Solution
from dfp_batch.core.decision import weighted
from dfp_batch.core.degradation import Degradation
from dfp_batch.core.filters import as_array, as_image, on_host
from dfp_batch.core.image import Interpolation, enlarge
from dfp_batch.core.part import CountOrNone
from dfp_batch.core.tiling import Span, spans
from dfp_batch.reconstruction.round_trip import REACH_PX, round_trip

_ROWS = 128  # of the sources, that are enlarged at once


@dataclass(frozen=True)
class BackProjection(Reconstruction):
    """Enlargement of the blended sources u and ``x += up(u - D(x))`` (Irani and Peleg, 1991).

    Attributes:
        steps: Of back projection; 0 is plain interpolation.
        kernel: Of the enlargement: "bicubic" or "lanczos" (Lanczos4).

    Raises:
        ConfigError: if steps is negative.
    """

    steps: CountOrNone = 10
    kernel: Interpolation = "bicubic"

    def __call__(
        self, sources: Tensor, decision: Tensor, degrade: Degradation, compute: Compute
    ) -> Solution:
        """Fused (1, C, scale * h, scale * w) in [0, 1]; mean |u - D(x)| before each step."""
        rows = BackProjection.in_rows(self, sources, decision, degrade, compute)
        return Solution.joined(rows)

    def in_rows(
        self, sources: Tensor, decision: Tensor, degrade: Degradation, compute: Compute
    ) -> Iterator[Solution]:
        """As a call, 128 rows of the sources at a time."""
        low = weighted(sources, decision)
        steps = self.steps if degrade.scale > 1 else 0  # else D and up are the identity

        def on_step(step: int) -> None:
            compute.on_iteration("back projection", step, steps)

        back, residuals = projected_back(low, degrade, steps, self.kernel, on_step)
        for rows in spans(low.shape[-2], _ROWS, 0):
            image = enlarged_rows(back, rows, degrade.scale, self.kernel)
            yield Solution(image.clamp(0, 1), residuals)


def projected_back(
    low: Tensor,
    degrade: Degradation,
    steps: int,
    kernel: Interpolation = "bicubic",
    on_step: Callable[[int], None] = lambda _: None,
) -> tuple[Tensor, Tensor]:
    """Back projection from ``x = up(low)`` on, at source size.

    Then x is ``up(y)`` throughout, with ``y += low - D(up(y))`` from low on.

    Args:
        low: (N, C, h, w).
        degrade: D, and the scale.
        steps: Their number.
        kernel: Of the enlargement ``up``.
        on_step: Called with the number of each step, from 1.

    Returns:
        y (N, C, h, w), and the mean of |low - D(up(y))| before each step, (steps,).
    """
    if steps == 0:
        return low, low.new_empty(0)
    back, residuals = low.clone(memory_format=torch.contiguous_format), low.new_zeros(steps)
    again = _round_trip(low, degrade, kernel)
    pairs = list(zip(_parts(back), _parts(low), strict=True))
    for step in range(steps):
        for part, known in pairs:
            missing = known - again(part)
            part.add_(missing)
            residuals[step] += missing.abs_().mean() / len(pairs)
        on_step(step + 1)
    return back, residuals


def _parts(images: Tensor) -> list[Tensor]:
    """What is worked on at once, of (N, C, h, w): on a CPU a plane, which takes less memory."""
    if not on_host(images):
        return [images]
    return [plane[None, None] for image in images for plane in image]


def _round_trip(
    low: Tensor, degrade: Degradation, kernel: Interpolation
) -> Callable[[Tensor], Tensor]:
    """``D(up(y))`` of images like these; on a CPU as a filter of its own, if it can be one."""
    fast = round_trip(degrade, kernel) if degrade.scale > 1 and on_host(low) else None
    if fast is None or min(low.shape[-2:]) < fast.least_px:
        return lambda back: degrade(enlarge(back, degrade.scale, kernel))
    filtered = fast
    return lambda back: torch.stack([as_image(filtered(as_array(one))) for one in back])


def enlarged_rows(
    back: Tensor, rows: Span, scale: int, kernel: Interpolation = "bicubic"
) -> Tensor:
    """What a span reads of ``enlarge(back)``, with its halo: (N, C, scale * rows, scale * w)."""
    first, last = rows.start - rows.before_px, rows.stop + rows.after_px
    wide = Span(first, last, min(REACH_PX, first), min(REACH_PX, back.shape[-2] - last))
    return enlarge(back[..., wide.read(), :], scale, kernel)[..., wide.within(scale), :]


def project_back(
    fused: Tensor,
    low: Tensor,
    degrade: Degradation,
    steps: int,
    kernel: Interpolation = "bicubic",
) -> tuple[Tensor, Tensor]:
    """``x += up(low - D(x))``, so many steps from ``fused`` on.

    Args:
        fused: x, (N, C, scale * h, scale * w).
        low: (N, C, h, w).
        degrade: D, and the scale.
        steps: Their number.
        kernel: Of the enlargement ``up``.

    Returns:
        x, and the mean of |low - D(x)| before each step, (steps,).
    """
    residuals = torch.empty(steps, device=low.device)
    for step in range(steps):
        residual = low - degrade(fused)
        residuals[step] = residual.abs().mean()
        fused = fused + enlarge(residual, degrade.scale, kernel)
    return fused, residuals
