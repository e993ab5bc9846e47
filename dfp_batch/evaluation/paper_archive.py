"""Images that the tables of the paper are measured on, made of published results of scale 1.

No program of the paper's fusers is at hand, only what it made of full-size pairs. For a larger
scale that is made smaller once more, and enlarged then.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from dfp_batch.core.degradation import Degradation
from dfp_batch.core.image import luma
from dfp_batch.degradation.kernels import Lanczos2
from dfp_batch.engine.frames import read_sources
from dfp_batch.errors import ImageError
from dfp_batch.evaluation.items import Image
from dfp_batch.evaluation.methods import External
from dfp_batch.io import codec, storage, urls
from dfp_batch.runs.manifest import Pair, folder_name

GRID_PX = 8  # of windows: the blocks of JPEG
_VOTE_PX = 3  # side of the square over which a vote is taken


@dataclass(frozen=True)
class Window:
    """Part of an image.

    Attributes:
        top: First row.
        left: First column.
        height: Rows.
        width: Columns.
    """

    top: int
    left: int
    height: int
    width: int

    def __call__(self, image: Image) -> Image:
        """That part of an image (..., H, W)."""
        rows = slice(self.top, self.top + self.height)
        return image[..., rows, self.left : self.left + self.width]


@dataclass(frozen=True)
class Preparation:
    """Writes what the pairs of one set need.

    Attributes:
        folder: Of what is written: ``<fuser>/x<s>/<pair>.png``, ``reference/`` and ``sources/``.
        results: Of scale 1, by the name of the fuser.
        scales: By which they are made smaller.
        is_voted: Whether the pairs were made of one photograph each, which is the reference then.
        side_px: Of the window that is shown; None is all.
    """

    folder: str
    results: Mapping[str, External]
    scales: tuple[int, ...]
    is_voted: bool = False
    side_px: int | None = None

    def __call__(self, pair: Pair) -> Pair:
        """Write it all for one pair; gives the pair that is scored.

        Raises:
            ImageError: if an image is missing, or does not fit.
        """
        sources = np.stack([codec.to_unit(frame) for frame in read_sources(pair.sources)])
        size = sources.shape[-2], sources.shape[-1]
        fused = {name: _read(result, pair.pair_id, size) for name, result in self.results.items()}
        height, width = size
        window = Window(0, 0, height, width)
        if self.side_px is not None:
            window = most_even_window(sources, self.side_px)
            pair = replace(pair, sources=self._write_sources(pair, window(sources)))
        for name, image in fused.items():
            self._write_smaller(window(image), name, pair)
        if not self.is_voted:
            return pair
        photograph = window(voted_reference(sources, list(fused.values())))
        return replace(pair, reference=self._write(photograph, "reference", pair.pair_id))

    def _write_sources(self, pair: Pair, sources: Image) -> tuple[str, ...]:
        named = zip("AB", sources, strict=True)
        return tuple(self._write(one, "sources", f"{pair.pair_id}_{end}") for end, one in named)

    def _write_smaller(self, image: Image, fuser: str, pair: Pair) -> None:
        """As the sources are: cropped to multiples of the scale, then D."""
        for scale in self.scales:
            height, width = (scale * (side // scale) for side in image.shape[-2:])
            even = torch.from_numpy(np.ascontiguousarray(image[None, :, :height, :width]))
            low = Degradation(scale, Lanczos2())(even)[0].numpy()
            self._write(low, f"{fuser}/x{scale}", pair.pair_id)

    def _write(self, image: Image, folder: str, name: str) -> str:
        """Write an image (C, H, W), in [0, 1], with 8 bits per sample; gives its URL."""
        url = urls.join(self.folder, folder, f"{folder_name(name)}.png")
        frame = codec.from_unit(image, np.dtype(np.uint8))
        storage.write_bytes(url, codec.encode(frame, "png"))
        return url


def _read(results: External, pair: str, size: tuple[int, int]) -> Image:
    frame, url = results.read(pair, 1)
    if frame.pixels.shape[:2] != size:
        height, width = size
        raise ImageError(f"{url} is {frame.size}, expected {width}x{height} px, as the sources are")
    return codec.to_unit(frame)


def most_even_window(sources: Image, side_px: int) -> Window:
    """The window in which each source has as much detail that the other one lacks.

    Args:
        sources: (2, C, H, W), in [0, 1].
        side_px: Of the window.

    Raises:
        ImageError: if the sources are smaller than it.
    """
    height, width = sources.shape[-2:]
    if min(height, width) < side_px:
        raise ImageError(
            f"sources must have at least {side_px}x{side_px} px for a window of that size, got "
            f"{width}x{height} px"
        )
    planes = luma(torch.from_numpy(sources))[:, 0].numpy().astype(np.float64)
    first, second = (np.abs(cv2.Laplacian(plane, cv2.CV_64F)) for plane in planes)
    gains = [cv2.integral(np.maximum(gain, 0)) for gain in (first - second, second - first)]
    even = np.minimum(*(_sums(gain, side_px) for gain in gains))[::GRID_PX, ::GRID_PX]
    row, column = np.unravel_index(int(even.argmax()), even.shape)
    return Window(GRID_PX * int(row), GRID_PX * int(column), side_px, side_px)


def _sums(integral: NDArray[np.float64], side: int) -> NDArray[np.float64]:
    """Of every window, by its top left."""
    return (
        integral[side:, side:]
        - integral[:-side, side:]
        - integral[side:, :-side]
        + integral[:-side, :-side]
    )


def voted_reference(sources: Image, results: Sequence[Image]) -> Image:
    """The photograph a pair was made of by blurring it here and there: every pixel is in a source.

    Args:
        sources: (2, C, H, W), in [0, 1].
        results: Fused images (C, H, W), in [0, 1], whose median tells which source that is.

    Returns:
        (C, H, W): at every pixel the source that is nearer to the median round about.
    """
    median = np.median(np.stack(results), axis=0)
    distances = [np.square(source - median).sum(0) for source in sources]
    near = [cv2.blur(distance, (_VOTE_PX, _VOTE_PX)) for distance in distances]
    chosen: Image = np.where(near[0] <= near[1], sources[0], sources[1])
    return chosen


def by_set(pairs: Iterable[Pair]) -> dict[str, tuple[Pair, ...]]:
    """Pairs called ``<set>_<number>`` by the name of the set, in lower case."""
    sets: dict[str, tuple[Pair, ...]] = {}
    for pair in pairs:
        name = pair.pair_id.rpartition("_")[0].lower()
        sets[name] = (*sets.get(name, ()), pair)
    return sets
