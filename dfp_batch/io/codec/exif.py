r"""EXIF data: a TIFF structure of directories, read, corrected and moved between files.

A block is the structure alone, as PNG and WebP hold it; JPEG puts ``Exif\0\0`` before it. Blocks
are corrected where they are, or get a new first directory at their end, so that everything that
points into them (maker notes do) stays right. Only the way into and out of a TIFF file moves data;
there the maker note is carried as opaque bytes.
"""

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

Directory = dict[int, "Entry"]
RawEntry = tuple[int, int, int, bytes, int]  # tag, type, count, inline bytes and their place

ORIENTATION, X_RESOLUTION, Y_RESOLUTION, RESOLUTION_UNIT = 0x0112, 0x011A, 0x011B, 0x0128
EXIF, _GPS, _INTEROP = 0x8769, 0x8825, 0xA005
_WIDTH_PX, _HEIGHT_PX = 0xA002, 0xA003
_POINTERS = frozenset({EXIF, _GPS, _INTEROP})
_SHORT, _LONG, _RATIONAL, _LONG8 = 3, 4, 5, 16
_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}
_CLASSIC = frozenset(_BYTES)
_BYTES |= {16: 8, 17: 8, 18: 8}  # only in BigTIFF
_POINTER_CODES = {_SHORT: "H", _LONG: "I", 13: "I", 16: "Q", 18: "Q"}
MOST_BYTES = 16 * 2**20
"""Of the values of one directory."""
_MOST_ENTRIES = 1000  # of one directory; cameras write about 60
_UNIT_UM = {2: 25_400.0, 3: 10_000.0}  # inch, centimetre

# Tags of a TIFF's own directory that describe the photograph, not the way it is stored:
# description, make, model, software, date, artist, host, copyright, rating, XMP, IPTC, XP strings.
DESCRIPTIVE = frozenset(
    {0x010E, 0x010F, 0x0110, 0x0131, 0x0132, 0x013B, 0x013C, 0x8298, 0x4746, 0x4749}
    | {0x02BC, 0x83BB}
    | set(range(0x9C9B, 0x9CA0))
    | {EXIF, _GPS}
)


@dataclass(frozen=True)
class Entry:
    """One field: TIFF type, number of values and their bytes, or the directory it points to."""

    type: int
    count: int
    data: bytes = b""
    inner: Directory | None = None


@dataclass(frozen=True)
class _Layout:
    """Byte order of a structure, and whether it is BigTIFF."""

    order: str
    big: bool

    @property
    def offset(self) -> str:
        """Struct format of an offset; values up to its size are inline."""
        return f"{self.order}{'Q' if self.big else 'I'}"

    @property
    def count(self) -> str:
        """Struct format of the number of entries of a directory."""
        return f"{self.order}{'Q' if self.big else 'H'}"

    @property
    def entry(self) -> str:
        """Struct format of an entry: tag, type, count, inline bytes."""
        return f"{self.order}{'HHQ8s' if self.big else 'HHI4s'}"

    def entries(self, data: bytes | bytearray, at: int) -> list[RawEntry]:
        """Tag, type, count, inline bytes and place of the inline bytes of every entry."""
        (count,) = struct.unpack_from(self.count, data, at)
        if count > _MOST_ENTRIES:
            raise ValueError(f"{count} entries")
        first, size = at + struct.calcsize(self.count), struct.calcsize(self.entry)
        places = range(first, first + count * size, size)
        inline = struct.calcsize(self.offset)
        return [(*struct.unpack_from(self.entry, data, p), p + size - inline) for p in places]

    def value(self, data: bytes, entry: RawEntry) -> bytes | None:
        """Bytes of a field, inline or where it points; None if that is outside the data."""
        _, kind, count, inline, _ = entry
        size = _BYTES.get(kind, 1) * count
        if size <= len(inline):
            return inline[:size]
        (at,) = struct.unpack(self.offset, inline)
        return data[at : at + size] if at + size <= len(data) else None


def orientation(block: bytes) -> int:
    """Orientation 1 to 8; 1 where the block does not say, or is damaged."""
    found = int(_numbers(block).get(ORIENTATION, 1))
    return found if found in range(1, 9) else 1


def upright(block: bytes) -> bytes | None:
    """The block with orientation 1; None if it is damaged."""
    try:
        layout, at = _start(block)
        entries = layout.entries(block, at)
        if layout.big:
            return None
        _parse(block, layout, at, None, 0)
        stamped(block, 1, 1, None)  # what is damaged further down would fail when it is written
    except (struct.error, ValueError):
        return None
    changed = bytearray(block)
    for tag, _, _, _, place in entries:
        if tag == ORIENTATION:
            struct.pack_into(f"{layout.order}H", changed, place, 1)
    return bytes(changed)


def pixel_size_um(block: bytes) -> tuple[float, float] | None:
    """Width and height of a pixel, if the block holds a resolution per inch or centimetre."""
    found = _numbers(block)

    x, y = float(found.get(X_RESOLUTION, 0)), float(found.get(Y_RESOLUTION, 0))
    return size_of_resolution(x, y, int(found.get(RESOLUTION_UNIT, 2)))


