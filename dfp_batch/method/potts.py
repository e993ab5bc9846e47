"""Potts labelling: the decision with the best evidence for its length of boundary."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from dfp_batch.errors import ConfigError
from dfp_batch.method.focus import one_hot
from dfp_batch.method.image import luma
from dfp_batch.method.merge import LaplacianPyramid
from dfp_batch.method.optimise import Compute

_STEP = 0.35  # of both the primal and the dual step: below 1 / sqrt(8), the norm of the gradient
_WINDOW_PX = 5
_LEAST = 1e-6


@dataclass(frozen=True)
class Potts:
    """Hard decision that weighs the evidence of the decision against the length of its boundary.

    Minimises ``sum_p sum_k -v_k(p) log m_k(p) + sum_k |w grad v_k|`` over weights v that are >= 0
    and sum to 1 (the convex relaxation of the Potts model, Zach et al., 2008), by the primal-dual
    algorithm of Chambolle and Pock (2011), from coarse to fine. Undecided pixels join whatever has
    the shortest boundary; a boundary is cheap along the edges of the all-in-focus image, for which
    a Laplacian pyramid stands: ``w = base_cost + exp(-contrast |grad u|)``.

    Attributes:
        evidence: Weight of the evidence against the boundary.
        contrast: Of the edges along which a boundary is cheap, per unit of luma in [0, 1].
        base_cost: Of a pixel of boundary along the strongest edge.
        levels: Of the pyramid; every level is half as large as the one before.
        coarse_iterations: At every level but the finest.
        fine_iterations: At full size.

    Raises:
        ConfigError: for a field out of its range.
    """

    evidence: float = 1.0
    contrast: float = 50.0
    base_cost: float = 0.05
    levels: int = 4
    coarse_iterations: int = 30
    fine_iterations: int = 60

    def __post_init__(self) -> None:
        for name in ("evidence", "base_cost"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"refinement.{name} must be > 0, got {getattr(self, name)}")
        if not self.contrast >= 0:
            raise ConfigError(f"refinement.contrast must be >= 0, got {self.contrast}")
        for name in ("levels", "coarse_iterations", "fine_iterations"):
            if getattr(self, name) < 1:
                raise ConfigError(f"refinement.{name} must be >= 1, got {getattr(self, name)}")

    @torch.no_grad()
    def __call__(self, sources: Tensor, decision: Tensor, compute: Compute) -> Tensor:
        """Decision (N, 1, h, w) in {0, 1}, sums to 1 over N."""
        guide = luma(LaplacianPyramid(_WINDOW_PX)(sources, decision))[0]
        evidence = self.evidence * decision[:, 0].clamp_min(_LEAST).log()
        weights = self._minimise(evidence, guide, 0)
        return one_hot(weights.argmax(0), len(decision))

    def _minimise(self, evidence: Tensor, guide: Tensor, level: int) -> Tensor:
        """Weights v (N, h, w) for evidence (N, h, w) and guide (1, h, w)."""
        if level == self.levels - 1 or min(guide.shape[-2:]) == 1:
            start = evidence.softmax(0)
        else:  # half as many pixels along a boundary, a quarter of them in an area
            coarse = self._minimise(2 * _halve(evidence), _halve(guide), level + 1)
            size = (guide.shape[-2], guide.shape[-1])
            start = functional.interpolate(coarse[None], size=size, mode="nearest")[0]
        iterations = self.coarse_iterations if level else self.fine_iterations
        return primal_dual(start, evidence, self._cost(guide[0]), iterations)

    def _cost(self, guide: Tensor) -> tuple[Tensor, Tensor]:
        """Cost of a boundary to the right of and below every pixel, (h, w - 1) and (h - 1, w)."""
        across = self.base_cost + torch.exp(-self.contrast * guide.diff(dim=1).abs())
        down = self.base_cost + torch.exp(-self.contrast * guide.diff(dim=0).abs())
        return across, down


def _halve(planes: Tensor) -> Tensor:
    """Mean of every 2x2 block, (N, ceil(h / 2), ceil(w / 2))."""
    return functional.avg_pool2d(planes[None], 2, ceil_mode=True)[0]


def primal_dual(
    start: Tensor, evidence: Tensor, cost: tuple[Tensor, Tensor], iterations: int
) -> Tensor:
    """Iterations of Chambolle and Pock on ``-<evidence, v> + sum_k |cost grad v_k|``.

    Args:
        start: First v, (N, h, w), >= 0, sums to 1 over N.
        evidence: (N, h, w), any sign.
        cost: Of a boundary to the right of and below a pixel, (h, w - 1) and (h - 1, w), >= 0.
        iterations: How many.

    Returns:
        v (N, h, w), >= 0, sums to 1 over N.
    """
    across, down = cost
    weights, ahead = start, start
    dual_across = torch.zeros_like(start[:, :, 1:])
    dual_down = torch.zeros_like(start[:, 1:])
    for _ in range(iterations):
        dual_across = (dual_across + _STEP * ahead.diff(dim=2)).clamp(-across, across)
        dual_down = (dual_down + _STEP * ahead.diff(dim=1)).clamp(-down, down)
        moved = weights + _STEP * evidence
        moved[:, :, :-1] += _STEP * dual_across
        moved[:, :, 1:] -= _STEP * dual_across
        moved[:, :-1] += _STEP * dual_down
        moved[:, 1:] -= _STEP * dual_down
        before, weights = weights, onto_simplex(moved)
        ahead = 2 * weights - before
    return weights


def onto_simplex(values: Tensor) -> Tensor:
    """Nearest weights >= 0 that sum to 1 over N, of (N, h, w) (Held et al., 1974)."""
    if len(values) == 2:  # noqa: PLR2004 - the same, several times faster
        first = ((values[0] - values[1] + 1) / 2).clamp(0, 1)
        return torch.stack([first, 1 - first])
    ordered = values.sort(0, descending=True).values
    excess = ordered.cumsum(0) - 1
    count = torch.arange(1, len(values) + 1, device=values.device).view(-1, 1, 1)
    kept = (ordered * count > excess).sum(0, keepdim=True)
    return (values - excess.gather(0, kept - 1) / kept).clamp_min(0)
