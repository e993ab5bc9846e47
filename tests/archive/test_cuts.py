"""Flat folders are cut into stacks by pauses, by count, or by what names say."""

from datetime import datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archive_parts import fill, left_out, picture, stacks, tiff
from codec_samples import exif_at, pillow, ramp
from dfp_batch.archive.cuts import Count, Names, Pause, cut, cut_of
from dfp_batch.archive.stacks import Image
from dfp_batch.errors import ConfigError, ManifestError
from dfp_batch.io.storage import write_bytes
from dfp_batch.io.urls import join

START = datetime(2026, 5, 1, 10, 0, 0)


@pytest.fixture
def root(tmp_path):
    return str(tmp_path / "DCIM")


def photograph(root, name, seconds):
    time = START + timedelta(seconds=seconds)
    write_bytes(join(root, name), pillow(ramp(), "JPEG", exif=exif_at(time)))


def test_a_pause_ends_a_stack_and_fractions_of_seconds_count(root):
    times = [0, 0.4, 0.8, 3.81, 4.2, 20.0, 22.9, 60.0]
    for number, seconds in enumerate(times, 9997):
        photograph(root, f"100CANON/IMG_{number % 10_000:04}.jpg", seconds)
    photograph(root, "101CANON/IMG_0006.jpg", 60.5)
    photograph(root, "101CANON/IMG_0007.jpg", 61.0)
    found = stacks(root, Pause(3))
    assert {name: [path[-8:-4] for path in paths] for name, paths in found.items()} == {
        "100CANON/IMG_9997": ["9997", "9998", "9999"],
        "100CANON/IMG_0000": ["0000", "0001"],  # a counter that begins anew
        "100CANON/IMG_0002": ["0002", "0003"],
        "101CANON/IMG_0006": ["0006", "0007"],
    }
    assert left_out(root, Pause(3)) == ["100CANON/IMG_0004.jpg: no other image within 3 s"]
    assert len(stacks(root, Pause(3.05))) == 3, "the pause of 3.01 s is none"


def test_images_without_a_time_are_named(root):
    photograph(root, "1.jpg", 0)
    photograph(root, "2.jpg", 1)
    write_bytes(join(root, "3.png"), picture(1))
    fill(root, "4.jpg")
    write_bytes(join(root, "stack.tif"), tiff(3))
    assert stacks(root, Pause(5)) == {"1": ["1.jpg", "2.jpg"], "stack": ["stack.tif"]}
    missing, damaged = left_out(root, Pause(5))
    assert missing == "3.png: has no EXIF time"
    assert damaged.startswith("4.jpg: does not start like a JPEG")


def test_where_nothing_has_a_time_the_folder_is_refused(root):
    write_bytes(join(root, "1.png"), picture(1))
    write_bytes(join(root, "2.png"), picture(1))
    with pytest.raises(ManifestError, match=r"holds no pair; .*; 1.png: has no EXIF time"):
        stacks(root, Pause(5))


def test_by_count_in_natural_order_each_folder_for_itself(root):
    fill(root, *(f"{number}.jpg" for number in range(1, 13)), "a/1.jpg", "a/2.jpg", "a/3.jpg")
    assert stacks(root, Count(5)) == {
        "1": ["1.jpg", "2.jpg", "3.jpg", "4.jpg", "5.jpg"],
        "6": ["6.jpg", "7.jpg", "8.jpg", "9.jpg", "10.jpg"],
    }
    assert left_out(root, Count(5)) == [
        "11.jpg to 12.jpg: 2 images are left over, not 5",
        "a/1.jpg to 3.jpg: 3 images are left over, not 5",
    ]
    assert left_out(root, Count(11)) == [
        "12.jpg: 1 image is left over, not 11",
        "a/1.jpg to 3.jpg: 3 images are left over, not 11",
    ]


