"""The pictures of one item as they are looked at: 8 bits, registered, maps in colours."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import cv2
import numpy as np

from dfp_batch.alignment.crop import valid_rectangle
from dfp_batch.config.run_config import Reading
from dfp_batch.engine import registration_file
from dfp_batch.engine.frames import middle, open_frames, read_frame
from dfp_batch.errors import ImageError, ObjectMissingError
from dfp_batch.io import codec, storage, urls
from dfp_batch.io.codec import Frame
from dfp_batch.report import colours
from dfp_batch.report.colours import Image
from dfp_batch.runs.manifest import Pair, folder_name

_FRAME = "frame-"
_WEBP_QUALITY = 78
_MAPS = ("decision", "confidence", "difference")


@dataclass(frozen=True)
class ItemPictures:
    """The pictures of an item.

    They are named ``result``, ``decision``, ``confidence``, ``reference``, ``difference``, and
    ``frame-0``, ``frame-1``...

    Attributes:
        pair: The item.
        row: Its columns of the ledger; empty if it has none.
        run_url: Run directory.
        reading: How the run makes frames of files.
        is_cropped: Whether its results show only what all frames have seen.
    """

    pair: Pair
    row: Mapping[str, Any]
    run_url: str
    reading: Reading
    is_cropped: bool

    def place(self, name: str) -> str:
        """URL of a file of the item, in the run."""
        return urls.join(self.run_url, "outputs", folder_name(self.pair.pair_id), name)

    @property
    def result_url(self) -> str:
        """Of the result, which is in the run, even if it was moved since.

        Raises:
            ObjectMissingError: if the item has none.
        """
        url = self.row.get("output_url")
        if url is None:
            raise ObjectMissingError(f"{self.pair.pair_id} has no result")
        return self.place(url.rpartition("/")[2])

    @cached_property
    def registration(self) -> dict[str, Any]:
        """Content of registration.json; empty if there is none."""
        try:
            content = json.loads(storage.read_bytes(self.place(registration_file.NAME)))
        except (ObjectMissingError, ValueError):
            return {}
        return content if isinstance(content, dict) else {}

    @property
    def n_frames(self) -> int:
        """Frames, as far as it is known without opening them."""
        known = len(self.registration.get("frames", ())) or self.row.get("n_sources")
        return int(known or len(self.pair.sources))

    @property
    def names(self) -> list[str]:
        """Of the pictures that there should be, frames last."""
        made = ["result", "decision", "confidence"] if self.row.get("output_url") else []
        if made and self.pair.reference:
            made += ["reference", "difference"]
        return made + [f"{_FRAME}{index}" for index in range(self.n_frames)]

    def size(self, name: str) -> tuple[int, int] | None:
        """Height and width of a picture, without opening it; None if that is not known."""
        height, width = self.window[2:]
        if name in ("result", "reference", "difference"):
            height, width = self.row.get("height_px") or 0, self.row.get("width_px") or 0
        return (height, width) if height and width else None

    def picture(self, name: str) -> Image:
        """One of them, (h, w, 3).

        Raises:
            ImageError: if it cannot be decoded, or does not fit the others.
            StorageError: if it cannot be read; ``ObjectMissingError`` if there is none.
        """
        if name.startswith(_FRAME):
            return self._cut(self._registered(int(name.removeprefix(_FRAME))))
        made = {
            "result": lambda: self._eight_bits(read_frame(self.result_url)),
            "decision": self._decision,
            "confidence": self._confidence,
            "reference": self._reference,
            "difference": self._difference,
        }
        if name not in made:
            raise ObjectMissingError(f"{self.pair.pair_id} has no picture {name}")
        return made[name]()

    def _registered(self, index: int) -> Image:
        asked = self.registration.get("reference")

        def reference(count: int) -> int:
            return middle(count) if asked is None else int(asked)

        with open_frames(self.pair.sources, self.reading, reference) as frames:
            if not 0 <= index < len(frames):
                raise ObjectMissingError(f"{self.pair.pair_id} has no frame {index}")
            image = self._eight_bits(frames.decoded(index))
        known = self.registration.get("frames", ())
        if index >= len(known):
            return image
        warp = np.array(known[index]["warp"], np.float64)
        height, width = image.shape[:2]
        how = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        return cv2.warpPerspective(image, warp, (width, height), flags=how).astype(np.uint8)

    def _eight_bits(self, frame: Frame) -> Image:
        """(h, w, 3), in sRGB; measured values by the range that the row tells."""
        low, high = self.row.get("range_low"), self.row.get("range_high")
        bits = self.row.get("significant_bits")
        if low is not None and high is not None:
            frame = replace(frame, span=(low, high))
        elif frame.white is None and frame.pixels.dtype == np.uint16 and bits:
            frame = replace(frame, white=float(2**bits - 1))
        if frame.pixels.dtype != np.uint8 or frame.span is not None:
            frame = codec.thumbnail(frame, max(frame.pixels.shape[:2]))
        whole = np.broadcast_to(frame.pixels, (*frame.pixels.shape[:2], 3))
        return colours.in_srgb(np.ascontiguousarray(whole), frame.metadata.icc)

    def _decision(self) -> Image:
        labels = codec.decode_indices(storage.read_bytes(self.place("decision.png")))
        return self._cut(colours.decision_colours(labels, self.n_frames))

    def _confidence(self) -> Image:
        grey = read_frame(self.place("confidence.png")).pixels[..., 0]
        return self._cut(colours.confidence_colours(grey))

    def _reference(self) -> Image:
        if self.pair.reference is None:
            raise ObjectMissingError(f"{self.pair.pair_id} has no reference")
        return self._eight_bits(read_frame(self.pair.reference))

    def _difference(self) -> Image:
        result, reference = self.picture("result"), self._reference()
        if result.shape != reference.shape:
            (height, width), (high, wide) = result.shape[:2], reference.shape[:2]
            raise ImageError(f"the result is {width}x{height} px, its reference {wide}x{high} px")
        return colours.difference_colours(result, reference)

    @cached_property
    def window(self) -> tuple[int, int, int, int]:
        """Top, left, height, width of what the result shows, in px of its sources; 0 if unknown."""
        whole = 0, 0, self.registration.get("height_px", 0), self.registration.get("width_px", 0)
        if not self.is_cropped:
            return whole
        try:
            seen = read_frame(self.place("valid.png")).pixels[..., 0] > 0
        except ObjectMissingError:
            return whole
        return valid_rectangle(seen)

    def _cut(self, image: Image) -> Image:
        if not all(self.window[2:]):
            return image
        top, left, height, width = self.window
        return image[top : top + height, left : left + width]


def small(image: Image, longest_px: int) -> Image:
    """Shrunk to at most ``longest_px`` a side, by area; never enlarged."""
    height, width = image.shape[:2]
    ratio = min(1.0, longest_px / max(height, width))
    size = max(1, round(width * ratio)), max(1, round(height * ratio))
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA).astype(np.uint8)


def webp(image: Image) -> bytes:
    """A file for the page.

    Raises:
        ImageError: The encoder failed.
    """
    return codec.encode(Frame(image), "webp", _WEBP_QUALITY)


def is_map(name: str) -> bool:
    """Whether a picture is one in false colours."""
    return name in _MAPS
