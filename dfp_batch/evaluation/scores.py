"""The scores of one result, named as in ``metrics.names``.

A metric that does not apply is None, never 0.
"""

from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray

from dfp_batch import metrics
from dfp_batch.core.degradation import Degradation
from dfp_batch.core.image import luma
from dfp_batch.degradation.kernels import Lanczos2
from dfp_batch.errors import ImageError
from dfp_batch.evaluation.items import Case, Image
from dfp_batch.metrics import names

Scores = dict[str, float | None]

_HIGHER, _NEITHER, _LOWER = 1, 0, -1
# Which way is better. Nobody can say of the relative metrics: a perfect result does not score 0.
DIRECTIONS = {
    **dict.fromkeys(names.OF_AN_EVALUATION, _HIGHER),
    **dict.fromkeys((*names.PAPER, *names.RELATIVE), _NEITHER),
    **dict.fromkeys(names.TIMES, _LOWER),
}

EDGE_BAND_PX = 8  # of the sources: as far as the blur of a defocused edge reaches
_COLOUR_CHANNELS = 3


@dataclass(frozen=True, eq=False)
class Scorer:
    """Measures results of one item; what does not depend on the result is computed once.

    Attributes:
        case: The item.
        scale: Of the output against the sources.
    """

    case: Case
    scale: int

    def score(self, fused: Image, decision: NDArray[np.float32] | None) -> Scores:
        """Every metric but the times.

        Args:
            fused: (1 or C, H, W), in [0, 1].
            decision: (N, 1, h, w), or None for a method that takes none.

        Raises:
            ImageError: if the result is not as large as the output must be.
        """
        self._check_size(fused)
        plane = _luma(fused)
        paper = metrics.paper_metrics(plane * 255)
        measured = self._against_reference(fused, plane) | paper
        if self._paper_of_sources is not None:
            measured |= metrics.relative_metrics(paper, self._paper_of_sources)
        return measured | self._against_sources(plane * 255) | self._accuracy(decision)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the output in px."""
        h, w = self.case.sources.shape[-2:]
        return self.scale * h, self.scale * w

    def _check_size(self, fused: Image) -> None:
        if fused.shape[-2:] != self.size:
            (h, w), (height, width) = fused.shape[-2:], self.size
            raise ImageError(f"the result is {w}x{h} px, expected {width}x{height} px")

    def _against_reference(self, fused: Image, plane: Image) -> Scores:
        truth = self.case.reference
        if truth is None or self._reference is None:
            return {}
        regions = {"edge_psnr_db": self._edges, "unfocused_psnr_db": self._unfocused}
        regions = {name: where for name, where in regions.items() if where is not None}
        return {
            "psnr_db": metrics.psnr_db(plane, self._reference),
            "ssim": metrics.ssim(plane, self._reference),
            **_in_colour(fused, truth),
            **{
                name: metrics.psnr_db(plane[where], self._reference[where])
                for name, where in regions.items()
            },
        }

    def _against_sources(self, plane: Image) -> Scores:
        if self._full_sources is None:
            return {}
        measures = {"scd": metrics.scd, "q_w": metrics.q_w, "q_abf": metrics.q_abf}
        scores: Scores = {
            name: measure(plane, self._full_sources) for name, measure in measures.items()
        }
        with suppress(ImageError):  # it needs 41 px
            scores["viff"] = metrics.viff(plane, self._full_sources)
        return scores

    def _accuracy(self, decision: NDArray[np.float32] | None) -> Scores:
        if decision is None or self.case.labels is None:
            return {}
        return dict(metrics.decision_accuracy(decision, self.case.labels, self._regions))

    @cached_property
    def _reference(self) -> Image | None:
        """Luma (H, W) of the truth, in [0, 1]."""
        return None if self.case.reference is None else _luma(self.case.reference)

    @cached_property
    def _full_sources(self) -> Image | None:
        """Luma (N, H, W) of the full-size sources, in [0, 255]."""
        if self.case.full_sources is None:
            return None
        return np.stack([_luma(source) * 255 for source in self.case.full_sources])

    @cached_property
    def _paper_of_sources(self) -> tuple[dict[str, float], dict[str, float]] | None:
        """The relative metrics are defined for two sources."""
        if self._full_sources is None or len(self._full_sources) != 2:  # noqa: PLR2004
            return None
        first, second = self._full_sources
        return metrics.paper_metrics(first), metrics.paper_metrics(second)

    @cached_property
    def _edges(self) -> NDArray[np.bool_] | None:
        """Pixels (H, W) around depth edges; None if there are none, or no labels."""
        if self.case.labels is None:
            return None
        near = metrics.near_boundary(self.case.labels, EDGE_BAND_PX)
        return near.repeat(self.scale, 0).repeat(self.scale, 1) if near.any() else None

    @cached_property
    def _unfocused(self) -> NDArray[np.bool_] | None:
        """Pixels (H, W) where no source is in focus, away from depth edges; None: there are none.

        There the blurred foreground is the larger part of what is wrong.
        """
        unfocused, edges = self.case.unfocused, self._edges
        if unfocused is None:
            return None
        large = unfocused.repeat(self.scale, 0).repeat(self.scale, 1)
        away = large if edges is None else large & ~edges
        return away if away.any() else None

    @cached_property
    def _regions(self) -> dict[str, NDArray[np.bool_]]:
        if self.case.labels is None:
            return {}
        low = None
        if self._reference is not None:
            full = torch.from_numpy(self._reference[None, None])
            low = Degradation(self.scale, Lanczos2())(full)[0, 0].numpy()
        return metrics.regions(self.case.labels, low)


def _in_colour(fused: Image, truth: Image) -> Scores:
    """Of two images (C, H, W); nothing unless both have colour."""
    if not len(fused) == len(truth) == _COLOUR_CHANNELS:
        return {}
    channels = [metrics.ssim(*pair) for pair in zip(fused, truth, strict=True)]
    return {
        "psnr_colour_db": metrics.psnr_db(fused, truth),
        "ssim_colour": float(np.mean(channels)),
    }


def _luma(image: Image) -> Image:
    """(H, W) of an image (1 or 3, H, W)."""
    return np.asarray(luma(torch.from_numpy(image)[None])[0, 0].numpy(), np.float32)
