"""Composition in the gradient domain, where nothing is in focus.

There a decision is noise that the refinement has made areas of, and the sources, each blurred in
its own way, differ by something smooth: cut out and put together they show steps that nobody has
photographed. So the decided content counts for little there and its gradients for all, of which
those across the border of an area are no more than the mean of both sources: what the frames
disagree about fades over the whole uncertain place (Perez et al., 2003; Agarwala et al., 2004).
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from dfp_batch.core.allocator import give_back
from dfp_batch.core.contracts import Compute, Merge, Sources
from dfp_batch.core.decision import winners
from dfp_batch.core.filters import add_product_, filter_and_sample, resize_by_area, resize_linearly
from dfp_batch.core.sources import forget_reduced, reduced
from dfp_batch.merging.defocus_spread import DefocusSpreadCorrection
from dfp_batch.merging.row_bands import merge_in_bands
from dfp_batch.merging.seams import seam_steps

_KEPT = torch.float16  # of the change, which is smooth and small
_FACTOR = 4  # by which the images that it is solved on are smaller
_CERTAIN = 0.99
_CONTENT, _LEAST_CONTENT = 16.0, 1e-4  # weight of the decided content where it is certain, and not
_TINY = 1e-6
_ITERATIONS = 30  # at every size
_COARSEST_PX = 8
_SPREAD_TAPS = (0.5, 1.0, 0.5)


@dataclass(frozen=True)
class GradientDomain(Merge):
    """Another merge; where the decision is uncertain, a composition of gradients.

    ``X = argmin sum w (X - I)^2 + sum |grad X - g|^2`` of the decided image I, with ``w = 16 c^2``
    of the certainty c, and the mean g of the gradients of the sources decided for on either side.

    Differs from the paper: squares in place of the magnitudes of content and joint gradient, Eq.
    (22) and (23), so that there is one solution; it is found at a quarter of the size, from coarse
    to fine, by conjugate gradients.

    Attributes:
        base: The merge that is taken where the decision is certain.
    """

    base: Merge = field(default_factory=DefocusSpreadCorrection)

    def __call__(
        self, sources: Sources, decision: Tensor, certainty: Tensor, compute: Compute
    ) -> Tensor:
        """Merged (1, C, h, w), in [0, 1]."""
        largest_step, uncertain = _borders(decision, certainty)
        change = levelling(sources, decision, certainty) if uncertain else None
        forget_reduced(sources)
        give_back()
        merged = merge_in_bands(self.base, sources, decision, certainty, compute, largest_step)
        if change is None:
            return merged
        for plane, one in zip(merged[0], change, strict=True):
            plane.addcmul_(one.float(), 1 - certainty[0]).clamp_(0, 1)
        return merged


def _borders(decision: Tensor, certainty: Tensor) -> tuple[int, bool]:
    """The largest step between sources that meet, and whether it is uncertain that any do."""
    steps = seam_steps(winners(decision).cpu().numpy())
    border = torch.from_numpy(steps > 0).to(certainty.device)
    return int(steps.max()), bool((border & (certainty[0] < _CERTAIN)).any())


@torch.no_grad()
def levelling(sources: Sources, decision: Tensor, certainty: Tensor) -> Tensor:
    """What makes the decided image that of the gradients, (C, h, w), float16: smooth in an area.

    Args:
        sources: N sources (C, h, w), in [0, 1].
        decision: (N, 1, h, w), sums to 1 over N.
        certainty: (1, h, w), in [0, 1].
    """
    h, w = decision.shape[-2:]
    small = reduced(sources, _FACTOR)
    size = (small.images.shape[-2], small.images.shape[-1])
    weights = small.images.new_empty(len(decision), 1, *size)
    for own, weight in zip(weights, decision, strict=True):
        own.copy_(resize_by_area(weight, size))
    image, gradient = _decided(small, weights)
    equations = _equations(image, gradient, resize_by_area(certainty, size))
    solution, change = image + solve(equations), decision.new_empty(len(image), h, w, dtype=_KEPT)
    for channel, plane in enumerate(change):  # one after the other, for memory
        whole = -resize_linearly(solution[channel, None], (h, w))
        for weight, one in zip(decision, small.images, strict=True):
            add_product_(whole, resize_linearly(one[channel, None], (h, w)), weight)
        plane.copy_(whole[0].neg_())
    return change


class Gradient(NamedTuple):
    """Differences between neighbours.

    Attributes:
        across: To the next column, (C, h, w - 1).
        down: To the next row, (C, h - 1, w).
    """

    across: Tensor
    down: Tensor


def gradient_of(image: Tensor) -> Gradient:
    """Of an image (C, h, w)."""
    return Gradient(image.diff(dim=2), image.diff(dim=1))


def divergence_of(gradient: Gradient) -> Tensor:
    """(C, h, w): minus the adjoint of ``gradient_of``."""
    across = functional.pad(gradient.across, (1, 1)).diff(dim=2)
    return across + functional.pad(gradient.down, (0, 0, 1, 1)).diff(dim=1)


def _decided(sources: Sources, weights: Tensor) -> tuple[Tensor, Gradient]:
    """The image (C, h, w) and the gradient of what is decided for.

    At a border that is the mean of both sources, or that of the one which shows both sides of it.
    """
    image = torch.zeros_like(sources[0])
    total = [torch.zeros_like(one) for one in gradient_of(image)]
    counted = [one[:1] + _TINY for one in total]
    for index, weight in enumerate(weights):
        source, covered = sources[index], sources.covered(index)
        image += weight * source
        shown = torch.ones_like(weight) if covered is None else covered
        shares = zip(_of_two(weight, torch.add), _of_two(shown, torch.mul), strict=True)
        for axis, (step, (share, both)) in enumerate(zip(gradient_of(source), shares, strict=True)):
            total[axis] += share * both * step
            counted[axis] += share * both
    return image, Gradient(*(one / count for one, count in zip(total, counted, strict=True)))


def _of_two(plane: Tensor, combine: Callable[[Tensor, Tensor], Tensor]) -> tuple[Tensor, Tensor]:
    """Of neighbours across and down, as in ``Gradient``."""
    return combine(plane[..., 1:], plane[..., :-1]), combine(plane[:, 1:], plane[:, :-1])


class Equations(NamedTuple):
    """The equations of an image D: the least of ``sum w D^2 + sum |grad D - r|^2``.

    Attributes:
        weight: w, (1, h, w), > 0.
        wanted: r.
    """

    weight: Tensor
    wanted: Gradient

    def times(self, image: Tensor) -> Tensor:
        """Their matrix by an image (C, h, w)."""
        return self.weight * image - divergence_of(gradient_of(image))

    def diagonal(self) -> Tensor:
        """Of their matrix, (1, h, w): the weight, and one for every neighbour."""
        h, w = self.weight.shape[-2:]
        ones = torch.ones_like(self.weight)
        neighbours = functional.pad(ones, (1, 1, 1, 1))
        return self.weight + sum(
            neighbours[:, top : top + h, left : left + w]
            for top, left in ((0, 1), (2, 1), (1, 0), (1, 2))
        )

    def halved(self) -> "Equations":
        """The same for an image of half the size, rounded up."""
        h, w = self.weight.shape[-2:]
        odd_h, odd_w = h % 2, w % 2
        weight = functional.pad(self.weight[None], (0, odd_w, 0, odd_h), mode="replicate")
        across = functional.pad(self.wanted.across, (0, odd_w, 0, odd_h))
        down = functional.pad(self.wanted.down, (0, odd_w, 0, odd_h))
        return Equations(
            4 * functional.avg_pool2d(weight, 2)[0],
            Gradient(
                _mean_of_two(filter_and_sample(across, _SPREAD_TAPS, 2, 2), 1),
                _mean_of_two(filter_and_sample(down, _SPREAD_TAPS, 2, 1), 2),
            ),
        )


def _mean_of_two(planes: Tensor, dim: int) -> Tensor:
    return filter_and_sample(planes, (0.5, 0.5), 2, dim)


def _equations(image: Tensor, gradient: Gradient, certainty: Tensor) -> Equations:
    """Those of the change of the decided image (C, h, w)."""
    own, doubt = gradient_of(image), 1 - certainty
    across, down = _of_two(doubt / 2, torch.add)
    wanted = Gradient(across * (gradient.across - own.across), down * (gradient.down - own.down))
    weight = (_CONTENT * certainty.square()).clamp_min(_LEAST_CONTENT)
    return Equations(weight, wanted)


def solve(equations: Equations) -> Tensor:
    """Their solution (C, h, w), from coarse to fine."""
    size = equations.weight.shape[-2:]
    if max(size) < 2 * _COARSEST_PX:
        start = torch.zeros_like(divergence_of(equations.wanted))
    else:
        coarse = solve(equations.halved())
        doubled = resize_linearly(coarse, (2 * coarse.shape[1], 2 * coarse.shape[2]))
        start = doubled[:, : size[0], : size[1]]
    return _by_conjugate_gradients(equations, start)


def _by_conjugate_gradients(equations: Equations, start: Tensor) -> Tensor:
    """Every channel on its own (Hestenes and Stiefel, 1952), scaled by the diagonal."""
    image, scaling = start.clone(), 1 / equations.diagonal()
    rest = -divergence_of(equations.wanted) - equations.times(image)
    direction = scaling * rest
    power = _product(rest, direction)
    for _ in range(_ITERATIONS):
        seen = equations.times(direction)
        step = _ratio(power, _product(direction, seen))
        image += step * direction
        rest -= step * seen
        scaled = scaling * rest
        before, power = power, _product(rest, scaled)
        direction = scaled + _ratio(power, before) * direction
    return image


def _product(first: Tensor, second: Tensor) -> Tensor:
    return (first * second).sum((1, 2), keepdim=True)


def _ratio(first: Tensor, second: Tensor) -> Tensor:
    """0 where nothing is left to do."""
    return torch.where(second > 0, first / second, 0)
