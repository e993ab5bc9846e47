"""Pictures of an item as they are looked at."""

import numpy as np
import pytest
from PIL import ImageCms

from conftest import texture, write_image
from dfp_batch.errors import ImageError, ObjectMissingError
from dfp_batch.io import codec, storage
from dfp_batch.io.codec import Frame
from dfp_batch.report import colours
from dfp_batch.report.embedding import MOST_FRAMES, Budget, embedded
from dfp_batch.report.recorded_run import RecordedRun
from dfp_batch.report.tiles import SIDE_PX, PictureCache, cut_tile
from report_parts import small_run


@pytest.fixture
def item(tmp_path):
    return RecordedRun.read(small_run(tmp_path)).pictures(0)


def test_frames_are_shown_as_they_were_registered(item):
    moved, raw = item.picture("frame-1"), texture(24, 32, seed=1)
    assert np.array_equal(moved[1:, :-2], raw[:-1, 2:])  # by (2, -1) px
    assert np.array_equal(item.picture("frame-0"), texture(24, 32, seed=0))


def test_every_picture_has_the_size_that_it_says(item):
    for name in item.names:
        assert item.picture(name).shape == (*item.size(name), 3), name


def test_the_decision_has_the_colours_of_its_legend(item):
    left, right = item.picture("decision")[5, [2, 30]]
    found = [f"#{red:02x}{green:02x}{blue:02x}" for red, green, blue in (left, right)]
    assert found == colours.frame_legend(2)


def test_the_difference_has_the_ends_of_its_legend(item):
    none = item.picture("difference")  # the result of item 0 is its reference
    black, white = (np.full((2, 2, 3), value, np.uint8) for value in (0, 255))
    ends = none.reshape(-1, 3).max(axis=0), colours.difference_colours(black, white)[0, 0]
    found = [f"#{red:02x}{green:02x}{blue:02x}" for red, green, blue in ends]
    assert found == [colours.difference_legend()[0], colours.difference_legend()[-1]]


def test_a_reference_of_another_size_is_told(item):
    write_image(item.pair.reference, texture(40, 64))
    with pytest.raises(ImageError, match="the result is 64x48 px, its reference 64x40 px"):
        item.picture("difference")


def test_colours_are_those_of_the_profile():
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    swapped = srgb.replace(b"rXYZ", b"....").replace(b"gXYZ", b"rXYZ").replace(b"....", b"gXYZ")
    red = np.full((2, 2, 3), (255, 0, 0), np.uint8)
    assert np.abs(colours.in_srgb(red, swapped)[0, 0] - np.array([0, 255, 0])).max() <= 2
    assert np.abs(colours.in_srgb(red, srgb)[0, 0] - np.array([255, 0, 0])).max() <= 2
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    for other in (None, b"damaged", lab):
        assert colours.in_srgb(red, other) is red


@pytest.mark.parametrize("name", ["frame-2", "frame--1", "valid", "..", "result.json"])
def test_there_are_no_other_pictures(item, name):
    with pytest.raises((ObjectMissingError, ValueError)):
        item.picture(name)


def test_12_bits_in_16_are_not_black(item):
    dark = (texture(24, 32).astype(np.uint16) << 4) + 15
    write_image(item.pair.sources[0], dark)
    item.row["significant_bits"] = 12
    assert abs(int(item.picture("frame-0").mean()) - int(texture(24, 32).mean())) <= 1


def test_measured_values_are_shown_by_their_range(item):
    values = np.linspace(-5, 5, 24 * 32, dtype=np.float32).reshape(24, 32, 1)
    storage.write_bytes(item.pair.sources[0], codec.encode(Frame(values, span=(-5, 5)), "tiff"))
    item.row.update(range_low=-5.0, range_high=5.0)
    picture = item.picture("frame-0")
    assert (picture.min(), picture.max()) == (0, 255)


def test_a_cropped_result_crops_its_sources_and_maps(tmp_path):
    url = small_run(tmp_path, config={"output.crop": "valid"})
    seen = np.zeros((24, 32, 1), np.uint8)
    seen[2:20, 4:30] = 255
    write_image(f"{url}/outputs/item 0/valid.png", seen)
    item = RecordedRun.read(url).pictures(0)
    assert item.window == (2, 4, 18, 26)
    assert item.picture("decision").shape == item.picture("frame-1").shape == (18, 26, 3)


def test_a_run_that_was_moved_shows_its_own_results(tmp_path):
    url = small_run(tmp_path)
    (tmp_path / "run").rename(tmp_path / "moved")
    item = RecordedRun.read(f"{tmp_path}/moved").pictures(0)
    assert item.row["output_url"].startswith(url)
    assert item.result_url == f"{tmp_path}/moved/outputs/item 0/fused.png"


def test_pictures_go_into_the_page_until_the_budget_is_spent(tmp_path):
    run = RecordedRun.read(small_run(tmp_path))
    every = [run.pictures(number) for number in range(4)]
    assert list(embedded(every, Budget())) == [one.pair.pair_id for one in every]
    assert list(embedded(every, Budget(page_bytes=1))) == ["item 0"]
    assert list(embedded(every, Budget(source_bytes=1))) == ["item 0"]
    assert list(embedded(every, Budget(items=2))) == ["item 0", "item 1"]
    assert embedded(every, Budget(page_bytes=0)) == {}


def test_a_picture_that_is_not_there_is_told_of_in_its_place(item):
    storage.delete(item.place("decision.png"))
    storage.write_bytes(item.place("fused.png"), b"half")
    shown = {one["id"]: one for one in embedded([item], Budget())["item 0"]["pictures"]}
    assert "decision.png" in shown["decision"]["problem"]
    assert "fused.png" in shown["result"]["problem"]
    assert "src" in shown["confidence"]


def test_of_a_deep_stack_some_frames_go_into_the_page(item):
    item.registration["frames"] *= 50
    shown = [one["id"] for one in embedded([item], Budget())["item 0"]["pictures"]]
    frames = [name for name in shown if name.startswith("frame-")]
    assert (len(frames), frames[0], frames[-1]) == (MOST_FRAMES, "frame-0", "frame-99")


def test_tiles_are_the_picture():
    image = texture(700, 1200)
    rows = [[cut_tile(image, 11, x, y) for x in range(3)] for y in range(2)]
    assert np.array_equal(np.vstack([np.hstack(row) for row in rows]), image)
    assert cut_tile(image, 10, 1, 0).shape == (350, 600 - SIDE_PX, 3)
    assert cut_tile(image, 0, 0, 0).shape == (1, 1, 3)
    for place in ((11, 3, 0), (11, 0, 2), (12, 0, 0)):
        with pytest.raises(ObjectMissingError, match="no tile"):
            cut_tile(image, *place)


def test_the_cache_keeps_what_was_looked_at_last():
    made = []

    def get(key):
        return cache.get(key, lambda: made.append(key) or np.zeros((10, 10, 3), np.uint8))

    cache = PictureCache(most_bytes=600)
    for key in "abacab":
        get(key)
    assert "".join(made) == "abcb"
