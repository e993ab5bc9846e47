"""Items that are the pairs of a manifest.

A pair whose reference is k > 1 times larger than its sources has one scale, k. Every other pair is
scored at any scale s by the paper's protocol: its sources, cropped to multiples of s, are the
full-size images; D makes the small ones that a method gets, at the levels of the file. The kernel
of D is Lanczos2, as in the paper, or any other, of which the methods are not told.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch

from dfp_batch.core.degradation import SCALES, Degradation, Kernel
from dfp_batch.core.image import luma
from dfp_batch.degradation.kernels import Lanczos2
from dfp_batch.engine.frames import read_frame, read_sources
from dfp_batch.errors import ImageError
from dfp_batch.evaluation.items import Case, Image, Item, Labels, last_part
from dfp_batch.io import codec, urls
from dfp_batch.io.codec import Frame
from dfp_batch.pipeline.checked_sources import SMALLEST_PX
from dfp_batch.runs.manifest import Pair, manifest_sha256, read_manifest

Size = tuple[int, int]


@dataclass(frozen=True)
class Archive:
    """The pairs of a manifest.

    Attributes:
        url: Of the manifest.
        pairs: Those that are scored.
        kernel: Of the D that makes their sources smaller.
    """

    url: str
    pairs: tuple[Pair, ...]
    kernel: Kernel = field(default_factory=Lanczos2)

    @classmethod
    def read(cls, url: str, limit: int | None = None) -> "Archive":
        """Read a manifest.

        Raises:
            ManifestError: if it is wrong or empty.
        """
        return cls(urls.absolute_url(url), tuple(read_manifest(urls.absolute_url(url))[:limit]))

    @property
    def label(self) -> str:
        """Name of the manifest."""
        return last_part(urls.without_version(self.url)).removesuffix(".parquet")

    def items(self, scales: Sequence[int]) -> list[Item]:
        """All pairs at all scales."""
        asked = tuple(scales)
        return [
            PairItem(pair, scale, asked, self.kernel) for scale in scales for pair in self.pairs
        ]

    def describe(self) -> dict[str, Any]:
        """The manifest, its content and the kernel."""
        sha256 = manifest_sha256(self.pairs)
        return {"set": self.url, "manifest_sha256": sha256, "degrade": str(self.kernel)}


@dataclass(frozen=True)
class PairItem:
    """One pair of a manifest.

    Attributes:
        pair: With the URLs of its images.
        scale: At which it is scored.
        scales: All that were asked for.
        kernel: Of the D that makes its sources smaller, unless its reference is larger than them.
    """

    pair: Pair
    scale: int
    scales: tuple[int, ...]
    kernel: Kernel = field(default_factory=Lanczos2)

    @property
    def name(self) -> str:
        """The id of the pair."""
        return self.pair.pair_id

    def load(self) -> Case | None:
        """Read its images.

        Raises:
            ImageError: if they do not fit together, or not this scale.
            StorageError: if one cannot be read.
        """
        sources = read_sources(self.pair.sources)
        size = _size(sources[0])
        reference = read_frame(self.pair.reference) if self.pair.reference else None
        own = 1 if reference is None else _own_scale(str(self.pair.reference), reference, size)
        truth = None if reference is None else codec.to_unit(reference)
        labels = self._labels(size, own)
        found = Case(_stack(sources), sources[0].pixels.dtype, None, truth, labels)
        if own == 1:
            return _reduced(found, Degradation(self.scale, self.kernel), self.pair.sources[0])
        if own == self.scale:
            return replace(found, full_sources=self._full_sources((own * size[0], own * size[1])))
        if own in self.scales:
            return None
        raise ImageError(
            f"reference {self.pair.reference} is {own} times as large as the sources: this pair "
            f"can be scored at scale {own} only, expected {self.scale}; add {own} to the scales"
        )

    def _full_sources(self, expected: Size) -> Image | None:
        """The ``reference_sources``, which must be as large as the reference."""
        urls = self.pair.reference_sources
        if urls is None:
            return None
        return _stack([_of_size(url, read_frame(url), [expected]) for url in urls])

    def _labels(self, size: Size, own: int) -> Labels | None:
        """The source with the whitest mask, (h, w) at the size of the sources."""
        urls = self.pair.masks
        if urls is None:
            return None
        first = _of_size(urls[0], read_frame(urls[0]), [size, (own * size[0], own * size[1])])
        others = [_of_size(url, read_frame(url), [_size(first)]) for url in urls[1:]]
        whiteness = [luma(torch.from_numpy(_stack([mask])))[0, 0] for mask in (first, *others)]
        labels = torch.stack(whiteness).argmax(0).numpy()
        return block_majority(labels, labels.shape[0] // size[0])


def block_majority(labels: Labels, factor: int) -> Labels:
    """The commonest label of every block of ``factor`` x ``factor`` px; the lowest of equals.

    Args:
        labels: (factor * h, factor * w), >= 0.
        factor: 1 changes nothing.

    Returns:
        (h, w).
    """
    h, w = (side // factor for side in labels.shape)
    blocks = labels.reshape(h, factor, w, factor)
    counts = [(blocks == label).sum((1, 3)) for label in range(int(labels.max()) + 1)]
    return np.asarray(np.argmax(counts, 0), np.int64)


def _reduced(case: Case, degrade: Degradation, url: str) -> Case:
    """The paper's protocol: full-size sources, made ``scale`` times smaller for the method.

    Args:
        case: As it was found, with a reference as large as the sources, if any.
        degrade: D.
        url: Of the first source, for the error.

    Raises:
        ImageError: if nothing useful would be left.
    """
    scale = degrade.scale
    h, w = (side // scale for side in case.sources.shape[-2:])
    _check_room((h, w), case.sources.shape[-2:], scale, url)
    window = (..., slice(h * scale), slice(w * scale))
    full = np.ascontiguousarray(case.sources[window])
    low = degrade(torch.from_numpy(full)).numpy()
    return Case(
        np.stack([codec.to_unit(codec.from_unit(image, case.dtype)) for image in low]),
        case.dtype,
        full,
        None if case.reference is None else np.ascontiguousarray(case.reference[window]),
        None if case.labels is None else block_majority(case.labels[window], scale),
        kernel=degrade.kernel if scale > 1 else None,
    )


def _check_room(low: Size, full: tuple[int, ...], scale: int, url: str) -> None:
    if min(low) < SMALLEST_PX:
        (h, w), least = full, SMALLEST_PX * scale
        raise ImageError(
            f"{url} is {w}x{h} px, expected at least {least}x{least} px for scale {scale}"
        )


def _own_scale(url: str, reference: Frame, size: Size) -> int:
    """How many times larger than the sources the reference is."""
    h, w = size
    allowed = [(scale * h, scale * w) for scale in SCALES]
    return SCALES[allowed.index(_size(_of_size(f"reference {url}", reference, allowed)))]


def _of_size(what: str, frame: Frame, allowed: Sequence[Size]) -> Frame:
    if _size(frame) not in allowed:
        expected = " or ".join(f"{w}x{h}" for h, w in dict.fromkeys(allowed))
        raise ImageError(f"{what} is {frame.size}, expected {expected} px")
    return frame


def _size(frame: Frame) -> Size:
    h, w, _ = frame.pixels.shape
    return h, w


def _stack(frames: Sequence[Frame]) -> Image:
    """(N, C, h, w), in [0, 1]."""
    return np.stack([codec.to_unit(frame) for frame in frames])
