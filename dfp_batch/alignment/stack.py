"""A stack as ``Sources``: a frame is loaded, registered and exposed when it is asked for.

So a stack of 200 frames takes the memory of a few; a *full frame* below is one frame in float32,
4 * h * w * C bytes.
"""

from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dfp_batch.alignment.drafts import KEPT_FULL_FRAMES, Grey, drafts_of, small_of
from dfp_batch.alignment.geometry import reduced_motion
from dfp_batch.alignment.stack_alignment import StackAlignment
from dfp_batch.alignment.warp import is_identity, warp_image, warp_tiles
from dfp_batch.core.contracts import Draft, Images, Sources
from dfp_batch.core.filters import as_array, as_image, reduce_by_area
from dfp_batch.core.image import Image, array_luma
from dfp_batch.core.sources import USUAL_FACTOR

RIM_PX = 8
_BLOCK_ROWS = 16
_HELD_FULL_FRAMES = 6  # of memory: 24 frames of 8 bits, 12 of 16


class Stack(Sources):
    """The frames that could be registered, as ``Sources``.

    Where a frame does not cover the view of the reference, the reference stands in for it. Lumas
    are kept, as many as fit into the memory of two full frames.

    Args:
        images: All N frames.
        white: Value of white in them.
        alignment: How to bring them to the reference.
    """

    def __init__(self, images: Images, white: float, alignment: StackAlignment) -> None:
        self._drafts = drafts_of(images)
        self._white = white
        self._alignment = alignment
        self._greys: dict[int, Grey] = {}
        self._held: dict[int, Image] = {}
        self._rims: dict[int, Rim | None] = {}

    def __len__(self) -> int:
        return len(self._alignment.kept)

    def __getitem__(self, index: int, /) -> Tensor:
        """Frame (C, h, w), float32, in [0, 1]."""
        return self.full_quality(index, torch.ones(self._size, dtype=torch.bool))

    def preview(self, index: int) -> Tensor:
        """The same frame, resampled by a quick kernel, which costs fine detail."""
        frame = self._alignment.kept[index]
        return self._source(frame, self._resampled(self._loaded(frame), frame))

    def grey(self, index: int) -> Tensor:
        """Luma of the preview, (1, h, w): of what is stored, and then exposed."""
        frame = self._alignment.kept[index]
        return self._source(frame, self._grey(frame)[..., None])

    def draft(self, index: int, factor: int) -> Draft:
        """A first look at a frame, which is made smaller before it is resampled."""
        if factor != USUAL_FACTOR:
            return super().draft(index, factor)
        frame = self._alignment.kept[index]
        look = self._drafts.take(frame)
        self._keep(frame, np.ascontiguousarray(self._resampled(look.grey, frame)))
        return Draft(self.grey(index), *self._small(frame, look.small))

    def full_quality(self, index: int, where: Tensor, beside: Tensor | None = None) -> Tensor:
        """The same frame, resampled by the good kernel in all tiles that hold pixels of ``where``.

        Args:
            index: Of the frame.
            where: (h, w), bool.
            beside: (h, w), bool, or None: tiles that hold none of either are interpolated linearly.
        """
        frame = self._alignment.kept[index]
        return self._shown(frame, self._loaded(frame), slice(0, len(where)), where, beside)

    @property
    def has_rows(self) -> bool:
        """Whether all frames, as they are stored, fit into the memory of a few full ones."""
        return len(self) * self._reference_image.itemsize <= 4 * _HELD_FULL_FRAMES

    def rows(self, index: int, rows: slice, where: Tensor, beside: Tensor | None = None) -> Tensor:
        """Some rows of ``full_quality``; the frames are held for the others, as they are stored."""
        frame = self._alignment.kept[index]
        if frame not in self._held:
            self._held[frame] = self._loaded(frame)
        return self._shown(frame, self._held[frame], rows, where, beside)

    def _shown(
        self, frame: int, image: Image, rows: slice, where: Tensor, beside: Tensor | None
    ) -> Tensor:
        """Rows of a registered frame, of a kernel that is the better the more they are shown."""
        warp = self._alignment.registered.warps[frame]
        if is_identity(warp):
            return self._source(frame, image[rows], rows)
        below, seen = np.eye(3), where.numpy()
        below[1, 2] = rows.start
        near = np.zeros_like(seen) if beside is None else beside.numpy()
        return self._source(frame, warp_tiles(image, warp @ below, seen, near), rows)

    def forget(self) -> None:
        """The lumas, but for that of the reference."""
        kept = self._greys.get(self.reference)
        self._greys = {} if kept is None else {self.reference: kept}

    def covered(self, index: int) -> Tensor | None:
        """Share of the frame beside the reference that stands in for it, (1, h, w)."""
        rim = self._rim(self._alignment.kept[index])
        return None if rim is None else torch.from_numpy(rim.share_of(self._size))[None]

    @property
    def reference(self) -> int:
        """Index of the reference among all N frames."""
        return self._alignment.registered.reference

    @cached_property
    def _size(self) -> tuple[int, int]:
        h, w = self._grey(self.reference).shape
        return h, w

    @cached_property
    def _reference_image(self) -> Image:
        return self._drafts[self.reference]

    @cached_property
    def _reference_small(self) -> NDArray[np.float32]:
        return self._exposed(small_of(self._reference_image), self.reference)

    def _loaded(self, frame: int) -> Image:
        """A frame as it is stored."""
        return self._reference_image if frame == self.reference else self._drafts[frame]

    def _grey(self, frame: int) -> Grey:
        """Luma (h, w) of a registered frame, at the depth of its file."""
        if frame not in self._greys:
            grey = np.ascontiguousarray(self._resampled(self._drafts.look(frame).grey, frame))
            self._keep(frame, grey)
            return grey
        return self._greys[frame]

    def _keep(self, frame: int, grey: Grey) -> None:
        room = KEPT_FULL_FRAMES * 4 * grey.size * self._alignment.gains.shape[1]
        if grey.nbytes * (len(self._greys) + 1) <= room:
            self._greys[frame] = grey

    def _small(self, frame: int, small: NDArray[np.float32]) -> tuple[Tensor, Tensor | None]:
        """A frame made smaller (h / 4, w / 4, C), registered and exposed, and its share in that."""
        size, covered = small.shape[:2], None
        if frame == self.reference:
            return as_image(self._reference_small.copy()), covered
        motion = reduced_motion(self._alignment.registered.warps[frame], self._size, size)
        exposed = self._exposed(warp_image(small, motion, size), frame)
        rim = self._rim(frame)
        if rim is not None:
            covered = reduce_by_area(as_image(rim.share_of(self._size)), USUAL_FACTOR)
            share = as_array(covered)
            exposed = share * exposed + (1 - share) * self._reference_small
        return as_image(exposed), covered

    def _source(self, frame: int, image: Image, rows: slice = slice(None)) -> Tensor:
        """Rows of a registered frame exposed, and the reference where it does not cover."""
        rim, exposed = self._rim(frame), self._exposed(image, frame)
        if rim is not None:
            rim = rim.within(rows)
            places = rim.rows, rim.columns
            is_grey = image.shape[2] < self._alignment.gains.shape[1]
            whole = self._grey(self.reference)[..., None] if is_grey else self._reference_image
            stand_in = self._exposed(whole[rows][places][None], self.reference)[0]
            exposed[places] = rim.share * exposed[places] + (1 - rim.share) * stand_in
        return torch.from_numpy(exposed).movedim(-1, 0)

    def _exposed(self, pixels: Image, frame: int) -> NDArray[np.float32]:
        """Pixels (h, w, C) of a frame from its file's range to [0, 1], with its gain.

        They may be grey ones of a frame in colour: those get the gain of neutral grey.
        """
        factor = np.asarray(self._alignment.gains[frame] / self._white, np.float32)
        if pixels.shape[2] < len(factor):
            factor = array_luma(factor[None, None])[0]
        if pixels.dtype == np.uint8:  # one pass in place of three
            table = np.minimum(np.arange(256, dtype=np.float32)[:, None] * factor, 1)
            looked_up = cv2.LUT(pixels, table[None])
            return np.asarray(looked_up, np.float32).reshape(pixels.shape)
        exposed = np.empty(pixels.shape, np.float32)
        factors = np.tile(factor, pixels.shape[1]).reshape(pixels.shape[1:])
        for top in range(0, len(pixels), _BLOCK_ROWS):  # a block stays in the cache
            rows = exposed[top : top + _BLOCK_ROWS]
            np.copyto(rows, pixels[top : top + _BLOCK_ROWS])
            np.multiply(rows, factors, out=rows)
            np.clip(rows, 0, 1, out=rows)  # the resampling overshoots
        return exposed

    def _resampled(self, image: Image, frame: int, kernel: int = cv2.INTER_CUBIC) -> Image:
        """A frame as the reference would have seen it, by a quick kernel."""
        if frame == self.reference:
            return image
        warp, size = self._alignment.registered.warps[frame], (image.shape[0], image.shape[1])
        return warp_image(image, warp, size, kernel)

    def _rim(self, frame: int) -> "Rim | None":
        """Where the reference stands in for a frame; None if nowhere."""
        if frame not in self._rims:
            elsewhere = frame != self.reference
            covered = self._alignment.covered(frame, self._size) if elsewhere else None
            self._rims[frame] = None if covered is None else Rim.of(covered)
        return self._rims[frame]