def test_by_names(root):
    pattern = r"(?P<pair>.+)_z(?P<z>-?[\d.]+)"
    fill(root, "x_z10.jpg", "x_z9.jpg", "x_z-1.jpg", "x_z0.5.jpg", "a/b/y_z01.png", "a/b/y_z02.png")
    fill(root, "overview.jpg", "one_z1.jpg", "t_z1.jpg", "t_z1.png", "t_z2.jpg")
    assert stacks(root, Names(pattern)) == {
        "a/b/y": ["a/b/y_z01.png", "a/b/y_z02.png"],
        "x": ["x_z-1.jpg", "x_z0.5.jpg", "x_z9.jpg", "x_z10.jpg"],
    }
    assert left_out(root, Names(pattern)) == [
        "one_z1.jpg: is alone, at least 2 are needed",
        "overview.jpg: the name does not fit --group",
        "t_z1.jpg, t_z1.png, t_z2.jpg: 2 images of one pair have z 1, keep one",
    ]


def test_names_across_folders_and_without_a_place(root):
    fill(root, "plane_1/x.png", "plane_2/x.png", "plane_10/x.png", "plane_1/y.png", "plane_2/y.png")
    assert stacks(root, Names(r"plane_(?P<z>\d+)/(?P<pair>.+)")) == {
        "x": ["plane_1/x.png", "plane_2/x.png", "plane_10/x.png"],
        "y": ["plane_1/y.png", "plane_2/y.png"],
    }
    assert stacks(root, Names(r"plane_\d+/(?P<pair>.+)"))["x"] == [
        "plane_1/x.png",
        "plane_2/x.png",
        "plane_10/x.png",
    ]


GIVEN = [
    (("5s", None, None), Pause(5)),
    (("500 ms", None, None), Pause(0.5)),
    (("1.5min", None, None), Pause(90)),
    (("2", None, None), Pause(2)),
    ((None, 20, None), Count(20)),
    ((None, None, "(?P<pair>.)"), Names("(?P<pair>.)")),
    ((None, None, None), None),
]


@pytest.mark.parametrize(("given", "expected"), GIVEN)
def test_what_is_asked_for(given, expected):
    assert cut_of(*given) == expected


REFUSED = [
    (("5s", 20, None), "give one of --gap, --every and --group, got --gap and --every"),
    (("soon", None, None), "--gap must be a time like 5s, 500ms or 2min, got 'soon'"),
    (("0s", None, None), "--gap must be a time like 5s, 500ms or 2min, got '0s'"),
    ((None, 1, None), "--every must be at least 2, got 1"),
    (
        (None, None, "("),
        "--group must be a regular expression, got '(' (missing ), unterminated subpattern at "
        r"position 0); for example '(?P<pair>.+)_z(?P<z>\d+)'",
    ),
    (
        (None, None, "(?P<name>.+)(?P<z>.)"),
        "--group must be a regular expression with the groups pair and perhaps z, found name, z; "
        r"for example '(?P<pair>.+)_z(?P<z>\d+)'",
    ),
]


@pytest.mark.parametrize(("given", "text"), REFUSED)
def test_what_makes_no_sense_is_refused(given, text):
    with pytest.raises(ConfigError) as error:
        cut_of(*given)
    assert str(error.value) == text


@given(st.lists(st.floats(0, 1000), min_size=1, max_size=20), st.floats(0.01, 100))
def test_no_image_is_lost_and_no_pause_is_within_a_stack(seconds, gap):
    images = [Image(f"{number}.jpg") for number in range(len(seconds))]
    times = {
        image.path: START + timedelta(seconds=second)
        for image, second in zip(images, seconds, strict=True)
    }
    found = cut(images, Pause(gap), times)
    for stack in found.stacks:
        taken = [times[image.path] for image in stack.images]
        pauses = [later - earlier for earlier, later in pairwise(taken)]
        assert all(timedelta(0) <= pause <= timedelta(seconds=gap) for pause in pauses)
    assert sum(len(stack.images) for stack in found.stacks) + len(found.left_out) == len(images)


@given(st.integers(1, 60), st.integers(2, 20))
def test_counts_add_up(images, frames):
    found = cut([Image(f"{number}.jpg") for number in range(images)], Count(frames), {})
    assert {len(stack.images) for stack in found.stacks} <= {frames}
    assert len(found.stacks) == images // frames
    assert len(found.left_out) == (images % frames > 0)
