"""Small image files of every kind, made without the code that is tested."""

import struct
import zlib
from io import BytesIO

import cv2
import imagecodecs
import numpy as np
import pillow_heif
import tifffile
from PIL import Image, ImageCms

IN_ZSTD = {"compression": "zstd"}
ICC = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def ramp(height=11, width=17, channels=3, dtype="uint8", seed=7):
    """Random samples (h, w, C) over the whole range of the dtype."""
    values = np.random.default_rng(seed).random((height, width, channels))
    if dtype == "float32":
        return values.astype(np.float32)
    return np.rint(values * np.iinfo(dtype).max).astype(dtype)


def exif(orientation=1, order="<", **texts):
    """An EXIF block: orientation, make, 72 dpi, exposure time, size, GPS, maker note, thumbnail."""
    block = Image.Exif()
    block.endian = order
    block[0x0112] = orientation
    block[0x010F] = texts.get("make", "Makers")
    block[0x0110] = "Model 1"
    block[0x011A], block[0x011B], block[0x0128] = 72.0, 72.0, 2
    inner = block.get_ifd(0x8769)
    inner[0x829A] = 0.004
    inner[0xA002], inner[0xA003] = 17, 11
    inner[0x927C] = b"opaque maker note"
    block.get_ifd(0x8825)[1] = "N"
    return block.tobytes().removeprefix(b"Exif\0\0")


def exif_at(time, tag=0x9003, fraction=True):
    """An EXIF block that says when: taken (0x9003), made digital (0x9004) or changed (0x0132)."""
    block = Image.Exif()
    own = block if tag == 0x0132 else block.get_ifd(0x8769)
    own[tag] = f"{time:%Y:%m:%d %H:%M:%S}"
    if fraction:
        of_tag = {0x9003: 0x9291, 0x9004: 0x9292, 0x0132: 0x9290}[tag]
        block.get_ifd(0x8769)[of_tag] = f"{time.microsecond:06}"
    return block.tobytes().removeprefix(b"Exif\0\0")


def pillow(pixels, kind, **options):
    """A file that Pillow writes; ``pixels`` (h, w, 1, 3 or 4), or an image."""
    image = pixels
    if not isinstance(pixels, Image.Image):
        image = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
    if kind == "JPEG" and "exif" in options:
        options["exif"] = b"Exif\0\0" + options["exif"]
    buffer = BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def seen(data):
    """What Pillow makes of a file."""
    image = Image.open(BytesIO(data))
    image.load()
    return image


def tiff(pixels, **options):
    buffer = BytesIO()
    options = {"photometric": "minisblack", "metadata": None, **options}
    tifffile.imwrite(buffer, pixels, **options)
    return buffer.getvalue()


def chunk(name, content):
    check = zlib.crc32(name + content)
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", check)


def png(pixels, depth=8, colour=2, before=(), interlace=0):
    """A PNG with these rows of bytes, and chunks between header and pixels."""
    rows = b"".join(b"\0" + bytes(row) for row in pixels)
    width = len(bytes(pixels[0])) * 8 // depth // {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour]
    head = struct.pack(">IIBBBBB", width, len(pixels), depth, colour, 0, 0, interlace)
    chunks = [(b"IHDR", head), *before, (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*one) for one in chunks)


def with_chunk(data, name, content):
    """A PNG with one chunk more after its header."""
    return data[:33] + chunk(name, content) + data[33:]


def lzw_tiff(pixels, predictor=1, order="<", **tags):
    """A TIFF of one LZW strip, which OpenCV (predictor 2) or this (1) has packed."""
    pixels = np.atleast_3d(pixels)
    height, width, samples = pixels.shape
    bits = 8 * pixels.dtype.itemsize
    values = pixels.copy()
    if predictor == 2:
        values[:, 1:] = pixels[:, 1:] - pixels[:, :-1]
    raw = values.astype(values.dtype.newbyteorder(order)).tobytes()
    packed = lzw(raw)
    return plain_tiff(
        [packed], width, height, bits, samples, order, {259: 5, 317: predictor, **tags}
    )


