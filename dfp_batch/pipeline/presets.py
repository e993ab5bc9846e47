"""Named compositions: the fields of ``FusionConfig`` that differ from the paper's."""

from typing import Any

from dfp_batch.alignment.exposure import ExposureMatch
from dfp_batch.alignment.registration import Registration
from dfp_batch.focus.multi_scale_laplacian import MultiScaleLaplacian
from dfp_batch.focus.sum_modified_laplacian import SumModifiedLaplacian
from dfp_batch.merging.every_frame import EveryFrame
from dfp_batch.merging.gradient_domain import GradientDomain
from dfp_batch.merging.seam_pyramid import SeamPyramid
from dfp_batch.reconstruction.adapted_prior import AdaptedPrior
from dfp_batch.reconstruction.back_projection import BackProjection
from dfp_batch.reconstruction.learned_prior import LearnedPrior
from dfp_batch.refinement.chain import Chain
from dfp_batch.refinement.coarse_focus import CoarseFocus
from dfp_batch.refinement.confidence_voting import ConfidenceVoting
from dfp_batch.refinement.guided_filter import GuidedFilter
from dfp_batch.refinement.potts import Potts

_STEADY: dict[str, Any] = {
    "align": Registration(),
    "exposure": ExposureMatch(),
    "spots": "mend",
}
_SHARP: dict[str, Any] = {
    "focus": MultiScaleLaplacian(),
    "refinement": Chain(CoarseFocus(), Potts()),
    "merge": EveryFrame(),
    "policy": "best-of",
    **_STEADY,
}
PRESETS: dict[str, dict[str, Any]] = {
    "balanced": {**_SHARP, "reconstruction": LearnedPrior("large")},
    "fast": {**_SHARP, "reconstruction": LearnedPrior()},
    "best": {**_SHARP, "reconstruction": AdaptedPrior()},
    "classical": {
        "focus": SumModifiedLaplacian(),
        "refinement": Chain(Chain(CoarseFocus(), ConfidenceVoting()), GuidedFilter()),
        "merge": EveryFrame(GradientDomain(SeamPyramid(free_steps=1))),
        "reconstruction": BackProjection(),
        **_STEADY,
    },
    "paper": {},
}
DEFAULT_PRESET = "balanced"
