"""A stack as ``Sources``: a frame is loaded, registered and exposed when it is asked for.

So a stack of 200 frames takes the memory of a few; a *full frame* below is one frame in float32,
4 * h * w * C bytes.
"""

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dfp_batch.alignment.stack_alignment import StackAlignment
from dfp_batch.alignment.warp import is_identity, warp_image, warp_tiles
from dfp_batch.core.contracts import Images, Sources
from dfp_batch.core.image import Image

_CACHED_FRAMES = 1.0  # full frames, that is 4 of 8 bit or 2 of 16 bit

RIM_PX = 8


class Stack(Sources):
    """The frames that could be registered, as ``Sources``.

    Where a frame does not cover the view of the reference, the reference stands in for it.

    Args:
        images: All N frames.
        white: Value of white in them.
        alignment: How to bring them to the reference.
    """

    def __init__(self, images: Images, white: float, alignment: StackAlignment) -> None:
        self._images = images
        self._white = white
        self._alignment = alignment
        self._cache: dict[int, Image] = {}
        self._rims: dict[int, Rim | None] = {}

    def __len__(self) -> int:
        return len(self._alignment.kept)

    def __getitem__(self, index: int, /) -> Tensor:
        """Frame (C, h, w), float32, in [0, 1]."""
        return self.full_quality(index, torch.ones(self._size, dtype=torch.bool))

    def preview(self, index: int) -> Tensor:
        """The same frame, resampled by a quick kernel, which costs fine detail."""
        frame = self._alignment.kept[index]
        return self._source(frame, self._preview(frame))

    def full_quality(self, index: int, where: Tensor) -> Tensor:
        """The same frame, resampled by the good kernel in all tiles that hold pixels of ``where``.

        Its preview is forgotten: what is shown has been measured.

        Args:
            index: Of the frame.
            where: (h, w), bool; elsewhere the frame is a preview.
        """
        frame = self._alignment.kept[index]
        if frame == self.reference:
            return self._source(frame, self._preview(frame))
        image, warp = self._images[frame], self._alignment.registered.warps[frame]
        preview = self._cache.pop(frame, None)
        preview = self._resampled(image, frame) if preview is None else preview
        if not is_identity(warp):
            warp_tiles(image, warp, preview, where.cpu().numpy())
        return self._source(frame, preview)

    def covered(self, index: int) -> Tensor | None:
        """Share of the frame beside the reference that stands in for it, (1, h, w)."""
        rim = self._rim(self._alignment.kept[index])
        return None if rim is None else torch.from_numpy(rim.share_of(self._size))[None]

    def _source(self, frame: int, preview: Image) -> Tensor:
        """A registered frame (h, w, C) exposed, and the reference where it does not cover."""
        rim, exposed = self._rim(frame), self._exposed(preview, frame)
        if rim is not None:
            places = rim.rows, rim.columns
            reference = self._preview(self.reference)[places][:, None]
            stand_in = self._exposed(reference, self.reference)[:, 0]
            exposed[places] = rim.share * exposed[places] + (1 - rim.share) * stand_in
        return torch.from_numpy(exposed).movedim(-1, 0)

    @property
    def _size(self) -> tuple[int, int]:
        h, w, _ = self._preview(self.reference).shape
        return h, w

    @property
    def reference(self) -> int:
        """Index of the reference among all N frames."""
        return self._alignment.registered.reference

    def _exposed(self, pixels: Image, frame: int) -> NDArray[np.float32]:
        """Pixels (h, w, C) of a frame from its file's range to [0, 1], with its gain."""
        factor = np.asarray(self._alignment.gains[frame] / self._white, np.float32)
        if pixels.dtype == np.uint8:  # one pass in place of three
            table = np.minimum(np.arange(256, dtype=np.float32)[:, None] * factor, 1)
            looked_up = cv2.LUT(pixels, table[None])
            return np.asarray(looked_up, np.float32).reshape(pixels.shape)
        exposed: NDArray[np.float32] = pixels.astype(np.float32)
        if (factor != 1).any():
            np.multiply(exposed, factor, out=exposed)
        return np.clip(exposed, 0, 1, out=exposed)  # the resampling overshoots

    def _preview(self, frame: int) -> Image:
        """Draft of a frame (h, w, C) at the depth of its file; the first few are kept.

        The frames are looked at in turn, again and again: the last few would never be asked for.
        """
        if frame in self._cache:
            return self._cache[frame]
        image = self._images[frame]
        if frame != self.reference:
            image = self._resampled(image, frame)
        if frame == self.reference or len(self._cache) < _CACHED_FRAMES * 4 // image.itemsize:
            self._cache[frame] = image
        return image

    def _resampled(self, image: Image, frame: int) -> Image:
        """A frame as the reference would have seen it, by the quick kernel."""
        warp = self._alignment.registered.warps[frame]
        return warp_image(image, warp, self._size, cv2.INTER_CUBIC)

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

    def share_of(self, size: tuple[int, int]) -> NDArray[np.float32]:
        """The share everywhere, (h, w)."""
        share = np.ones(size, np.float32)
        share[self.rows, self.columns] = self.share[:, 0]
        return share
