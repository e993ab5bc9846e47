"""Frames that differ by a few pixels, as other tools have cropped them: the part that all have."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from dfp_batch.errors import ImageError
from dfp_batch.io.codec import Frame, Header

MOST_PX = 32


@dataclass(frozen=True)
class CommonPart:
    """The top left that all frames have.

    Attributes:
        height: In px.
        width: In px.
        largest: Height and width of the largest frame, in px.
    """

    height: int
    width: int
    largest: tuple[int, int]

    @classmethod
    def of(cls, headers: Sequence[Header]) -> "CommonPart":
        """Of frames with such headers.

        Raises:
            ImageError: if they differ by more than a few pixels.
        """
        heights = [header.height for header in headers]
        widths = [header.width for header in headers]
        part = cls(min(heights), min(widths), (max(heights), max(widths)))
        differ = max(part.largest[0] - part.height, part.largest[1] - part.width)
        if differ > MOST_PX:
            raise ImageError(
                f"sources differ by {differ} px in size, --fit crop takes at most {MOST_PX} px; "
                "register or crop them to one size"
            )
        return part

    @property
    def notes(self) -> tuple[str, ...]:
        """What people should know, a line each; nothing if all are alike."""
        if (self.height, self.width) == self.largest:
            return ()
        h, w = self.largest
        return (f"cropped to the top left {self.width}x{self.height} px of up to {w}x{h} px",)

    def of_header(self, header: Header) -> Header:
        """What a frame will be."""
        return replace(header, height=self.height, width=self.width)

    def of_frame(self, frame: Frame) -> Frame:
        """The part of a frame."""
        window = np.s_[: self.height, : self.width]
        alpha = None if frame.alpha is None else np.ascontiguousarray(frame.alpha[window])
        return replace(frame, pixels=np.ascontiguousarray(frame.pixels[window]), alpha=alpha)
