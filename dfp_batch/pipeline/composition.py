"""What to compute: one composition of replaceable parts."""

from dataclasses import dataclass, field
from typing import Any, Literal

from dfp_batch.alignment.exposure import ExposureMatch
from dfp_batch.alignment.registration import Registration
from dfp_batch.core.contracts import FocusMeasure, Merge, Precision, Reconstruction, Refinement
from dfp_batch.core.degradation import Degradation, Kernel
from dfp_batch.degradation.kernels import Lanczos2
from dfp_batch.errors import ConfigError
from dfp_batch.focus.double_reblur import DoubleReblur
from dfp_batch.merging.unmerged import Unmerged
from dfp_batch.pipeline.presets import PRESETS
from dfp_batch.reconstruction.deep_fusion_prior import DeepFusionPrior
from dfp_batch.refinement.decision_embedding import DecisionEmbedding

PRECISIONS = ("auto", "fp32", "bf16", "int8")
POLICIES = ("always", "best-of")
NEAR_ENDS = ("none", "first", "last", "auto")
SPOTS = ("keep", "mend")
CONTRACTS: dict[str, type] = {
    "focus": FocusMeasure,
    "refinement": Refinement,
    "merge": Merge,
    "reconstruction": Reconstruction,
    "align": Registration,
    "exposure": ExposureMatch,
    "kernel": Kernel,
}


@dataclass(frozen=True)
class FusionConfig:
    """What to compute: replaceable parts, the scale, the seed and the precision.

    The default parts are the paper's, which takes its sources as registered; ``preset`` gives other
    named compositions.

    Attributes:
        focus: Sources -> decision.
        refinement: Sources, decision -> decision.
        merge: Sources, decision -> one image at their size, or all of them as they are.
        reconstruction: That, decision -> fused image.
        align: How the frames are registered before.
        exposure: How their exposure and white balance are matched before.
        spots: "mend" fills in dust and hot pixels, which a stack that moved shows as dotted trails;
            "keep" takes the frames as they are.
        kernel: Blur that made the sources from the image that is looked for; unused at scale 1.
        near: End of the stack that is near, "first" or "last": where two depths are in focus at one
            place the nearer one counts. "auto" tells by outlines; "none" prefers neither.
        policy: "best-of" replaces a result by back projection where that restores the item better
            from itself, degraded once more; "always" takes what comes.
        scale: Enlargement, 1 (fusion only), 2, 3 or 4.
        seed: Of all randomness; same seed, device and precision give the same image.
        precision: Of convolutions: "fp32", "bf16", "int8" (of networks that are not fitted to the
            item), or "auto": what a short measurement, once per process, finds clearly the fastest.

    Raises:
        ConfigError: for a field out of its range.
    """

    focus: FocusMeasure = field(default_factory=DoubleReblur)
    refinement: Refinement = field(default_factory=DecisionEmbedding)
    merge: Merge = field(default_factory=Unmerged)
    reconstruction: Reconstruction = field(default_factory=DeepFusionPrior)
    align: Registration = field(default_factory=lambda: Registration("none"))
    exposure: ExposureMatch = field(default_factory=lambda: ExposureMatch("none"))
    kernel: Kernel = field(default_factory=Lanczos2)
    spots: Literal["keep", "mend"] = "keep"
    near: Literal["none", "first", "last", "auto"] = "none"
    policy: Literal["always", "best-of"] = "always"
    scale: int = 2
    seed: int = 0
    precision: Precision = "auto"

    def __post_init__(self) -> None:
        for name, contract in CONTRACTS.items():
            if not isinstance(getattr(self, name), contract):
                raise ConfigError(
                    f"{name} must be a {contract.__name__} (of {contract.__module__}), got "
                    f"{getattr(self, name)!r}"
                )
        Degradation(self.scale, Lanczos2() if self.kernel.is_estimated else self.kernel)
        if self.near not in NEAR_ENDS:
            raise ConfigError(f"near must be none, first, last or auto, got {self.near!r}")
        if self.spots not in SPOTS:
            raise ConfigError(f"spots must be keep or mend, got {self.spots!r}")
        if self.policy not in POLICIES:
            raise ConfigError(f"policy must be always or best-of, got {self.policy!r}")
        if self.precision not in PRECISIONS:
            raise ConfigError(f"precision must be auto, fp32 or bf16, got {self.precision!r}")
        if not 0 <= self.seed < 2**63:
            raise ConfigError(f"seed must be in [0, 2^63), got {self.seed}")

    @classmethod
    def preset(cls, name: str, **changes: Any) -> "FusionConfig":  # noqa: ANN401
        """A named composition with some fields changed: ``FusionConfig.preset("paper", scale=4)``.

        Raises:
            ConfigError: if there is no such preset.
        """
        if name not in list(PRESETS):  # a list, because a file may hold an unhashable name
            raise ConfigError(f"preset must be one of {', '.join(PRESETS)}, got {name!r}")
        return cls(**(PRESETS[name] | changes))
