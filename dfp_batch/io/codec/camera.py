"""Which camera, lens and aperture took a photograph, as its EXIF data say."""

from dfp_batch.io.codec import exif

_MAKE, _MODEL, _LENS, _F_NUMBER = 0x010F, 0x0110, 0xA434, 0x829D
_LONGEST = 80  # of each text


def camera_name(block: bytes | None) -> str:
    """Such as "Canon EOS R5, RF100mm F2.8, f/8".

    Args:
        block: EXIF data, or None.

    Returns:
        One line; what is not known is left out, and "" if nothing is.
    """
    if block is None:
        return ""
    fields = exif.fields_of(block)
    make, model, lens = (_text(fields.get(tag)) for tag in (_MAKE, _MODEL, _LENS))
    maker = make.split(" ")[0].lower()
    body = model if model.lower().startswith(maker) else f"{make} {model}"
    return ", ".join(filter(None, [body.strip(), lens, _aperture(block)]))


def _text(field: exif.Entry | None) -> str:
    text = "" if field is None else field.data.decode("utf-8", "replace").partition("\0")[0]
    printable = "".join(c if c.isprintable() else " " for c in text)
    return " ".join(printable.split())[:_LONGEST].rstrip()


def _aperture(block: bytes) -> str:
    """Such as "f/5.6"; "" of a lens that does not tell the camera."""
    number = round(float(exif.ratio_of(block, _F_NUMBER)), 1)
    return f"f/{number:g}" if number else ""