def lzw(raw):
    """LZW as TIFF has it, with a new table every 200 codes and so 9 bits a code."""
    bits = []
    for at in range(0, len(raw), 200):
        bits += [256, *raw[at : at + 200]]
    bits.append(257)
    text = "".join(f"{code:09b}" for code in bits)
    text += "0" * (-len(text) % 8)
    return int(text, 2).to_bytes(len(text) // 8, "big")


def plain_tiff(strips, width, height, bits, samples, order="<", tags=None):
    """A TIFF with these strips; ``tags`` (short values) replace or extend the usual ones."""
    mark = {"<": b"II", ">": b"MM"}[order]
    file = bytearray(mark + struct.pack(order + "HI", 42, 0))
    offsets = []
    for strip in strips:
        offsets.append(len(file))
        file += strip + bytes(len(strip) % 2)
    fields = {256: width, 257: height, 259: 1, 262: 2 if samples >= 3 else 1, 277: samples}
    fields |= {278: height, **(tags or {})}
    entries = {tag: struct.pack(order + "HHII", tag, 4, 1, value) for tag, value in fields.items()}
    for tag, code, values in (
        (258, "H", [bits] * samples),
        (273, "I", offsets),
        (279, "I", [len(strip) for strip in strips]),
    ):
        entries[tag] = _array_entry(file, order, tag, code, values)
    at = len(file)
    file += struct.pack(order + "H", len(entries)) + b"".join(v for _, v in sorted(entries.items()))
    struct.pack_into(order + "I", file, 4, at)
    return bytes(file + bytes(4))


def _array_entry(file, order, tag, code, values):
    content = struct.pack(f"{order}{len(values)}{code}", *values)
    kind = {"H": 3, "I": 4}[code]
    if len(content) <= 4:
        return struct.pack(order + "HHI4s", tag, kind, len(values), content)
    at = len(file)
    file += content + bytes(len(content) % 2)
    return struct.pack(order + "HHII", tag, kind, len(values), at)


def packed_tiff(values, bits):
    """A grey TIFF of 10, 12 or 14 bits without gaps, rows padded to bytes."""
    rows = b""
    for row in values:
        text = "".join(f"{value:0{bits}b}" for value in row)
        text += "0" * (-len(text) % 8)
        rows += int(text, 2).to_bytes(len(text) // 8, "big")
    return plain_tiff([rows], values.shape[1], values.shape[0], bits, 1)


def netpbm(kind, samples, top):
    """P1 to P7 of these samples (h, w, C), with a comment in the header."""
    height, width, channels = samples.shape
    if kind == 7:
        values = {"WIDTH": width, "HEIGHT": height, "DEPTH": channels, "MAXVAL": top}
        lines = "".join(f"{name} {value}\n" for name, value in values.items())
        head = f"P7\n# of a test\n{lines}TUPLTYPE RGB_ALPHA\nENDHDR\n"
    else:
        size = f"{width} {height}" + ("" if kind in (1, 4) else f"\n{top}")
        head = f"P{kind}\n# of a test\n{size}\n"
    if kind <= 3:
        return (head + " ".join(str(value) for value in samples.flat)).encode()
    if kind == 4:
        return head.encode() + np.packbits(samples[..., 0], axis=1).tobytes()
    return head.encode() + samples.astype("u1" if top < 256 else ">u2").tobytes()


def box(name, content):
    """A box of JPEG 2000 or JPEG XL."""
    return struct.pack(">I4s", 8 + len(content), name) + content


def jp2(samples, form="jp2", **options):
    """A lossless JPEG 2000: a file with boxes, or a bare codestream."""
    return imagecodecs.jpeg2k_encode(
        np.squeeze(samples), codecformat=form, reversible=True, **options
    )


def jpeg_xl(samples, **options):
    """A lossless JPEG XL, a bare codestream by default."""
    options = {"usecontainer": False, "lossless": True, **options}
    return imagecodecs.jpegxl_encode(np.squeeze(samples), **options)


def jxl_container(codestream, exif_box):
    """The boxes around a codestream, and one with EXIF data."""
    kind = box(b"ftyp", b"jxl \0\0\0\0jxl ")
    return box(b"JXL ", b"\r\n\x87\n") + kind + box(b"Exif", exif_box) + box(b"jxlc", codestream)


def heic(samples, mode, append=None, exif=None, **options):
    """A HEIC of these samples."""
    height, width, _ = samples.shape
    file = pillow_heif.from_bytes(mode, (width, height), samples.tobytes())
    if append is not None:
        file.add_frombytes(mode, (width, height), append.tobytes())
    if exif is not None:
        options["exif"] = b"Exif\0\0" + exif
    buffer = BytesIO()
    file.save(buffer, quality=100, **options)
    return buffer.getvalue()


def mosaic(height=32, width=48, exposure=1.0, black=256, white=4095, neutral=(0.5, 1.0, 0.6)):
    """Samples (h, w) of a colour filter array RGGB; grey grows from left to right."""
    rows, columns = np.mgrid[:height, :width]
    colour = np.array([[0, 1], [1, 2]])[rows % 2, columns % 2]
    light = exposure * (columns + 1) / width * np.array(neutral)[colour]
    return (black + light * (white - black)).clip(0, white).astype(np.uint16)


def dng(samples, orientation=1, black=256, white=4095, neutral=(0.5, 1.0, 0.6)):
    """A DNG of a colour filter array (h, w), or of linear colours (h, w, 3)."""

    def rationals(values):
        return tuple(part for value in values for part in (round(value * 10_000), 10_000))

    is_linear = samples.ndim == 3
    to_camera = [3.2406, -1.5372, -0.4986, -0.9689, 1.8758, 0.0415, 0.0557, -0.2040, 1.0570]
    tags = [
        (271, "s", 0, "Makers", True),
        (272, "s", 0, "Model 1", True),
        (274, "H", 1, orientation, True),
        (50706, "B", 4, (1, 4, 0, 0), True),
        (50707, "B", 4, (1, 1, 0, 0), True),
        (50708, "s", 0, "Makers Model 1", True),
        (50714, "H", samples.ndim // 3 * 2 + 1, (black,) * 3 if is_linear else black, True),
        (50717, "H", samples.ndim // 3 * 2 + 1, (white,) * 3 if is_linear else white, True),
        (50721, "2i", 9, rationals(to_camera), True),
        (50728, "2I", 3, rationals(neutral), True),
        (50778, "H", 1, 21, True),
    ]
    if not is_linear:
        tags += [(33421, "H", 2, (2, 2), True), (33422, "B", 4, (0, 1, 1, 2), True)]
    kind = {"photometric": 34892, "planarconfig": "contig"} if is_linear else {"photometric": 32803}
    return tiff(samples, extratags=sorted(tags), software=False, **kind)


def small_files():
    """One small valid file of every kind that is read, by name."""
    grey, colour = ramp(9, 12, 1), ramp(9, 12)
    wide, floats = ramp(9, 12, dtype="uint16"), ramp(9, 12, dtype="float32")
    rgba, block = ramp(9, 12, 4), exif(6)
    palette = Image.fromarray(colour).quantize(16)
    adam7 = cv2.imencode(".png", colour)[1].tobytes()
    rgb = {"photometric": "rgb"}
    return {
        "png 8": pillow(colour, "PNG", exif=block, icc_profile=ICC, dpi=(300, 300)),
        "png 16": cv2.imencode(".png", wide)[1].tobytes(),
        "png grey": pillow(grey, "PNG"),
        "png palette": pillow(palette, "PNG", transparency=3),
        "png alpha": pillow(rgba, "PNG"),
        "png sBIT": with_chunk(cv2.imencode(".png", wide)[1].tobytes(), b"sBIT", b"\x0c" * 3),
        "png interlaced": interlaced(adam7),
        "png animated": pillow(
            Image.fromarray(colour),
            "PNG",
            save_all=True,
            append_images=[Image.fromarray(255 - colour)],
        ),
        "jpeg baseline": pillow(colour, "JPEG", exif=block, icc_profile=ICC),
        "jpeg progressive": pillow(colour, "JPEG", progressive=True, dpi=(300, 300)),
        "jpeg grey": pillow(grey, "JPEG"),
        "tiff strips": tiff(colour, rowsperstrip=4, iccprofile=ICC, **rgb),
        "tiff tiles": tiff(colour, tile=(16, 16), **rgb),
        "tiff deflate": tiff(wide, compression="zlib", predictor=True, **rgb),
        "tiff lzw": lzw_tiff(colour, 2),
        "tiff zstd": tiff(wide, compression="zstd", predictor=True, **rgb),
        "tiff lerc": tiff(wide, compression="lerc", **rgb),
        "tiff lerc in zstd": tiff(floats, compression="lerc", compressionargs=IN_ZSTD, **rgb),
        "tiff jpeg 2000": tiff(wide, compression="jpeg2000", **rgb),
        "tiff jpeg xl": tiff(colour, compression="jpegxl", tile=(16, 16), **rgb),
        "tiff packbits": pillow(colour, "TIFF", compression="packbits"),
        "tiff exif": pillow(colour, "TIFF", exif=block, icc_profile=ICC, dpi=(300, 300)),
        "tiff jpeg": pillow(colour, "TIFF", compression="jpeg"),
        "tiff float": tiff(floats, **rgb),
        "tiff big-endian": tiff(wide, byteorder=">", **rgb),
        "tiff big": tiff(wide, bigtiff=True, **rgb),
        "tiff planes": tiff(np.moveaxis(wide, 2, 0), planarconfig="separate", **rgb),
        "tiff palette": pillow(palette, "TIFF"),
        "tiff 12 bit": packed_tiff(ramp(9, 12, 1, "uint16")[..., 0] >> 4, 12),
        "tiff alpha": tiff(rgba, extrasamples=("assocalpha",), **rgb),
        "bmp": pillow(colour, "BMP"),
        "bmp palette": pillow(palette, "BMP"),
        "bmp alpha": cv2.imencode(".bmp", rgba)[1].tobytes(),
        "pnm text": netpbm(3, colour, 255),
        "pnm": netpbm(6, wide >> 4, 4095),
        "pnm alpha": netpbm(7, rgba, 255),
        "gif": pillow(palette, "GIF", transparency=3),
        "jpeg 2000": jp2(wide >> 4, bitspersample=12),
        "jpeg 2000 grey codestream": jp2(grey, "j2k"),
        "jpeg 2000 alpha": pillow(rgba, "JPEG2000"),
        "jpeg xl": jpeg_xl(wide, usecontainer=True),
        "jpeg xl grey codestream": jpeg_xl(grey),
        "jpeg xl alpha": jpeg_xl(rgba),
        "jpeg xl float": jpeg_xl(floats),
        "jpeg xl exif": jxl_container(jpeg_xl(colour), bytes(4) + block),
        "heic": heic(ramp(16, 18), "RGB", exif=block, icc_profile=ICC),
        "raw dng": dng(mosaic()),
        "raw linear dng": dng(
            ramp(24, 26, dtype="uint16"), black=0, white=65535, neutral=(1, 1, 1)
        ),
        "webp lossy": pillow(colour, "WEBP", exif=block, icc_profile=ICC),
        "webp lossless": pillow(colour, "WEBP", lossless=True),
        "webp alpha": pillow(rgba, "WEBP"),
        "webp animated": pillow(
            Image.fromarray(colour),
            "WEBP",
            save_all=True,
            append_images=[Image.fromarray(255 - colour)],
        ),
    }


def interlaced(data):
    """The same colour PNG (8 bits) with its rows in the seven passes of Adam7."""
    pixels = np.asarray(seen(data).convert("RGB"))
    passes = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2)]
    rows = b""
    for top, left, down, across in [*passes, (1, 0, 2, 1)]:
        part = pixels[top::down, left::across]
        rows += b"".join(b"\0" + row.tobytes() for row in part if row.size)
    height, width, _ = pixels.shape
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 1)
    chunks = [(b"IHDR", head), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*one) for one in chunks)
