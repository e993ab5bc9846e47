"""What an item is at each scale: the paper's protocol, larger references, masks, scenes."""

import re
from dataclasses import replace

import numpy as np
import pytest
import torch

from conftest import texture, write_image
from dfp_batch.core.degradation import Degradation
from dfp_batch.degradation.kernels import Bicubic, Gaussian, Lanczos2
from dfp_batch.errors import ConfigError, ImageError, ManifestError
from dfp_batch.evaluation import Archive, item_set
from dfp_batch.evaluation.archive import PairItem, block_majority
from dfp_batch.runs.manifest import Pair, write_manifest
from evaluation_parts import multi_focus, write_archive


def pair(folder, size=(49, 58), reference=None, reference_sources=None, channels=3, masks=None):
    """A pair; ``reference`` is the size of the truth."""
    _, sources, _ = multi_focus(size, channels)
    urls = [
        write_image(f"{folder}/{name}.png", pixels)
        for name, pixels in zip("AB", sources, strict=True)
    ]
    truth = reference and write_image(f"{folder}/t.png", texture(*reference, channels))
    full = reference_sources and tuple(
        write_image(f"{folder}/full{k}.png", texture(*reference_sources, channels)) for k in (0, 1)
    )
    drawn = masks and tuple(
        write_image(f"{folder}/m{k}.png", mask[..., None]) for k, mask in enumerate(masks)
    )
    return Pair("it", tuple(urls), truth or None, full or None, drawn or None)


def load(pair, scale, scales=(1, 2, 3, 4)):
    return PairItem(pair, scale, scales).load()


def levels(image):
    return np.rint(image * 255) / 255


# the paper's protocol


@pytest.mark.parametrize(("scale", "low"), [(1, (49, 58)), (2, (24, 29)), (3, (16, 19))])
def test_protocol_crops_and_reduces(tmp_path, scale, low):
    case = load(pair(tmp_path, reference=(49, 58)), scale)
    full = (low[0] * scale, low[1] * scale)
    assert case.sources.shape == (2, 3, *low)
    assert case.full_sources.shape == (2, 3, *full)
    assert case.reference.shape == (3, *full)
    reduced = (
        Degradation(scale, Lanczos2())(torch.from_numpy(case.full_sources)).clamp(0, 1).numpy()
    )
    np.testing.assert_allclose(case.sources, levels(reduced), atol=1e-6)


@pytest.mark.parametrize("kernel", [Bicubic(), Gaussian(1.2)])
def test_any_kernel_reduces(tmp_path, kernel):
    item = pair(tmp_path, reference=(49, 58))
    case = PairItem(item, 2, (2,), kernel).load()
    reduced = Degradation(2, kernel)(torch.from_numpy(case.full_sources)).clamp(0, 1).numpy()
    np.testing.assert_allclose(case.sources, levels(reduced), atol=1e-6)
    assert not np.array_equal(case.sources, load(item, 2).sources)
    assert case.kernel == kernel
    assert load(item, 2).kernel == Lanczos2()
    assert load(item, 1).kernel is None


def test_sources_smaller_than_their_reference_are_taken_as_they_are(tmp_path):
    item = pair(tmp_path, size=(24, 29), reference=(48, 58))
    case = PairItem(item, 2, (2,), Gaussian(1.2)).load()
    np.testing.assert_array_equal(case.sources, load(item, 2).sources)
    assert case.kernel is None


@pytest.mark.parametrize("origin", ["procedural", "archive"])
def test_sets_pass_the_kernel_on_and_describe_it(tmp_path, origin):
    url = write_archive(tmp_path, 1) if origin == "archive" else origin
    found = item_set(url, limit=1, side_px=48, kernel=Gaussian(1.2))
    usual = item_set(url, limit=1, side_px=48)
    (blurred,), (sharp,) = ([item.load() for item in items.items([2])] for items in (found, usual))
    assert (blurred.kernel, sharp.kernel) == (Gaussian(1.2), Lanczos2())
    assert not np.array_equal(blurred.sources, sharp.sources)
    np.testing.assert_array_equal(blurred.reference, sharp.reference)
    assert (found.describe()["degrade"], usual.describe()["degrade"]) == ("sigma=1.2", "lanczos2")


