"""What tests of files share."""

from PIL import Image

from codec_samples import pillow, ramp, small_files, tiff
from dfp_batch.io.codec.names import FORMATS

URL = "s3://archive/lot 7/a.png"


REFUSED = {
    "empty": (b"", "is empty (0 bytes), expected an image"),
    "text": (
        b"hello world",
        f"does not start like a {FORMATS} image: b'hello wo'..., 11 bytes",
    ),
    "cmyk jpeg": (
        pillow(Image.new("CMYK", (9, 7)), "JPEG"),
        "holds CMYK pixels, expected grey or RGB; convert it to RGB",
    ),
    "cmyk tiff": (
        pillow(Image.new("CMYK", (9, 7)), "TIFF"),
        "holds CMYK pixels, expected grey or RGB; convert it to RGB",
    ),
    "animated png": (
        small_files()["png animated"],
        "holds 2 frames of an animation, expected one image; save each frame as its own file",
    ),
    "animated webp": (
        small_files()["webp animated"],
        "holds 2 frames of an animation, expected one image; save each frame as its own file",
    ),
    "12-bit jpeg": (
        small_files()["jpeg grey"].replace(b"\xff\xc0\0\x0b\x08", b"\xff\xc0\0\x0b\x0c"),
        "holds 12-bit samples in a JPEG, expected 8; save it as PNG or TIFF",
    ),
}


WHOLE = {
    "JPEG": pillow(ramp(), "JPEG"),
    "PNG": pillow(ramp(), "PNG"),
    "TIFF": tiff(ramp(dtype="uint16"), photometric="rgb"),
    "WebP": pillow(ramp(), "WEBP"),
}
