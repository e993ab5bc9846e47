"""Damage small files and decode them: ``python codec_fuzz.py FIRST LAST MEMORY_MB``.

Every case is made from its number alone. The number is printed before the file is decoded, so that
the last one printed names the file that killed the process.
"""

import resource
import struct
import sys
import zlib

import numpy as np

from codec_samples import small_files
from dfp_batch.errors import ImageError
from dfp_batch.io.codec import Frame, decode
from dfp_batch.io.codec.frame import OPEN_DTYPES

FILES = small_files()
EXTREMES = [0, 1, 2, 255, 256, 32767, 65535, 65536, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF]
URL = "damaged"


def damaged(number: int) -> tuple[str, bytes]:
    """What was done to which file, and the result."""
    rng = np.random.default_rng(number)
    name = sorted(FILES)[number % len(FILES)]
    damage = DAMAGES[int(rng.integers(len(DAMAGES)))]
    data = bytearray(FILES[name])
    for _ in range(int(rng.integers(1, 4))):
        if len(data) > 24:
            damage(data, rng)
    if name.startswith("png") and rng.random() < 0.7:
        repair_checksums(data)
    return f"{damage.__name__} in {name}", bytes(data)


def flip_bits(data, rng):
    for at in rng.integers(len(data), size=int(rng.integers(1, 9))):
        data[at] ^= 1 << int(rng.integers(8))


def change_bytes(data, rng):
    at, count = int(rng.integers(len(data))), int(rng.integers(1, 9))
    data[at : at + count] = rng.bytes(count)


def change_header(data, rng):
    at = int(rng.integers(8, min(len(data), 200)))
    data[at] = int(rng.integers(256))


def cut_off(data, rng):
    del data[int(rng.integers(12, len(data))) :]


def cut_out(data, rng):
    at = int(rng.integers(4, len(data)))
    del data[at : at + int(rng.integers(1, 40))]


def repeat(data, rng):
    at = int(rng.integers(4, len(data)))
    data[at:at] = data[at : at + int(rng.integers(1, 40))]


def change_number(data, rng):
    """Put an extreme number where a length, an offset or a count may be."""
    form = ["<I", ">I", "<H", ">H"][int(rng.integers(4))]
    size = struct.calcsize(form)
    limit = min(len(data), 500) if rng.random() < 0.7 else len(data)
    at = int(rng.integers(4, limit - size))
    value = EXTREMES[int(rng.integers(len(EXTREMES)))]
    struct.pack_into(form, data, at, value & (256**size - 1))


def change_field(data, rng):
    """Change the value, type or count of a field of a TIFF directory, or any number elsewhere."""
    if data[:2] not in (b"II", b"MM") or data[2:4] in (b"+\0", b"\0+"):
        change_number(data, rng)
        return
    order = "<" if data[:2] == b"II" else ">"
    (at,) = struct.unpack_from(order + "I", data, 4)
    if at + 14 > len(data):
        return
    (count,) = struct.unpack_from(order + "H", data, at)
    place = at + 2 + 12 * int(rng.integers(max(1, min(count, 30))))
    part, form = [(0, "H"), (2, "H"), (4, "I"), (8, "I"), (8, "H")][int(rng.integers(5))]
    if place + 12 <= len(data):
        value = EXTREMES[int(rng.integers(len(EXTREMES)))]
        value = value if rng.random() < 0.5 else int(rng.integers(0, 600))
        struct.pack_into(order + form, data, place + part, value & (0xFFFF if form == "H" else -1))


DAMAGES = [flip_bits, change_bytes, change_header, cut_off, cut_out, repeat, change_number]
DAMAGES += [change_field, change_field]


def repair_checksums(data):
    """Make the chunks of a PNG whole again, so that the damage gets past the checksums."""
    at = 8
    while at + 12 <= len(data):
        (length,) = struct.unpack_from(">I", data, at)
        if at + 12 + length > len(data):
            return
        check = zlib.crc32(data[at + 4 : at + 8 + length])
        struct.pack_into(">I", data, at + 8 + length, check)
        at += 12 + length


def check(frame: Frame) -> None:
    """What every frame is, whatever the file was."""
    pixels, alpha = frame.pixels, frame.alpha
    assert pixels.ndim == 3
    assert pixels.size
    assert pixels.shape[2] in (1, 3)
    assert pixels.dtype.name in ("uint8", "uint16", "float32", *OPEN_DTYPES)
    assert alpha is None or (alpha.shape == pixels.shape[:2] and alpha.dtype == pixels.dtype)
    assert pixels.dtype.kind in "ui" or np.isfinite(pixels).all()


def limit_memory(megabytes: int) -> None:
    """Let this process grow by so much and no more."""
    with open("/proc/self/statm") as file:
        now = int(file.read().split()[0]) * resource.getpagesize()
    most = now + megabytes * 2**20
    resource.setrlimit(resource.RLIMIT_AS, (most, most))


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main() -> None:
    first, last, megabytes = map(int, sys.argv[1:])
    limit_memory(megabytes)
    frames = 0
    for number in range(first, last):
        what, data = damaged(number)
        say(f"case {number}: {what}")
        try:
            check(decode(data, URL))
            frames += 1
        except ImageError as error:
            assert str(error).startswith(f"{URL}: "), error
            assert "\n" not in str(error)
    say(f"done, {frames} frames")


if __name__ == "__main__":
    main()