def directory(block: bytes) -> Directory:
    """All fields of a block; none if it is damaged."""
    try:
        return _parse(block, *_start(block), None, 0)
    except (struct.error, ValueError):
        return {}


def fields_of(block: bytes) -> Directory:
    """Fields of the image and of how it was taken, in one; none if it is damaged."""
    first = directory(block)
    inner = first[EXIF].inner if EXIF in first else None
    return {**first, **(inner or {})}


def ratio_of(block: bytes, tag: int) -> Fraction:
    """Value of a field of the image or of how it was taken; 0 if that is not known."""
    field = fields_of(block).get(tag)
    if field is None or field.type != _RATIONAL or len(field.data) < _BYTES[_RATIONAL]:
        return Fraction(0)
    above, below = struct.unpack_from(f"{byte_order(block)}II", field.data)
    return Fraction(above, below) if below else Fraction(0)


def size_of_resolution(x: float, y: float, unit: int) -> tuple[float, float] | None:
    """Micrometres of a pixel from pixels per unit, 2 (inch) or 3 (cm); None without a size."""
    length_um = _UNIT_UM.get(unit)
    if length_um is None or not (x > 0 and y > 0):
        return None
    return length_um / x, length_um / y


def stamped(
    block: bytes | None, width_px: int, height_px: int, size_um: tuple[float, float] | None
) -> bytes | None:
    """The block for a new image: its size, its resolution, and no thumbnail of the old one.

    Args:
        block: EXIF of the source, or None.
        width_px: Width of the new image.
        height_px: Height of the new image.
        size_um: Width and height of its pixels in micrometres; None removes a resolution.

    Returns:
        The block, or None if there is nothing to say.
    """
    if block is None:
        return None if size_um is None else _block("<", _resolution("<", size_um))
    layout, at = _start(block)
    changed = bytearray(block)
    entries = layout.entries(block, at)
    for entry in entries:
        if entry[0] == EXIF:
            _write_size(changed, layout, _pointer(layout, entry), (width_px, height_px))
    new = {} if size_um is None else _resolution(layout.order, size_um)
    kept = [e for e in entries if e[0] not in {X_RESOLUTION, Y_RESOLUTION, RESOLUTION_UNIT}]
    _append_first_directory(changed, layout, kept, new)
    return bytes(changed)


def of_tiff(data: bytes, at: int) -> bytes | None:
    """EXIF block of the descriptive fields of a TIFF directory; None if there are none.

    Args:
        data: The whole TIFF or BigTIFF file.
        at: Offset of the directory.
    """
    try:
        layout, _ = _start(data)
        found = _parse(data, layout, at, DESCRIPTIVE, 0)
    except (struct.error, ValueError):
        return None
    text = found.get(0x010E)
    if text is not None and text.data.startswith((b"ImageJ=", b'{"shape"', b"<?xml")):
        del found[0x010E]  # describes the stack it was, not the photograph
    return _block(layout.order, found) if found else None


def with_directory(block: bytes, exposure: bytes | None) -> bytes | None:
    """A block with the directory of another as its EXIF directory; None if it is damaged."""
    try:
        layout, at = _start(block)
        fields = _parse(block, layout, at, DESCRIPTIVE, 0)
        if exposure is not None:
            inner = _parse(exposure, *_start(exposure), None, 0)
            fields[EXIF] = Entry(_LONG, 1, inner=inner)
    except (struct.error, ValueError):
        return None
    return _block(layout.order, fields) if fields else None


def of_fields(order: str, fields: Mapping[int, Entry]) -> bytes | None:
    """EXIF block of fields, those left out that only BigTIFF has; None if none are left.

    Args:
        order: ``<`` or ``>``, byte order of their values.
        fields: By tag.
    """
    kept = {tag: field for tag, field in fields.items() if field.type in _CLASSIC}
    return _block(order, kept) if kept else None


def add_to_tiff(file: bytearray, block: bytes) -> None:
    """Give the first directory of a TIFF in memory the descriptive fields of a block.

    Both must have the same byte order; the file may be a BigTIFF.
    """
    found = _parse(block, *_start(block), DESCRIPTIVE, 0)
    layout, first = _start(bytes(file[:16]))
    kept = [entry for entry in layout.entries(file, first) if entry[0] not in found]
    _append_first_directory(file, layout, kept, found)


def byte_order(block: bytes) -> str:
    """``<`` or ``>``."""
    return _start(block)[0].order


def _start(data: bytes) -> tuple[_Layout, int]:
    """Layout and offset of the first directory."""
    order = {b"II": "<", b"MM": ">"}.get(data[:2])
    if order is None:
        raise ValueError("does not start with a byte order")
    (version,) = struct.unpack_from(f"{order}H", data, 2)
    big = version == 43  # noqa: PLR2004 - BigTIFF
    code, at = ("Q", 8) if big else ("I", 4)
    return _Layout(order, big), struct.unpack_from(order + code, data, at)[0]


