import struct
from io import BytesIO

import cv2
import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from dfp_batch.errors import ImageError, StorageError
from dfp_batch.io.codec.pages import holds_stack, open_pages
from dfp_batch.io.storage import join, open_seekable, write_bytes

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


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_grey_stack_in_every_layout(layout, dtype):
    pixels = images(dtype=dtype)
    assert_holds(written(pixels, **LAYOUTS[layout]), pixels)


COLOUR_LAYOUTS = {
    "plain": {},
    "deflated tiles": {"compression": "zlib", "tile": (16, 16), "predictor": True},
    "ome": {"ome": True, "metadata": {"axes": "ZYXS"}},
    "imagej": {"imagej": True, "metadata": {"axes": "ZYXS"}},
    "imagej, one page for all": {
        "imagej": True,
        "truncate": True,
        "metadata": {"axes": "ZYXS"},
    },
}


@pytest.mark.parametrize("layout", COLOUR_LAYOUTS)
def test_a_colour_stack(layout):
    pixels = images(dtype="uint8", channels=3)
    assert_holds(written(pixels, **COLOUR_LAYOUTS[layout]), pixels)


@pytest.mark.parametrize("compression", ["zstd", "lerc", "jpeg2000", "jpegxl"])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_stack_in_every_compression_of_imagecodecs(compression, channels):
    pixels = images(channels=channels)
    arguments = {"lossless": True} if compression == "jpegxl" else {}
    options = {"compression": compression, "compressionargs": arguments, "tile": (16, 16)}
    assert_holds(written(pixels, **options), pixels)


@pytest.mark.parametrize("channels", [1, 3])
def test_lzw_as_opencv_writes_it(channels):
    pixels = images(dtype="uint8", channels=channels)
    reversed_ = [np.ascontiguousarray(page[..., ::-1]) for page in pixels]
    pages = reversed_ if channels == 3 else list(pixels)
    done, data = cv2.imencodemulti(".tiff", pages, (cv2.IMWRITE_TIFF_COMPRESSION, 5))
    assert done
    assert_holds(BytesIO(data.tobytes()), pixels)


@pytest.mark.parametrize(
    "options",
    [{}, {"compression": "zlib", "tile": (16, 16)}, {"ome": True}, {"truncate": True}],
)
def test_separate_colour_planes_are_put_together(options):
    pixels = images(dtype="uint8", channels=3)
    planes = np.ascontiguousarray(np.moveaxis(pixels, -1, 1))
    metadata = {"metadata": {"axes": "ZSYX"}} if "ome" in options else {}
    file = written(planes, planarconfig="separate", **{**RGB, **options, **metadata})
    assert_holds(file, pixels)


def test_jpeg_pages_are_nearly_the_same():
    flat = [np.full((32, 48, 3), (200, 90, level), np.uint8) for level in (10, 60)]
    pages = [np.ascontiguousarray(page[..., ::-1]) for page in flat]
    data = cv2.imencodemulti(".tiff", pages, (cv2.IMWRITE_TIFF_COMPRESSION, 7))[1]
    found = [frame.pixels.astype(int) for frame in frames(BytesIO(data.tobytes()))]
    assert np.abs(np.subtract(found, flat)).max() <= 6


