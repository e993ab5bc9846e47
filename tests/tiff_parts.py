"""What tests of tiff share."""

import pytest

from dfp_batch.errors import ImageError
from dfp_batch.io.codec import decode

URL = "s3://archive/stack.tif"


RGB = {"photometric": "rgb"}


def failure(data: bytes) -> str:
    with pytest.raises(ImageError) as caught:
        decode(data, URL)
    text = str(caught.value)
    assert text.startswith(f"{URL}: ")
    assert "\n" not in text
    return text.removeprefix(f"{URL}: ")


LAYOUTS = {
    "strips": {"rowsperstrip": 4},
    "tiles": {"tile": (16, 32)},
    "one strip": {"rowsperstrip": 100},
    "separate planes": {"planarconfig": "separate", "rowsperstrip": 4},
    "separate tiles": {"planarconfig": "separate", "tile": (16, 16)},
}
