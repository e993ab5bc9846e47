"""Every implementation of every seam: those of the package, and one of somebody else."""

from dataclasses import fields, replace

import pytest
from third_party import OWN

from dfp_batch.config.registry import COMPONENTS
from dfp_batch.focus.double_reblur import DoubleReblur
from dfp_batch.focus.multi_scale_laplacian import MultiScaleLaplacian
from dfp_batch.focus.sum_modified_laplacian import SumModifiedLaplacian
from dfp_batch.merging.laplacian_pyramid import LaplacianPyramid
from dfp_batch.merging.seam_pyramid import SeamPyramid
from dfp_batch.networks.skip_net import SkipNet
from dfp_batch.reconstruction.adapted_prior import AdaptedPrior
from dfp_batch.reconstruction.back_projection import BackProjection
from dfp_batch.refinement.chain import Chain
from dfp_batch.refinement.confidence_voting import ConfidenceVoting
from dfp_batch.refinement.decision_embedding import DecisionEmbedding
from dfp_batch.refinement.guided_filter import GuidedFilter
from dfp_batch.refinement.potts import Potts

SMALL = SkipNet(widths=(8, 16), skip_width=2)
SHORT = {"iterations": 2, "network": SMALL}


# With other settings than the usual ones.
VARIANTS = {
    "focus": [
        DoubleReblur(keep_largest=False, threshold=0.02),
        SumModifiedLaplacian(sigma_px=1.0),
        MultiScaleLaplacian(scales=4),
    ],
    "refinement": [
        ConfidenceVoting(levels=1),
        GuidedFilter(radius_px=40, epsilon=1e-6),
        Chain(ConfidenceVoting(), GuidedFilter()),
        Chain(DecisionEmbedding(2, network=SMALL), Potts()),
    ],
    "merge": [LaplacianPyramid(window_px=5), SeamPyramid(free_steps=1)],
    "reconstruction": [BackProjection(0, "lanczos"), AdaptedPrior(iterations=0)],
}


def small(part):
    """The same part with few iterations and a small network, if it has any."""
    known = {field.name for field in fields(part)}
    return replace(part, **{name: value for name, value in SHORT.items() if name in known})


def every(seam):
    """Parametrises a test with every implementation of a seam."""
    kinds = {**COMPONENTS[seam], f"somebody else's {OWN[seam].__name__}": OWN[seam]}
    usual = [pytest.param(small(kind()), id=name) for name, kind in kinds.items()]
    others = [
        pytest.param(part, id=f"{type(part).__name__} {number}")
        for number, part in enumerate(VARIANTS.get(seam, []), 2)
    ]
    return pytest.mark.parametrize("part", [*usual, *others])