def _numbers(block: bytes) -> dict[int, Fraction]:
    """Numbers of the first directory that this module needs; none if damaged."""
    wanted = {ORIENTATION, X_RESOLUTION, Y_RESOLUTION, RESOLUTION_UNIT}
    try:
        layout, first = _start(block)
        entries = layout.entries(block, first)
        entries = [entry for entry in entries if entry[0] in wanted]
        return {entry[0]: _number(layout, entry, block) for entry in entries}
    except (struct.error, ValueError):
        return {}


def _number(layout: _Layout, entry: RawEntry, data: bytes) -> Fraction:
    value = layout.value(data, entry) or bytes(8)
    if entry[1] == _RATIONAL:
        above, below = struct.unpack_from(f"{layout.order}II", value)
        return Fraction(above, below) if below else Fraction(0)
    code = _POINTER_CODES.get(entry[1])
    return Fraction(struct.unpack_from(f"{layout.order}{code}", value)[0]) if code else Fraction(0)


def _pointer(layout: _Layout, entry: RawEntry) -> int:
    return int(_number(layout, entry, b""))


def _parse(
    data: bytes, layout: _Layout, at: int, wanted: frozenset[int] | None, depth: int
) -> Directory:
    """Read a directory and those below it; fields that only BigTIFF has are left out."""
    found: Directory = {}
    size = 0
    for entry in layout.entries(data, at):
        tag, kind, count, _, _ = entry
        if wanted is not None and tag not in wanted:
            continue
        if tag in _POINTERS:
            if depth < 2:  # noqa: PLR2004 - the interoperability directory is the deepest
                below = _parse(data, layout, _pointer(layout, entry), None, depth + 1)
                found[tag] = Entry(_LONG, 1, inner=below)
        elif kind in _CLASSIC:
            value = layout.value(data, entry)
            if value is not None:
                found[tag] = Entry(kind, count, value)
                size += len(value)
        if size > MOST_BYTES:
            raise ValueError(f"more than {MOST_BYTES} bytes of values")
    return found


def _resolution(order: str, size_um: tuple[float, float]) -> Directory:
    """Pixels per centimetre."""
    rationals = [Fraction(_UNIT_UM[3] / size).limit_denominator(100_000) for size in size_um]
    packed = [struct.pack(f"{order}II", f.numerator, f.denominator) for f in rationals]
    return {
        X_RESOLUTION: Entry(_RATIONAL, 1, packed[0]),
        Y_RESOLUTION: Entry(_RATIONAL, 1, packed[1]),
        RESOLUTION_UNIT: Entry(_SHORT, 1, struct.pack(f"{order}H", 3)),
    }


def _block(order: str, fields: Directory) -> bytes:
    mark = b"II" if order == "<" else b"MM"
    file = bytearray(mark + struct.pack(f"{order}HI", 42, 8))
    _append_first_directory(file, _Layout(order, big=False), [], fields)
    return bytes(file)


def _append_first_directory(
    file: bytearray,
    layout: _Layout,
    kept: list[RawEntry],
    new: Mapping[int, Entry],
) -> None:
    """Write a first directory to the end of a structure: old entries and new fields."""
    fields = {entry[0]: struct.pack(layout.entry, *entry[:4]) for entry in kept}
    fields |= {tag: _field(file, layout, tag, entry) for tag, entry in new.items()}
    at = _append(file, _directory(layout, fields))
    struct.pack_into(layout.offset, file, 8 if layout.big else 4, at)


def _field(file: bytearray, layout: _Layout, tag: int, entry: Entry) -> bytes:
    """One entry of a directory; values that do not fit go to the end of the file."""
    kind, data = entry.type, entry.data
    if entry.inner is not None:
        inner = {t: _field(file, layout, t, e) for t, e in entry.inner.items()}
        kind = _LONG8 if layout.big else _LONG
        data = struct.pack(layout.offset, _append(file, _directory(layout, inner)))
    elif len(data) > struct.calcsize(layout.offset):
        data = struct.pack(layout.offset, _append(file, data))
    return struct.pack(layout.entry, tag, kind, entry.count, data)


def _directory(layout: _Layout, fields: Mapping[int, bytes]) -> bytes:
    count, end = struct.pack(layout.count, len(fields)), struct.pack(layout.offset, 0)
    return count + b"".join(fields[tag] for tag in sorted(fields)) + end


def _append(file: bytearray, data: bytes) -> int:
    file.extend(bytes(-len(file) % 8))  # offsets are even, in BigTIFF multiples of eight
    at = len(file)
    file.extend(data)
    return at


def _write_size(block: bytearray, layout: _Layout, at: int, size_px: tuple[int, int]) -> None:
    """Correct the size that the EXIF directory states, where it states one."""
    for tag, kind, _, _, place in layout.entries(block, at):
        if tag in (_WIDTH_PX, _HEIGHT_PX) and kind in (_SHORT, _LONG):
            struct.pack_into(
                f"{layout.order}HII", block, place - 6, _LONG, 1, size_px[tag - _WIDTH_PX]
            )
