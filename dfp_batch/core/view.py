"""The view of sources that do not show all of it: no decision is for what a source has not seen.

Handheld frames, once registered, end before the view of the reference does. What stands in there
has no focus of its own, and a step at its rim that is nothing of the scene.
"""

import torch
from torch import Tensor

from dfp_batch.core.contracts import Sources
from dfp_batch.core.decision import divide_, total

_NOTHING = 1e-6  # total weight of a place for which only hidden sources were decided


def hide_(decision: Tensor, sources: Sources, certainty: Tensor | float = 0.0) -> bool:
    """Take all weight from a source where it does not show the scene, in place.

    Where it shows detail of its own it may be taken to its very rim. Elsewhere it must show nothing
    but itself: as it fades into what stands in for it, it has a gradient that nothing has.

    Args:
        decision: (N, 1, h, w), >= 0.
        sources: N sources (C, h, w).
        certainty: Of the decision, (1, h, w), in [0, 1].

    Returns:
        Whether there is such a place.
    """
    is_partial = False
    for index, weight in enumerate(decision):
        covered = sources.covered(index)
        if covered is not None:
            places = (covered < 1).nonzero(as_tuple=True)  # hardly more than a rim
            share = covered[places]
            sure = certainty[places] if isinstance(certainty, Tensor) else certainty
            weight[places] *= (share > 0) & (share >= 1 - sure)
            is_partial = True
    return is_partial


def complete_(decision: Tensor, sources: Sources, otherwise: Tensor | None = None) -> Tensor:
    """Let weights sum to 1 again, in place.

    Args:
        decision: (N, 1, h, w), >= 0, as ``hide_`` has left it.
        sources: N sources (C, h, w).
        otherwise: Which source (h, w) to take where no weight is left; None: all that show it.

    Returns:
        The decision.
    """
    weights = total(decision)
    lost = weights < _NOTHING
    if lost.any():
        for index, weight in enumerate(decision):
            weight[lost] = _stand_in(sources, index, otherwise, weight)[lost]
        weights = total(decision)
    return divide_(decision, weights)


def _stand_in(sources: Sources, index: int, otherwise: Tensor | None, weight: Tensor) -> Tensor:
    """Weight (1, h, w) of a source where no weight is left."""
    if otherwise is not None:
        return (otherwise == index).to(weight)[None]
    covered = sources.covered(index)
    return torch.ones_like(weight) if covered is None else covered.to(weight)