@dataclass(frozen=True, eq=False)
class Rim:
    """Where the reference stands in for a frame that does not cover the view.

    Attributes:
        rows: Of the n pixels, (n,).
        columns: Of the same.
        share: Of the frame there, (n, 1): 0 where it does not cover the view, and from there slowly
            to 1, since a hard rim would be detail of its own for the focus measure.
    """

    rows: NDArray[np.int32]
    columns: NDArray[np.int32]
    share: NDArray[np.float32]

    @classmethod
    def of(cls, covered: NDArray[np.bool_]) -> "Rim":
        """Of what a frame covers, (h, w), which is not everything."""
        inwards_px = cv2.distanceTransform(covered.view(np.uint8), cv2.DIST_C, 3)
        rows, columns = np.nonzero(inwards_px <= RIM_PX)
        share = inwards_px[rows, columns, None] / np.float32(RIM_PX + 1)
        return cls(rows.astype(np.int32), columns.astype(np.int32), np.asarray(share, np.float32))

    def within(self, rows: slice) -> "Rim":
        """That of some rows, counted from the first of them."""
        first, last, _ = rows.indices(1 << 30)
        inside = (self.rows >= first) & (self.rows < last)
        return Rim(self.rows[inside] - first, self.columns[inside], self.share[inside])

    def share_of(self, size: tuple[int, int]) -> NDArray[np.float32]:
        """The share everywhere, (h, w)."""
        share = np.ones(size, np.float32)
        share[self.rows, self.columns] = self.share[:, 0]
        return share