def test_scale_one_gives_the_files(tmp_path):
    case = load(pair(tmp_path), 1)
    np.testing.assert_array_equal(case.sources, case.full_sources)
    assert case.reference is None
    assert case.labels is None


def test_crop_is_top_left(tmp_path):
    item = pair(tmp_path, reference=(49, 58))
    whole, cropped = load(item, 1), load(item, 2)
    np.testing.assert_array_equal(cropped.full_sources, whole.full_sources[..., :48, :58])
    np.testing.assert_array_equal(cropped.reference, whole.reference[..., :48, :58])


def test_sixteen_bits_keep_their_levels(tmp_path):
    urls = []
    for name in "AB":
        pixels = texture(40, 40, seed=ord(name)).astype(np.uint16) * 257
        urls.append(write_image(f"{tmp_path}/{name}.png", pixels))
    case = load(Pair("deep", tuple(urls)), 2)
    assert case.dtype == np.uint16
    scaled = case.sources.astype(np.float64) * 65535
    np.testing.assert_allclose(scaled, np.rint(scaled), atol=0.01)
    assert np.abs(scaled / 257 - np.rint(scaled / 257)).max() > 0.1


def test_too_small_for_a_scale_is_an_error(tmp_path):
    item = pair(tmp_path)
    message = f"{tmp_path}/A.png is 58x49 px, expected at least 64x64 px for scale 4"
    with pytest.raises(ImageError, match=re.escape(message)):
        load(item, 4)


def test_sources_that_differ_are_named(tmp_path):
    item = pair(tmp_path)
    other = write_image(f"{tmp_path}/C.png", texture(49, 59, 1))
    message = r"A.png is 58x49 px, 3 channels, 8 bit, .*C.png is 59x49 px, 1 channel, 8 bit"
    with pytest.raises(ImageError, match=message):
        load(replace(item, sources=(*item.sources, other)), 1)


# larger references


def test_larger_reference_takes_the_sources_as_they_are(tmp_path):
    item = pair(tmp_path, reference=(98, 116), reference_sources=(98, 116))
    case = load(item, 2)
    assert case.sources.shape == (2, 3, 49, 58)
    assert case.reference.shape == (3, 98, 116)
    assert case.full_sources.shape == (2, 3, 98, 116)
    assert load(replace(item, reference_sources=None), 2).full_sources is None


def test_larger_reference_is_scored_at_its_own_scale_only(tmp_path):
    item = pair(tmp_path, reference=(98, 116))
    assert load(item, 1, scales=(1, 2)) is None
    message = "t.png is 2 times as large as the sources: this pair can be scored at scale 2 only"
    with pytest.raises(ImageError, match=re.escape(message)):
        load(item, 1, scales=(1, 3))


def test_reference_of_no_scale_names_what_would_fit(tmp_path):
    message = "t.png is 60x50 px, expected 58x49 or 116x98 or 174x147 or 232x196 px"
    with pytest.raises(ImageError, match=re.escape(message)):
        load(pair(tmp_path, reference=(50, 60)), 1)


def test_reference_sources_must_be_as_large_as_the_reference(tmp_path):
    item = pair(tmp_path, reference=(98, 116), reference_sources=(98, 115))
    with pytest.raises(ImageError, match=r"full0.png is 115x98 px, expected 116x98 px"):
        load(item, 2)


# labels


def drawn(size, column, factor=1):
    """Masks of two sources, the first in focus left of ``column``."""
    left = np.zeros(size, np.uint8)
    left[:, :column] = 255
    masks = [left.repeat(factor, 0).repeat(factor, 1)]
    return [*masks, 255 - masks[0]]