@pytest.mark.parametrize("compression", [None, "zlib"])
def test_what_a_page_says_of_its_pixels_is_kept(compression):
    tags = [(274, "H", 1, 6), (34675, "B", 5, b"a icc"), (281, "H", 1, 4095)]
    file = written_apart(images(3) // 16, compression=compression, extratags=tags)
    for frame, stored in zip(frames(file), images(3) // 16, strict=True):
        np.testing.assert_array_equal(frame.pixels[..., 0], np.rot90(stored, -1))
        assert frame.metadata.icc == b"a icc"
        assert frame.white == 4095


@pytest.mark.parametrize("bigtiff", [True, False])
@pytest.mark.parametrize("order", ["<", ">"])
def test_what_a_page_says_of_the_photograph_is_kept(bigtiff, order):
    tags = [(271, "s", 0, "Makers", True), (33432, "s", 0, "(c) 2026", True)]
    file = BytesIO()
    with tifffile.TiffWriter(file, bigtiff=bigtiff, byteorder=order) as writer:
        for page in images(2):
            writer.write(page, metadata=None, extratags=tags, software="A camera", **GREY)
    for frame in frames(file):
        found = Image.Exif()
        found.load(b"Exif\0\0" + frame.metadata.exif)
        assert dict(found) == {271: "Makers", 305: "A camera", 33432: "(c) 2026"}
        assert frame.metadata.exif[:2] == {"<": b"II", ">": b"MM"}[order]


def test_the_size_of_a_pixel_turns_with_the_image():
    tags = [(274, "H", 1, 6)]
    options = {"resolution": (5, 4), "metadata": {"axes": "ZYX", "unit": "um"}}
    [frame, *_] = frames(written(images(), imagej=True, extratags=tags, **options))
    assert frame.metadata.pixel_size_um == pytest.approx((0.25, 0.2))


def test_the_resolution_of_plain_pages_is_kept():
    file = written_apart(images(3), resolution=(1000, 500), resolutionunit="centimeter")
    [size] = {frame.metadata.pixel_size_um for frame in frames(file)}
    assert size == pytest.approx((10, 20))


def test_alpha_is_kept_apart():
    pixels = np.concatenate([images(3, "uint8", channels=3), images(3, "uint8")[..., None]], -1)
    file = written(pixels, photometric="rgb", extrasamples=["unassalpha"])
    for frame, page in zip(frames(file), pixels, strict=True):
        np.testing.assert_array_equal(frame.pixels, page[..., :3])
        np.testing.assert_array_equal(frame.alpha, page[..., 3])


def test_float64_becomes_float32():
    pixels = images(dtype="float64")
    found = [frame.pixels[..., 0] for frame in frames(written(pixels))]
    np.testing.assert_array_equal(found, pixels.astype(np.float32))


def test_many_small_pages():
    pixels = images(120, "uint8", 16, 16)
    assert_holds(written_apart(pixels), pixels)


def test_pages_that_were_written_one_by_one():
    file, pixels = BytesIO(), images()
    with tifffile.TiffWriter(file) as writer:
        for page in pixels:
            writer.write(page, **GREY)  # each is a series of its own
    assert_holds(file, pixels)


@given(order=st.permutations(range(4)), bigtiff=st.booleans())
@settings(max_examples=15, deadline=None)
def test_ome_planes_come_in_the_order_of_z(order, bigtiff):
    pixels = images(4)
    planes = [ome_plane(z, page) for page, z in enumerate(order)]
    stored = [pixels[z] for z in order]
    description = ome_xml(planes, (1, 1, 4, *pixels.shape[1:]))
    assert_holds(written_apart(stored, description, bigtiff=bigtiff), pixels)


def test_only_the_full_resolution_of_an_ome_pyramid_counts():
    file, pixels = BytesIO(), images()
    with tifffile.TiffWriter(file, ome=True) as writer:
        writer.write(pixels, subifds=1, metadata={"axes": "ZYX"}, **GREY)
        writer.write(pixels[:, ::2, ::2], subfiletype=1, **GREY)
    assert_holds(file, pixels)


@pytest.mark.parametrize("first", [True, False])
def test_thumbnails_are_passed_over(first):
    file, pixels = BytesIO(), images(3)
    with tifffile.TiffWriter(file) as writer:
        for page in pixels:
            options = {"metadata": None, **GREY}
            if first:
                writer.write(page[::2, ::2], subfiletype=1, **options)
            writer.write(page, **options)
            if not first:
                writer.write(page[::2, ::2], subfiletype=1, **options)
    assert_holds(file, pixels)


def test_one_image_and_its_thumbnail_are_no_stack():
    file, pixels = BytesIO(), images(1)[0]
    with tifffile.TiffWriter(file) as writer:
        writer.write(pixels, metadata=None, **GREY)
        writer.write(pixels[::2, ::2], subfiletype=1, metadata=None, **GREY)
    assert refusal(file).startswith("holds 1 page: ")
    assert not holds_stack(file, URL)


@pytest.mark.parametrize(
    "options",
    [{}, {"metadata": None}, {"ome": True}, {"imagej": True}, {"description": "a cell"}],
)
def test_one_page_is_no_stack(options):
    file = written(images(1)[0], **options)
    assert refusal(file) == (
        "holds 1 page: a pair needs 2 or more sources, or one TIFF with 2 or more pages"
    )
    assert not holds_stack(file, URL)


def at_most(pixels, axes, **options):
    return written(pixels, metadata={"axes": axes}, **options)


def cube(*shape):
    return np.zeros(shape, np.uint8)


AXES = {
    "ome time": (
        at_most(cube(5, 12, 20, 28), "TZYX", ome=True),
        "has axes TZYX (5, 12, 20, 28): a time series; expected Z (Y, X) with optional RGB",
    ),
    "imagej time": (
        at_most(cube(5, 20, 28), "TYX", imagej=True),
        "has axes TYX (5, 20, 28): a time series; expected Z (Y, X) with optional RGB",
    ),
    "tifffile time": (
        at_most(cube(5, 20, 28), "TYX"),
        "has axes TYX (5, 20, 28): a time series; expected Z (Y, X) with optional RGB",
    ),
    "ome channels": (
        at_most(cube(4, 2, 20, 28), "ZCYX", ome=True),
        "has axes ZCYX (4, 2, 20, 28): several channels; expected Z (Y, X) with optional RGB",
    ),
    "imagej three channels that are no RGB": (
        at_most(cube(4, 3, 20, 28), "ZCYX", imagej=True),
        "has axes ZCYX (4, 3, 20, 28): several channels; expected Z (Y, X) with optional RGB",
    ),
    "channels alone": (
        at_most(cube(3, 20, 28), "CYX", ome=True),
        "has axes CYX (3, 20, 28): several channels; expected Z (Y, X) with optional RGB",
    ),
    "mosaic": (
        at_most(cube(2, 4, 20, 28), "MZYX"),
        "has axes MZYX (2, 4, 20, 28): a mosaic; expected Z (Y, X) with optional RGB",
    ),
    "unknown axes": (
        written(cube(2, 4, 20, 28), metadata={"axes": "QQYX"}),
        "has axes QQYX (2, 4, 20, 28): several stacks; expected Z (Y, X) with optional RGB",
    ),
    "another axis": (
        at_most(cube(4, 20, 28), "HYX"),
        "has axes HYX (4, 20, 28): an axis H; expected Z (Y, X) with optional RGB",
    ),
    "angles of OME": (
        written_apart(
            cube(4, 20, 28),
            ome_xml([ome_plane(z, z) for z in range(4)], (1, 1, 4, 20, 28)).replace(
                "</Image>",
                '<AnnotationRef ID="A:0"/></Image><StructuredAnnotations><XMLAnnotation ID="A:0" '
                'Namespace="openmicroscopy.org/omero/dimension/modulo"><Value><Modulo>'
                '<ModuloAlongZ Type="angle" Start="0" End="1" Step="1"/></Modulo></Value>'
                "</XMLAnnotation></StructuredAnnotations>",
            ),
        ),
        "has axes ZAYX (2, 2, 20, 28): an axis A; expected Z (Y, X) with optional RGB",
    ),
}


@pytest.mark.parametrize("case", AXES)
def test_another_axis_than_depth_is_refused_by_name(case):
    file, message = AXES[case]
    assert refusal(file) == message


def test_several_positions_are_refused():
    file = BytesIO()
    with tifffile.TiffWriter(file, ome=True) as writer:
        for _ in range(2):
            writer.write(images(3), metadata={"axes": "ZYX"}, **GREY)
    assert refusal(file) == (
        "holds 2 images or positions, ZYX (3, 20, 28), ZYX (3, 20, 28); expected one stack"
    )


def ome_file(planes, n_pages=3, **options):
    """Three planes along Z, as the TiffData elements place them."""
    return written_apart(images(n_pages), ome_xml(planes, (1, 1, 3, 20, 28), **options))


OME = {
    "missing plane": (
        ome_file([ome_plane(0, 0), ome_plane(2, 1)]),
        "lacks 1 of 3 pages that its description names: 1",
    ),
    "fewer pages than described": (
        ome_file(['<TiffData IFD="0" PlaneCount="3"/>'], n_pages=2),
        "lacks 1 of 3 pages that its description names: 2",
    ),
    "planes beyond the depth": (
        ome_file([ome_plane(z, z) for z in (3, 4, 5)]),
        "does not hold the pages that its description names: truncated or damaged",
    ),
    "no planes": (
        ome_file([]),
        "does not hold the pages that its description names: truncated or damaged",
    ),
    "other size": (
        written_apart(images(3), ome_xml([ome_plane(z, z) for z in range(3)], (1, 1, 3, 20, 30))),
        "does not hold the pages that its description names: truncated or damaged",
    ),
    "several files": (
        ome_file(
            [
                ome_plane(z, z, f'<UUID FileName="{name}.ome.tif">urn:uuid:{name}</UUID>')
                for z, name in enumerate(("own", "two", "three"))
            ]
        ),
        "is one of several files of an OME-TIFF (own.ome.tif, three.ome.tif, two.ome.tif), "
        "expected one file with the whole stack; save it as one, or list the files as sources",
    ),
    "another file alone": (
        ome_file(
            [ome_plane(z, z, '<UUID FileName="x.tif">urn:uuid:other</UUID>') for z in range(3)]
        ),
        "is one of several files of an OME-TIFF (x.tif), expected one file with the whole stack; "
        "save it as one, or list the files as sources",
    ),
    "companion": (
        ome_file([], inner='<BinaryOnly MetadataFile="x.companion.ome" UUID="urn:uuid:x"/>'),
        "is described in another file (BinaryOnly), expected one file with the whole stack",
    ),
    "xml": (
        written_apart(images(3), '<?xml version="1.0"?><OME><Image></OME>'),
        "is not a whole TIFF (mismatched tag: line 1, column 35)",
    ),
}


@pytest.mark.parametrize("case", OME)
def test_an_ome_tiff_without_the_whole_stack_is_refused(case):
    file, message = OME[case]
    assert refusal(file) == message


def test_a_renamed_ome_tiff_is_read_without_looking_for_its_old_name(tmp_path):
    (tmp_path / "old.ome.tif").write_bytes(b"must not be opened")
    inside = '<UUID FileName="old.ome.tif">urn:uuid:own</UUID>'
    file = ome_file([ome_plane(z, 2 - z, inside) for z in range(3)])
    (tmp_path / "new.ome.tif").write_bytes(file.getvalue())
    with open(tmp_path / "new.ome.tif", "rb") as local:
        found = [frame.pixels[..., 0] for frame in frames(local)]
    np.testing.assert_array_equal(found, images(3)[::-1])


def test_pages_that_differ_are_named():
    pages = [*images(2), images(1, height=19)[0]]
    assert refusal(written_apart(pages)) == (
        "page 2 is 28x19 px, 1 channel of 16-bit uint16, page 0 is 28x20 px, 1 channel of 16-bit "
        "uint16; all pages of a stack must be alike"
    )
    pages = [images(1)[0], images(1, dtype="uint8")[0]]
    assert refusal(written_apart(pages)).startswith(
        "page 1 is 28x20 px, 1 channel of 8-bit uint8, page 0 is 28x20 px, 1 channel of 16-bit "
    )


def patched(file, code, value, form="H"):
    """Change the value of a tag that fits its entry, in all pages."""
    data = bytearray(file.getvalue())
    with tifffile.TiffFile(BytesIO(bytes(data))) as tiff:
        for page in tiff.pages:
            struct.pack_into("<" + form, data, page.tags[code].valueoffset, value)
    return BytesIO(bytes(data))


def test_packed_samples_of_12_bits():
    pixels = images(3) // 16
    even, odd = pixels[..., ::2], pixels[..., 1::2]
    packed = np.stack([even >> 4, (even & 15) << 4 | odd >> 8, odd & 255], -1).astype(np.uint8)
    file = written_apart(packed.reshape(3, 20, 42))
    file = patched(patched(file, 256, 28, "I"), 258, 12)
    assert_holds(file, pixels)
    assert {frame.white for frame in frames(file)} == {4095}


PLAIN = written_apart(images(3))
UNREADABLE = {
    "lzma": (
        patched(PLAIN, 259, 34925),
        " page 0: is compressed by LZMA, expected none, LZW, deflate, packbits, JPEG, ZSTD, LERC, ",
    ),
    "too large": (
        patched(patched(PLAIN, 256, 20_001, "I"), 257, 20_000, "I"),
        " page 0: is 20001x20000 px, expected at most 400,000,000 px; cut it into parts",
    ),
    "int16": (
        written(np.zeros((3, 20, 28), np.int16)),
        " page 0: holds 16-bit int16 samples, expected uint8, uint16 or float32; convert it",
    ),
    "volume": (
        written_apart([images(3), images(3)], volumetric=True, tile=(3, 16, 16)),
        " page 0: stores bits or planes in an unusual order; save it again",
    ),
    "inverted": (
        written(images(3), photometric="miniswhite"),
        " page 0: holds MINISWHITE pixels, expected grey (black is 0) or RGB; convert it",
    ),
    "float range": (
        written(2 * images(3, "float32") + 1),
        " page 0: float samples must be in [0, 1], found 1",
    ),
}


@pytest.mark.parametrize("case", UNREADABLE)
def test_pages_that_cannot_be_decoded_are_refused(case):
    file, message = UNREADABLE[case]
    with pytest.raises(ImageError) as caught:
        frames(file)
    assert str(caught.value).startswith(URL + message)


@pytest.mark.parametrize("code", [273, 279])
def test_pixels_that_were_never_written_are_missed(code):
    file = patched(written_apart(images(3)), code, 0, "I")
    message = " page 0: lacks 1 of 1 pieces of its pixels: not written to the end"
    assert refusal(file) == message


class Watched(BytesIO):
    """A file that records which of its bytes were read."""

    def __init__(self, data):
        super().__init__(data)
        self.ranges = []

    def read(self, size=-1):
        start = self.tell()
        data = super().read(size)
        self.ranges.append((start, start + len(data)))
        return data

    def readinto(self, buffer):
        start = self.tell()
        count = super().readinto(buffer)
        self.ranges.append((start, start + count))
        return count

    def taken(self):
        """Number of bytes read since the last time, and the longest read."""
        counts = [end - start for start, end in self.ranges]
        self.ranges = []
        return sum(counts), max(counts)


BIG = {
    "plain": (written_apart, {}),
    "deflate": (written_apart, {"compression": "zlib"}),
    "zstd tiles": (written_apart, {"compression": "zstd", "tile": (64, 64)}),
    "jpeg 2000": (written_apart, {"compression": "jpeg2000"}),
    "ome": (written, LAYOUTS["ome"]),
    "imagej, one page for all": (written, LAYOUTS["imagej, one page for all"]),
}


@pytest.mark.parametrize("layout", BIG)
def test_one_page_is_read_and_no_other(layout):
    write, options = BIG[layout]
    pixels = images(6, height=200, width=300)
    file = Watched(write(pixels, **options).getvalue())
    with open_pages(file, URL) as pages:
        opening, _ = file.taken()
        np.testing.assert_array_equal(pages.frame(4).pixels[..., 0], pixels[4])
        reading, longest = file.taken()
    assert opening < 20_000
    assert longest <= 1.1 * pixels[4].nbytes  # noise does not shrink
    assert reading < 1.1 * pixels[4].nbytes + 20_000


def test_to_see_a_stack_takes_two_pages():
    file = Watched(written_apart(images(40, "uint8", 100, 100)).getvalue())
    assert holds_stack(file, URL)
    assert file.taken()[0] < 5_000


def test_a_stack_in_a_store(s3_url, tmp_path):
    pixels = images(4)
    for url in (join(s3_url, "pages", "stack.tif"), str(tmp_path / "stack.tif")):
        write_bytes(url, written(pixels, ome=True, metadata={"axes": "ZYX"}).getvalue())
        with open_seekable(url) as file, open_pages(file, url) as pages:
            assert len(pages) == 4
            np.testing.assert_array_equal(pages.frame(3).pixels[..., 0], pixels[3])
        with open_seekable(url) as file:
            assert holds_stack(file, url)


class Failing(BytesIO):
    """A file in a store that fails after some reads."""

    left = 0

    def read(self, size=-1):
        self.left -= 1
        if self.left < 0:
            raise StorageError("the store is down")
        return super().read(size)


@pytest.mark.parametrize("reads", [0, 3, 10, 30])
def test_a_store_that_fails_is_not_a_damaged_file(reads):
    file = Failing(written(images(), ome=True).getvalue())
    file.left = reads
    with pytest.raises(StorageError, match="the store is down"):
        frames(file)


def test_closing_the_pages_leaves_the_file_open():
    file = written(images())
    with open_pages(file, URL) as pages:
        assert len(pages) == 5
    assert not file.closed


@pytest.mark.parametrize("k", [5, 50])
def test_there_is_no_page_beyond_the_last(k):
    with open_pages(written(images()), URL) as pages, pytest.raises(IndexError):
        pages.frame(k)


MEASURES = {
    "ome": ({"PhysicalSizeX": 0.325, "PhysicalSizeY": 0.5}, (0.325, 0.5)),
    "nanometres": (
        {"PhysicalSizeX": 65, "PhysicalSizeXUnit": "nm", "PhysicalSizeY": 0.065},
        (0.065, 0.065),
    ),
    "millimetres": (
        {
            "PhysicalSizeX": 0.001,
            "PhysicalSizeXUnit": "mm",
            "PhysicalSizeY": 0.002,
            "PhysicalSizeYUnit": "mm",
        },
        (1, 2),
    ),
    "no size": ({}, None),
    "one side": ({"PhysicalSizeX": 1}, None),
    "pixels": ({"PhysicalSizeX": 1, "PhysicalSizeXUnit": "pixel", "PhysicalSizeY": 1}, None),
    "zero": ({"PhysicalSizeX": 0, "PhysicalSizeY": 1}, None),
    "infinite": ({"PhysicalSizeX": "INF", "PhysicalSizeY": 1}, None),
}


@pytest.mark.parametrize("case", MEASURES)
def test_the_size_of_a_pixel_comes_from_ome(case):
    attributes, expected = MEASURES[case]
    file = ome_file([ome_plane(z, z) for z in range(3)], **attributes)
    [size] = {frame.metadata.pixel_size_um for frame in frames(file)}
    assert size == (expected and pytest.approx(expected))


@pytest.mark.parametrize(
    ("unit", "expected"),
    [
        ("um", (0.2, 0.25)),
        ("micron", (0.2, 0.25)),
        ("\\u00B5m", (0.2, 0.25)),
        ("mm", (200, 250)),
        ("pixel", None),
        ("furlong", None),
    ],
)
def test_the_size_of_a_pixel_comes_from_imagej(unit, expected):
    options = {"resolution": (5, 4), "metadata": {"axes": "ZYX", "unit": unit}}
    [size] = {
        frame.metadata.pixel_size_um for frame in frames(written(images(), imagej=True, **options))
    }
    assert size == (expected and pytest.approx(expected))


@pytest.mark.parametrize(
    ("bits", "dtype", "white"),
    [(12, "uint16", 4095), (16, "uint16", None), (7, "uint8", None), (12, "float32", None)],
)
def test_significant_bits_of_ome_say_what_is_white(bits, dtype, white):
    pixels = images(dtype=dtype) // 16 if dtype == "uint16" else images(dtype=dtype)
    file = written(pixels, ome=True, metadata={"axes": "ZYX", "SignificantBits": bits})
    assert {frame.white for frame in frames(file)} == {white}


@pytest.mark.parametrize("kept", [0, 1, 7, 8, 100, 3000, -1000, -100])
@pytest.mark.parametrize("layout", ["without description", "ome", "imagej", "deflate"])
def test_a_truncated_stack_is_refused(layout, kept):
    data = written(images(), **LAYOUTS[layout]).getvalue()
    with pytest.raises(ImageError):
        frames(BytesIO(data[:kept]))


def test_a_ring_of_pages_is_refused():
    data = bytearray(written_apart(images(3)).getvalue())
    with tifffile.TiffFile(BytesIO(bytes(data))) as tiff:
        struct.pack_into("<I", data, tiff.pages.next_page_offset, tiff.pages[1].offset)
    message = "breaks off after 3 pages: truncated or damaged"
    assert refusal(BytesIO(bytes(data))) == message


WHOLE = {
    layout: written(images(3), **LAYOUTS[layout]).getvalue()
    for layout in ("without description", "ome", "imagej, one page for all", "deflated tiles")
} | {
    compression: written(images(3, "uint8"), compression=compression, tile=(16, 16)).getvalue()
    for compression in ("jpeg", "zstd", "lerc", "jpeg2000", "jpegxl")
}


@given(
    layout=st.sampled_from(sorted(WHOLE)), place=st.floats(0, 0.999), value=st.binary(min_size=1)
)
@settings(max_examples=300, deadline=None)
def test_damage_is_an_image_error_or_a_stack(layout, place, value):
    data = bytearray(WHOLE[layout])
    at = int(place * len(data))
    data[at : at + len(value)] = value
    for look in (frames, lambda file: holds_stack(file, URL)):
        try:
            look(BytesIO(bytes(data)))
        except ImageError as error:
            assert str(error).startswith(URL)
