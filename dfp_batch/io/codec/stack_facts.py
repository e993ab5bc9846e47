"""What the description in a TIFF says of all images of its stack."""

import math
from dataclasses import dataclass, replace
from typing import Any
from xml.etree import ElementTree

import numpy as np
from tifffile import TiffFile

from dfp_batch.io.codec.frame import Frame

_SIGNIFICANT_BITS = range(8, 16)  # that a frame of 16 bits may have
_UM = {
    "nm": 1e-3,
    "Å": 1e-4,
    "pm": 1e-6,
    "mm": 1e3,
    "cm": 1e4,
    "dm": 1e5,
    "m": 1e6,
    "in": 25_400.0,
    "inch": 25_400.0,
    "mil": 25.4,
    "thou": 25.4,
    **dict.fromkeys(("um", "µm", "μm", "micron", "microns", "micrometer"), 1.0),
}


@dataclass(frozen=True)
class Facts:
    """What the description says of all images; None is what each page says itself.

    Attributes:
        pixel_size_um: (width, height) of a pixel.
        significant_bits: Bits of a sample that are in use.
        channels: Names of the channels, as far as it has them.
    """

    pixel_size_um: tuple[float, float] | None = None
    significant_bits: int | None = None
    channels: tuple[str, ...] = ()

    def names_of(self, count: int) -> tuple[str, ...]:
        """A name for each of so many channels: their numbers, where they have none."""
        named = (*self.channels, *("",) * count)[:count]
        return tuple(name or str(k) for k, name in enumerate(named))


def facts_of(tiff: TiffFile, root: ElementTree.Element | None) -> Facts:
    """Find what the description says.

    Args:
        tiff: The file.
        root: Its OME-XML; None if it has none.
    """
    if root is not None:
        pixels = root.find(".//{*}Pixels")
        return Facts() if pixels is None else _ome_facts(pixels)
    if tiff.is_imagej:
        return _imagej_facts(tiff)
    return Facts()


def _ome_facts(pixels: ElementTree.Element) -> Facts:
    said = pixels.attrib
    sides = [
        size_um(said.get(f"PhysicalSize{axis}"), said.get(f"PhysicalSize{axis}Unit", "µm"))
        for axis in "XY"
    ]
    names = tuple(channel.get("Name", "") for channel in pixels.iterfind("{*}Channel"))
    return Facts(_both(*sides), int(said.get("SignificantBits", 0)) or None, names)


def _imagej_facts(tiff: TiffFile) -> Facts:
    """The resolution tags count pixels per unit, and the description names the unit."""
    unit = str((tiff.imagej_metadata or {}).get("unit", "")).replace("\\u00B5", "µ")
    tags = tiff.pages.first.tags
    sides = [size_um(_inverse(tags.valueof(code)), unit) for code in (282, 283)]
    return Facts(_both(*sides))


def _inverse(resolution: Any) -> float | None:  # noqa: ANN401 - whatever the tag holds
    """Units per pixel, from the numerator and denominator of pixels per unit."""
    return resolution[1] / resolution[0] if resolution and resolution[0] else None


def size_um(length: str | float | None, unit: str) -> float | None:
    """A length in micrometres; None where it or its unit is not known."""
    size = float(length or 0) * _UM.get(unit.strip(), 0)
    return size if 0 < size < math.inf else None


def _both(width: float | None, height: float | None) -> tuple[float, float] | None:
    return None if width is None or height is None else (width, height)


def with_facts(frame: Frame, facts: Facts, turned: bool) -> Frame:
    """Add what the description says to what the page says; the former wins."""
    bits, size = facts.significant_bits, facts.pixel_size_um
    if bits is not None and bits in _SIGNIFICANT_BITS and frame.pixels.dtype == np.uint16:
        frame = replace(frame, white=float(2**bits - 1))
    if size is not None:
        size = size[::-1] if turned else size
        frame = replace(frame, metadata=replace(frame.metadata, pixel_size_um=size))
    return frame
