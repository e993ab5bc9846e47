"""What the stacks of a tree are made of, and what looks wrong with them."""

import os
import uuid

import numpy as np
import pytest

from archive_parts import fill, picture, scene, show, tiff
from conftest import write_image
from dfp_batch.archive.find import find_stacks
from dfp_batch.archive.heads import unmoved
from dfp_batch.archive.likeness import Likeness
from dfp_batch.archive.stacks import Image
from dfp_batch.archive.survey import survey
from dfp_batch.io.storage import write_bytes
from dfp_batch.io.urls import join


@pytest.fixture(params=["file", "s3"])
def root(request, tmp_path):
    if request.param == "file":
        return str(tmp_path / "archive")
    return f"{request.getfixturevalue('s3_url')}/{uuid.uuid4().hex}"


def rows(root, **options):
    return {row.pair_id: row for row in survey(find_stacks(root), unmoved, **options)}


def warnings(root):
    return {name: list(row.warnings) for name, row in rows(root).items() if row.warnings}


def test_frames_sizes_and_formats(root):
    show(root, {f"s/{number}.png": (1, float(number)) for number in range(3)})
    write_image(join(root, "p_A.jpg"), scene(2), "jpg")
    write_image(join(root, "p_B.jpg"), scene(2, 1.0), "jpg")
    write_bytes(join(root, "t.tif"), tiff(5))
    found = rows(root)
    assert [(one.frames, one.sizes, one.formats) for one in found.values()] == [
        (2, ("64x48",), ("JPEG",)),
        (3, ("64x48",), ("PNG",)),
        (5, ("16x16",), ("TIFF",)),
    ]
    assert found["t"].size_bytes == len(tiff(5))
    assert warnings(root) == {}


def test_frames_that_differ_or_cannot_be_read(root):
    show(root, {f"mixed/{number}.png": (1, float(number)) for number in range(3)})
    write_bytes(join(root, "mixed/3.png"), picture(1, size=(40, 64)))
    write_bytes(join(root, "mixed/4.jpg"), b"")
    write_image(join(root, "x_A.png"), scene(1))
    write_image(join(root, "x_B.png"), scene(1)[:, :, :1])
    assert warnings(root) == {
        "mixed": [
            "4.jpg is empty (0 bytes), expected an image",
            "frames differ: 3 have 64x48 px, 3 channels, 8 bit; "
            "3.png has 64x40 px, 3 channels, 8 bit",
        ],
        "x": [
            "frames differ: 1 have 64x48 px, 3 channels, 8 bit; "
            "x_B.png has 64x48 px, 1 channel, 8 bit"
        ],
    }


def test_frames_and_stacks_that_are_there_twice(root):
    show(root, {f"one/{number}.png": (1, float(number)) for number in range(3)})
    show(root, {f"copy/{number}_.png": (1, float(number)) for number in range(3)})
    show(root, {"two/a.png": (2, 0.0), "two/b.png": (2, 1.0), "two/c.png": (2, 0.0)})
    assert warnings(root) == {
        "one": ["holds the same frames as copy"],
        "two": ["a.png and c.png are one and the same"],
    }


def test_links_to_one_file_are_one_frame(tmp_path):
    root = str(tmp_path)
    show(root, {"s/1.png": (1, 0.0), "s/2.png": (1, 1.0)})
    os.link(tmp_path / "s" / "1.png", tmp_path / "s" / "3.png")
    assert warnings(root) == {"s": ["1.png and 3.png are one and the same"]}


def test_equal_beginnings_are_not_equal_files(tmp_path):
    pixels = np.zeros((400, 400, 3), np.uint8)
    for number in range(2):
        pixels[-1] = 50 * number
        write_image(str(tmp_path / f"s/{number}.tif"), pixels, "tiff")
    for path in tmp_path.glob("s/*"):
        path.write_bytes(path.read_bytes() + bytes(100_000) + path.name.encode())
    assert "s" not in warnings(str(tmp_path))


def test_gaps_in_the_numbers(root):
    show(root, {f"s/z{number:03}.png": (1, number / 5) for number in (1, 2, 3, 5, 8)})
    assert warnings(root) == {"s": ["gap in the numbers: 004, 006, 007 missing"]}


def test_what_may_be_several_stacks(tmp_path):
    root = str(tmp_path)
    show(root, {f"day/{number}.png": (number // 2, number % 2) for number in range(8)})
    fill(root, *(f"many/{number}.jpg" for number in range(101)))
    found = warnings(root)
    cut = "--gap, --every or --group cut them"
    assert found["many"][-1] == f"101 frames in one stack; if they are several, {cut}"
    assert found["day"] == [
        "the first, the middle and the last frame show several scenes; if they are several "
        f"stacks, {cut}"
    ]


def test_of_a_large_tree_a_sample_is_looked_at(root):
    for number in range(9):
        show(root, {f"{number}_A.png": (number, 0.0), f"{number}_B.png": (number, 1.0)})
    told = []
    found = list(survey(find_stacks(root), lambda done, of: told.append((done, of)), most_looked=6))
    assert [bool(row.sizes) for row in found] == [True, False, False] * 3
    assert {row.formats for row in found} == {("PNG",), ("png",)}
    assert told == [(done, 6) for done in range(1, 7)]


def test_a_store_says_what_is_there_twice_of_files_that_are_not_looked_at(s3_url):
    root = f"{s3_url}/{uuid.uuid4().hex}"
    fill(root, "x_A.png", "x_B.png", "y_A.png", "y_B.png")
    write_bytes(join(root, "y_B.png"), b"2")
    *_, row = survey(find_stacks(root), unmoved, most_looked=2)
    assert row.warnings == ()
    write_bytes(join(root, "y_B.png"), b"1")
    *_, row = survey(find_stacks(root), unmoved, most_looked=2)
    assert row.warnings == ("y_A.png and y_B.png are one and the same",)


def test_no_more_is_compared_than_may_be_read(tmp_path):
    show(str(tmp_path), {f"{number}.png": (number, 0.0) for number in range(3)})
    images = [Image(path.name, path.stat().st_size) for path in sorted(tmp_path.glob("*.png"))]
    size = sum(image.size_bytes for image in images)
    assert Likeness(str(tmp_path), size)(images) is not None
    assert Likeness(str(tmp_path), size - 1)(images) is None
    assert Likeness(str(tmp_path), size - 1)(images[:2]) is not None
