"""What is kept of the frames of a stack once they were loaded, so that they are loaded less often.

Registration, focus and all that only measures want the luma of every frame, or a small copy of it.
"""

from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from dfp_batch.core.contracts import Images
from dfp_batch.core.filters import as_array, as_image, reduce_by_area
from dfp_batch.core.image import Image
from dfp_batch.core.sources import USUAL_FACTOR

Grey = NDArray[Any]  # (h, w), at the depth of the file

_THUMBNAIL_PX = 128 * 128
_BLOCK_ROWS = 8 * USUAL_FACTOR
_WHOLE_FULL_FRAMES = 3  # of memory, that all images may take, as they are stored, to be kept
KEPT_FULL_FRAMES = 2.0  # of memory, that is 4 * h * w * C bytes each


class Look(NamedTuple):
    """What is kept of an image.

    Attributes:
        grey: Luma, (h, w).
        small: A quarter as high and as wide, (h / 4, w / 4, C), in the range of the image.
        thumbnail: About as large as 128 x 128 pixels, likewise.
    """

    grey: Grey
    small: NDArray[np.float32]
    thumbnail: NDArray[np.float32]

    @property
    def nbytes(self) -> int:
        """Memory of what grows with the image."""
        return self.grey.nbytes + self.small.nbytes


class Drafts:
    """Images whose lumas and small copies are kept from the first time that they are loaded.

    Only as many as fit into the memory of two full frames; the others are loaded again. A stack of
    few images is kept as a whole: 12 of 8 bits, 6 of 16, which take that of three.

    Args:
        images: N images, as they are stored.
    """

    def __init__(self, images: Images) -> None:
        self.images = images
        self._whole: dict[int, Image] = {}
        self._looks: dict[int, Look] = {}
        self._kept_bytes = 0

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int, /) -> Image:
        """Image (h, w, C); it is not to be written to."""
        if index in self._whole:
            return self._whole[index]
        image = self.images[index]
        if len(self) * image.itemsize <= 4 * _WHOLE_FULL_FRAMES:
            self._whole[index] = image
        return image

    def look(self, index: int) -> Look:
        """A first look at an image."""
        if index in self._looks:
            return self._looks[index]
        image = self[index]
        small = small_of(image)
        found = Look(grey_of(image), small, _thumbnail_of(image, small))
        if self._kept_bytes + found.nbytes <= KEPT_FULL_FRAMES * 4 * image.size:
            self._looks[index] = found
            self._kept_bytes += found.nbytes
        return found

    def take(self, index: int) -> Look:
        """The same, which is kept no longer."""
        found = self.look(index)
        if self._looks.pop(index, None) is not None:
            self._kept_bytes -= found.nbytes
        return found


def drafts_of(images: Images) -> Drafts:
    """Images that are remembered."""
    return images if isinstance(images, Drafts) else Drafts(images)


def grey_of(image: Image) -> Grey:
    """Luma (h, w) of an image (h, w, C), at its depth."""
    if image.shape[2] == 1:
        return image[..., 0]
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY))


def small_of(image: Image) -> NDArray[np.float32]:
    """A quarter as high and as wide, in its range; whole cells in blocks that stay in the cache."""
    rows = _BLOCK_ROWS if len(image) % USUAL_FACTOR == 0 else len(image)
    blocks = (image[top : top + rows].astype(np.float32) for top in range(0, len(image), rows))
    return np.concatenate([as_array(reduce_by_area(as_image(one), USUAL_FACTOR)) for one in blocks])


def _thumbnail_of(image: Image, small: NDArray[np.float32]) -> NDArray[np.float32]:
    """Made of the small copy where that has the pixels."""
    h, w, channels = image.shape
    factor = max(1, round((h * w / _THUMBNAIL_PX) ** 0.5))
    size = (max(1, w // factor), max(1, h // factor))
    source = small if factor >= USUAL_FACTOR else np.asarray(image, np.float32)
    thumbnail = np.asarray(cv2.resize(source, size, interpolation=cv2.INTER_AREA), np.float32)
    return thumbnail.reshape(*size[::-1], channels)
