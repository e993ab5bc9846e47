"""What tests of pages share."""

from io import BytesIO

import numpy as np
import pytest
import tifffile

from dfp_batch.errors import ImageError
from dfp_batch.io.codec.pages import holds_stack, open_pages

URL = "s3://archive/lot 7/stack.ome.tif"


GREY = {"photometric": "minisblack"}


RGB = {"photometric": "rgb"}


def images(count=5, dtype="uint16", height=20, width=28, channels=1):
    """Pixels (count, height, width[, 3]); no two images look alike."""
    values = np.random.default_rng(7).random((count, height, width, channels))
    scale = 1 if np.dtype(dtype).kind == "f" else np.iinfo(dtype).max
    return (values * scale).astype(dtype).squeeze(-1 if channels == 1 else ())


def written(pixels, **options) -> BytesIO:
    file = BytesIO()
    tifffile.imwrite(file, pixels, **{**(RGB if pixels.shape[-1] == 3 else GREY), **options})
    return file


def written_apart(pages, description=None, **options) -> BytesIO:
    """One page after the other, with no description but the given one in the first."""
    file = BytesIO()
    with tifffile.TiffWriter(file, bigtiff=options.pop("bigtiff", False)) as writer:
        for number, page in enumerate(pages):
            text = description if number == 0 else None
            writer.write(page, description=text, metadata=None, **{**GREY, **options})
    return file


def frames(file):
    with open_pages(file, URL) as pages:
        return [pages.frame(k) for k in range(len(pages))]


def assert_holds(file, pixels):
    """The stack is these images in this order, and is seen to be one."""
    found = [frame.pixels for frame in frames(file)]
    np.testing.assert_array_equal(np.squeeze(found), pixels)
    assert found[0].dtype == pixels.dtype
    assert holds_stack(file, URL)


def refusal(file) -> str:
    with pytest.raises(ImageError) as caught:
        frames(file)
    text = str(caught.value)
    assert "\n" not in text
    assert text.startswith(URL)
    return text.removeprefix(URL).removeprefix(": ")


def ome_xml(planes, shape, inner="", **pixels) -> str:
    """OME-XML of one image; ``planes`` are the TiffData elements, ``shape`` is (T, C, Z, Y, X)."""
    sizes = dict(zip(("SizeT", "SizeC", "SizeZ", "SizeY", "SizeX"), shape, strict=True))
    attributes = " ".join(f'{name}="{value}"' for name, value in {**sizes, **pixels}.items())
    return (
        '<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" '
        f'UUID="urn:uuid:own">{inner}<Image ID="Image:0"><Pixels ID="Pixels:0" Type="uint16" '
        f'DimensionOrder="XYZCT" {attributes}><Channel ID="Channel:0" SamplesPerPixel="1"/>'
        f"{''.join(planes)}</Pixels></Image></OME>"
    )


def ome_plane(z, page, inside="") -> str:
    return f'<TiffData FirstZ="{z}" IFD="{page}" PlaneCount="1">{inside}</TiffData>'


LAYOUTS = {
    "as tifffile writes": {},
    "without description": {"metadata": None},
    "one page for all": {"truncate": True},
    "bigtiff": {"bigtiff": True},
    "big endian": {"byteorder": ">"},
    "big endian bigtiff": {"byteorder": ">", "bigtiff": True},
    "strips": {"rowsperstrip": 7},
    "tiles": {"tile": (16, 16)},
    "deflate": {"compression": "zlib", "rowsperstrip": 3},
    "deflated tiles": {"compression": "zlib", "tile": (16, 32), "bigtiff": True},
    "ome": {"ome": True, "metadata": {"axes": "ZYX"}},
    "ome, big endian tiles": {
        "ome": True,
        "byteorder": ">",
        "tile": (16, 16),
        "metadata": {"axes": "ZYX"},
    },
    "imagej": {"imagej": True, "metadata": {"axes": "ZYX"}},
    "imagej, one page for all": {"imagej": True, "truncate": True, "metadata": {"axes": "ZYX"}},
}


def ome_file(planes, n_pages=3, **options):
    """Three planes along Z, as the TiffData elements place them."""
    return written_apart(images(n_pages), ome_xml(planes, (1, 1, 3, 20, 28), **options))
