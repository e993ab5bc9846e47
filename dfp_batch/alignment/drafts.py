"""What is kept of the frames of a stack once they were loaded, so that they are loaded less often.

Registration, focus and all that only measures want the luma of every frame, or a small copy of it.
"""

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from dfp_batch.core.contracts import Images
from dfp_batch.core.filters import as_array, as_image, reduce_by_area
from dfp_batch.core.image import Image
from dfp_batch.core.sources import USUAL_FACTOR

Grey = NDArray[Any]  # (h, w), at the depth of the file

KEPT_FULL_FRAMES = 2.0  # of memory, that is 4 * h * w * C bytes each


class Drafts:
    """Images whose lumas and small copies are kept from the first time that they are loaded.

    Only as many as fit into the memory of two full frames; the others are loaded again.

    Args:
        images: N images, as they are stored.
    """

    def __init__(self, images: Images) -> None:
        self.images = images
        self._greys: dict[int, Grey] = {}
        self._smalls: dict[int, NDArray[np.float32]] = {}
        self._kept_bytes = 0

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int, /) -> Image:
        """Image (h, w, C)."""
        image = self.images[index]
        if index not in self._greys:
            self._keep(index, image)
        return image

    def grey(self, index: int) -> Grey:
        """Luma (h, w) of an image."""
        return self._greys[index] if index in self._greys else grey_of(self[index])

    def take(self, index: int) -> tuple[Grey, NDArray[np.float32]]:
        """Luma (h, w) and small copy of an image, (h / 4, w / 4, C), which are kept no longer."""
        if index not in self._greys:
            image = self.images[index]
            return grey_of(image), small_of(image)
        found = self._greys.pop(index), self._smalls.pop(index)
        self._kept_bytes -= sum(one.nbytes for one in found)
        return found

    def _keep(self, index: int, image: Image) -> None:
        found = grey_of(image), small_of(image)
        size_bytes = sum(one.nbytes for one in found)
        if self._kept_bytes + size_bytes <= KEPT_FULL_FRAMES * 4 * image.size:
            self._greys[index], self._smalls[index] = found
            self._kept_bytes += size_bytes


def drafts_of(images: Images) -> Drafts:
    """Images that are remembered."""
    return images if isinstance(images, Drafts) else Drafts(images)


def grey_of(image: Image) -> Grey:
    """Luma (h, w) of an image (h, w, C), at its depth."""
    if image.shape[2] == 1:
        return image[..., 0]
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY))


def small_of(image: Image) -> NDArray[np.float32]:
    """A quarter as high and as wide, in its range."""
    return as_array(reduce_by_area(as_image(np.asarray(image, np.float32)), USUAL_FACTOR))