def test_labels_are_the_whitest_mask(tmp_path):
    case = load(pair(tmp_path, masks=drawn((49, 58), 20)), 1)
    np.testing.assert_array_equal(case.labels, np.tile(np.arange(58) >= 20, (49, 1)))


def test_labels_follow_crop_and_scale(tmp_path):
    item = pair(tmp_path, masks=drawn((49, 58), 20))
    for scale, column in [(2, 10), (3, 7)]:  # of 18, 19, 20 two are left
        labels = load(item, scale).labels
        assert labels.shape == (49 // scale, 58 // scale)
        np.testing.assert_array_equal(
            labels, np.tile(np.arange(labels.shape[1]) >= column, (len(labels), 1))
        )


@pytest.mark.parametrize("factor", [1, 2])
def test_masks_of_a_larger_reference_have_either_size(tmp_path, factor):
    item = pair(tmp_path, reference=(98, 116), masks=drawn((49, 58), 20, factor))
    np.testing.assert_array_equal(load(item, 2).labels[0], np.arange(58) >= 20)


def test_masks_of_another_size_are_named(tmp_path):
    item = pair(tmp_path, masks=drawn((49, 57), 20))
    with pytest.raises(ImageError, match=re.escape("m0.png is 57x49 px, expected 58x49 px")):
        load(item, 1)


def test_block_majority_by_hand():
    labels = np.array([[0, 0, 2, 1], [0, 1, 2, 2], [1, 1, 0, 1], [0, 0, 1, 0]])
    np.testing.assert_array_equal(block_majority(labels, 2), [[0, 2], [0, 0]])
    np.testing.assert_array_equal(block_majority(labels, 1), labels)


# sets


def test_archive_has_every_pair_at_every_scale(tmp_path):
    found = item_set(write_archive(tmp_path, 3), limit=2)
    assert [(item.name, item.scale) for item in found.items([2, 1])] == [
        ("p0", 2), ("p1", 2), ("p0", 1), ("p1", 1)
    ]  # fmt: skip
    assert found.label == "manifest"


def test_description_of_an_archive_follows_its_content(tmp_path):
    url = write_archive(tmp_path, 2)
    before = Archive.read(url).describe()
    assert Archive.read(url).describe() == before
    write_manifest(url, Archive.read(url).pairs[:1])
    assert Archive.read(url).describe() != before


@pytest.mark.parametrize("scale", [1, 2, 3])
def test_scenes_keep_the_size_of_their_truth(scale):
    (item,) = item_set("procedural", limit=1, side_px=50).items([scale])
    case = item.load()
    low = 50 // scale
    assert case.sources.shape == (2, 3, low, low)
    assert case.labels.shape == (low, low)
    assert case.reference.shape == (3, scale * low, scale * low)
    assert case.full_sources.shape == (2, *case.reference.shape)


def test_seed_and_limit_of_scenes():
    def sources(**options):
        return [
            item.load().sources for item in item_set("procedural", side_px=48, **options).items([1])
        ]

    two = sources(limit=2, seed=3)
    assert len(two) == 2
    np.testing.assert_array_equal(sources(limit=1, seed=3)[0], two[0])
    assert not np.array_equal(sources(limit=1, seed=4)[0], two[0])


def test_a_folder_of_sharp_images_makes_scenes(tmp_path):
    for name in ("one", "two"):
        write_image(f"{tmp_path}/sharp/{name}.png", texture(64, 64))
    found = item_set(f"{tmp_path}/sharp", limit=2, side_px=48)
    assert found.label == "sharp"
    assert len(found.items([1])) == 2
    assert found.items([1])[0].load().reference.shape[-1] == 48


def test_nothing_to_score_is_refused_by_name(tmp_path):
    with pytest.raises(ConfigError, match="limit must be >= 1, got 0"):
        item_set("bundled", limit=0)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match="empty"):
        item_set(f"{tmp_path}/empty").items([1])
    write_manifest(f"{tmp_path}/none.parquet", [])
    with pytest.raises(ManifestError, match=r"none\.parquet: holds 0 rows"):
        item_set(f"{tmp_path}/none.parquet")
