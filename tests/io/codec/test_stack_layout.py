"""Which pages of a TIFF make the stack, in which order, and what is refused."""

import struct
from io import BytesIO

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st

from dfp_batch.errors import ImageError
from dfp_batch.io.codec.pages import holds_stack
from pages_parts import (
    GREY,
    URL,
    assert_holds,
    frames,
    images,
    ome_file,
    ome_plane,
    ome_xml,
    refusal,
    written,
    written_apart,
)


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
        "has axes TZYX (5, 12, 20, 28): a time series; expected Z (Y, X), with C or RGB",
    ),
    "imagej time": (
        at_most(cube(5, 20, 28), "TYX", imagej=True),
        "has axes TYX (5, 20, 28): a time series; expected Z (Y, X), with C or RGB; if T is the "
        "depth, --stack-axis T",
    ),
    "tifffile time": (
        at_most(cube(5, 20, 28), "TYX"),
        "has axes TYX (5, 20, 28): a time series; expected Z (Y, X), with C or RGB; if T is the "
        "depth, --stack-axis T",
    ),
    "channels alone": (
        at_most(cube(3, 20, 28), "CYX", ome=True),
        "has axes CYX (3, 20, 28): several channels; expected Z (Y, X), with C or RGB",
    ),
    "mosaic": (
        at_most(cube(2, 4, 20, 28), "MZYX"),
        "has axes MZYX (2, 4, 20, 28): a mosaic; expected Z (Y, X), with C or RGB",
    ),
    "unknown axes": (
        written(cube(2, 4, 20, 28), metadata={"axes": "QQYX"}),
        "has axes QQYX (2, 4, 20, 28): several stacks; expected Z (Y, X), with C or RGB",
    ),
    "another axis": (
        at_most(cube(4, 20, 28), "HYX"),
        "has axes HYX (4, 20, 28): an axis H; expected Z (Y, X), with C or RGB",
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
        "has axes ZAYX (2, 2, 20, 28): an axis A; expected Z (Y, X), with C or RGB",
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
    "volume": (
        written_apart([images(3), images(3)], volumetric=True, tile=(3, 16, 16)),
        " page 0: stores bits or planes in an unusual order; save it again",
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
