"""Stacks of ImageJ that hold fewer images than they promise: those that are there are read."""

from io import BytesIO

import numpy as np
import pytest
import tifffile

from dfp_batch.errors import ImageError
from dfp_batch.io.codec.pages import holds_stack, open_pages
from pages_parts import URL, images, refusal, written, written_apart

PIXELS = images(5)
IMAGEJ = {"imagej": True, "metadata": {"axes": "ZYX"}}


def found(data):
    """The images of a stack, and what is said of it."""
    with open_pages(BytesIO(data), URL) as pages:
        return [pages.frame(k).pixels[..., 0] for k in range(len(pages))], pages.notes


def assert_holds_first(data, count, promised):
    images_there, notes = found(data)
    np.testing.assert_array_equal(images_there, PIXELS[:count])
    said = f"holds {count} of the {promised} pages that its description names; it is not whole"
    assert notes == (said,)
    assert holds_stack(BytesIO(data), URL)


def start_and_size(data):
    with tifffile.TiffFile(BytesIO(data)) as tiff:
        return tiff.pages[0].dataoffsets[0], tiff.pages[0].nbytes


def promising(data, count):
    """The same file with a description that names more images."""
    return data.replace(b"images=5", b"images=%d" % count).replace(
        b"slices=5", b"slices=%d" % count
    )


def test_a_whole_stack_needs_no_note():
    images_there, notes = found(written(PIXELS, **IMAGEJ).getvalue())
    assert (len(images_there), notes) == (5, ())


@pytest.mark.parametrize("layout", [{}, {"truncate": True}])
@pytest.mark.parametrize(("images_kept", "more"), [(2, 0), (2, 10), (3, 1), (4, -1), (5, 0)])
def test_a_stack_that_was_cut_off_is_read_as_far_as_it_goes(layout, images_kept, more):
    data = written(PIXELS, **IMAGEJ, **layout).getvalue()
    start, size = start_and_size(data)
    cut = data[: start + images_kept * size + more]
    if layout and images_kept == 5:
        assert found(cut)[1] == ()  # nothing comes after the pixels
    else:
        assert_holds_first(cut, images_kept - (more < 0), 5)


@pytest.mark.parametrize("layout", [{}, {"truncate": True}])
def test_images_that_were_promised_but_never_written_are_done_without(layout):
    assert_holds_first(promising(written(PIXELS, **IMAGEJ, **layout).getvalue(), 9), 5, 9)


@pytest.mark.parametrize("compression", [None, "zlib"])
def test_pages_one_after_the_other_are_read_as_far_as_they_go(compression):
    description = "ImageJ=1.53\nimages=5\nslices=5\n"
    data = written_apart(PIXELS, description, compression=compression).getvalue()
    assert_holds_first(promising(data, 9), 5, 9)
    with tifffile.TiffFile(BytesIO(data)) as tiff:
        fourth = tiff.pages[3]
    assert_holds_first(data[: fourth.offset + 4], 3, 5)
    [at] = fourth.dataoffsets
    kept = 3 if at > fourth.offset else 4  # its pixels are cut off, or the page behind them
    assert_holds_first(data[: max(at, fourth.offset) + 200], kept, 5)


def test_one_image_is_too_few():
    data = written(PIXELS, **IMAGEJ).getvalue()
    start, size = start_and_size(data)
    assert refusal(BytesIO(data[: start + 2 * size - 1])).startswith("breaks off after 1 page")
    with pytest.raises(ImageError, match="breaks off after 1 page"):
        holds_stack(BytesIO(data[: start + 2 * size - 1]), URL)


@pytest.mark.parametrize("more", ["frames=3\n", "channels=3\n"])
def test_which_images_of_several_axes_are_missing_is_not_guessed(more):
    description = f"ImageJ=1.53\nimages=9\nslices=3\n{more}hyperstack=true\n"
    text = refusal(written_apart(PIXELS, description))
    assert text.startswith("does not hold the pages that its description names")


def test_pages_that_differ_are_refused_all_the_same():
    pages = [*PIXELS[:3], PIXELS[3][:-1], PIXELS[4]]
    text = refusal(written_apart(pages, "ImageJ=1.53\nimages=9\nslices=9\n"))
    assert "must be alike" in text or text.startswith("does not hold the pages")


def test_another_program_may_not_promise_too_much():
    data = written(PIXELS, metadata={"axes": "ZYX"}).getvalue()
    start, size = start_and_size(data)
    assert refusal(BytesIO(data[: start + 3 * size])).startswith("breaks off after 1 page")
