"""Short names of the parts, by seam; third-party parts are named ``module:Class``."""

from dataclasses import is_dataclass
from importlib import import_module

from dfp_batch.alignment.exposure import ExposureMatch
from dfp_batch.alignment.registration import Registration
from dfp_batch.core.contracts import FocusMeasure, Merge, NetworkSpec, Reconstruction, Refinement
from dfp_batch.core.degradation import Kernel
from dfp_batch.core.part import Part
from dfp_batch.degradation.kernel_estimation import ArchiveKernel, EstimatedKernel
from dfp_batch.degradation.kernels import AnisotropicGaussian, Bicubic, Gaussian, Lanczos2
from dfp_batch.errors import ConfigError
from dfp_batch.focus.double_reblur import DoubleReblur
from dfp_batch.focus.multi_scale_laplacian import MultiScaleLaplacian
from dfp_batch.focus.sum_modified_laplacian import SumModifiedLaplacian
from dfp_batch.focus.undecided import Undecided
from dfp_batch.merging.blend import Blend
from dfp_batch.merging.defocus_spread import DefocusSpreadCorrection
from dfp_batch.merging.every_frame import EveryFrame
from dfp_batch.merging.gradient_domain import GradientDomain
from dfp_batch.merging.laplacian_pyramid import LaplacianPyramid
from dfp_batch.merging.seam_pyramid import SeamPyramid
from dfp_batch.merging.unmerged import Unmerged
from dfp_batch.networks.skip_net import SkipNet
from dfp_batch.reconstruction.adapted_prior import AdaptedPrior
from dfp_batch.reconstruction.back_projection import BackProjection
from dfp_batch.reconstruction.deep_fusion_prior import DeepFusionPrior
from dfp_batch.reconstruction.deep_image_prior import DeepImagePrior
from dfp_batch.reconstruction.learned_prior import LearnedPrior
from dfp_batch.refinement.area_clean_up import AreaCleanUp
from dfp_batch.refinement.chain import Chain
from dfp_batch.refinement.coarse_focus import CoarseFocus
from dfp_batch.refinement.confidence_voting import ConfidenceVoting
from dfp_batch.refinement.decision_embedding import DecisionEmbedding
from dfp_batch.refinement.guided_filter import GuidedFilter
from dfp_batch.refinement.potts import Potts
from dfp_batch.refinement.unrefined import Unrefined

COMPONENTS: dict[str, dict[str, type[Part]]] = {
    "focus": {
        "double-reblur": DoubleReblur,
        "multi-scale-laplacian": MultiScaleLaplacian,
        "sum-modified-laplacian": SumModifiedLaplacian,
        "undecided": Undecided,
    },
    "refinement": {
        "area-clean-up": AreaCleanUp,
        "chain": Chain,
        "coarse-focus": CoarseFocus,
        "confidence-voting": ConfidenceVoting,
        "decision-embedding": DecisionEmbedding,
        "guided-filter": GuidedFilter,
        "potts": Potts,
        "unrefined": Unrefined,
    },
    "merge": {
        "blend": Blend,
        "defocus-spread-correction": DefocusSpreadCorrection,
        "every-frame": EveryFrame,
        "gradient-domain": GradientDomain,
        "laplacian-pyramid": LaplacianPyramid,
        "seam-pyramid": SeamPyramid,
        "unmerged": Unmerged,
    },
    "reconstruction": {
        "adapted-prior": AdaptedPrior,
        "back-projection": BackProjection,
        "deep-fusion-prior": DeepFusionPrior,
        "deep-image-prior": DeepImagePrior,
        "learned-prior": LearnedPrior,
    },
    "kernel": {
        "lanczos2": Lanczos2,
        "bicubic": Bicubic,
        "gaussian": Gaussian,
        "anisotropic-gaussian": AnisotropicGaussian,
        "auto": ArchiveKernel,
        "auto-item": EstimatedKernel,
    },
    "network": {"skipnet": SkipNet},
    "align": {"registration": Registration},
    "exposure": {"exposure-match": ExposureMatch},
}
FORMER_NAMES = {  # of components, in older runs and files
    "fitted-prior": "adapted-prior",
    "then": "chain",
    "unveiled-seams": "defocus-spread-correction",
    "votes": "confidence-voting",
}
_CONTRACTS: dict[type[Part], str] = {
    FocusMeasure: "focus",
    Refinement: "refinement",
    Merge: "merge",
    Reconstruction: "reconstruction",
    Kernel: "kernel",
    NetworkSpec: "network",
    Registration: "align",
    ExposureMatch: "exposure",
}
_NAMES = {part: name for seam in COMPONENTS.values() for name, part in seam.items()}
_SHORTHANDS: dict[type[Part], tuple[str, ...]] = {
    Kernel: ("sigma=1.2", "sigma=1.2x0.8@30")
}  # a part with its settings


def parts_for(declared: type[Part]) -> dict[str, type[Part]]:
    """Parts that a field may hold, by short name.

    Args:
        declared: Type of the field: a contract, or one part.
    """
    if declared in _CONTRACTS:
        return COMPONENTS[_CONTRACTS[declared]]
    return {name_of(declared): declared}


def name_of(part: type) -> str:
    """Short name of a part, or ``module:Class``."""
    return _NAMES.get(part) or f"{part.__module__}:{part.__qualname__}"


def lookup(name: object, declared: type[Part], path: str) -> type[Part]:
    """The part of a short name, or of ``module:Class``.

    Args:
        name: As a file or the command line has it.
        declared: Type of the field that it is for.
        path: Dotted path of the field, for the messages.

    Raises:
        ConfigError: if there is none, or it does not belong there.
    """
    known = parts_for(declared)
    if isinstance(name, str) and FORMER_NAMES.get(name, name) in known:
        return known[FORMER_NAMES.get(name, name)]
    found = _imported(name)
    if found is None:
        names = ", ".join((*known, *_SHORTHANDS.get(declared, ()), "module:Class"))
        raise ConfigError(f"{path}: no component {name!r}; known: {names}")
    if not (isinstance(found, type) and is_dataclass(found)):
        raise ConfigError(f"{path}: {name} must be a dataclass, got {found!r}")
    if not issubclass(found, declared):
        raise ConfigError(
            f"{path}: {name} must be a {declared.__name__}: inherit from "
            f"{declared.__module__}:{declared.__name__}"
        )
    return found


def _imported(name: object) -> object:
    """What ``module:Class`` names, None if it names nothing."""
    module, _, attribute = str(name).partition(":")
    try:
        return getattr(import_module(module), attribute)
    except (ImportError, AttributeError, ValueError):
        return None
