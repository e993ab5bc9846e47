from itertools import permutations

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import ndimage

from dfp_batch.core.contracts import Merge
from dfp_batch.core.decision import one_hot
from dfp_batch.core.sources import InMemory
from dfp_batch.errors import ConfigError
from dfp_batch.merging.blend import Blend
from dfp_batch.merging.defocus_spread import DefocusSpreadCorrection, Watched, correction, detail
from dfp_batch.merging.seam_pyramid import SeamPyramid
from dfp_batch.merging.seams import BAND_PX, adjacent_sources, seam_band
from dfp_batch.networks.defocus_spread_network import DefocusSpreadNetwork
from dfp_batch.networks.weights import DEFOCUS_SPREAD, load_defocus_spread, save_defocus_spread
from dfp_batch.pipeline.composition import FusionConfig
from dfp_batch.pipeline.fusion import fuse
from method_parts import CERTAIN, compute

SIZE = 96


class FirstOnly(Merge):
    """Looks at one source."""

    def __call__(self, sources, decision, certainty, compute):
        return sources.full_quality(0, decision[0, 0] > 0)[None]


def disc_blur(plane, radius_px):
    axis = np.arange(-radius_px, radius_px + 1)
    weights = (np.hypot(axis, axis[:, None]) <= radius_px).astype(np.float32)
    return cv2.filter2D(plane, -1, weights / weights.sum(), borderType=cv2.BORDER_REFLECT_101)


def two_depths(near, far, coverage, radius_px=5):
    """Truth and the sources focused near and far, of images and a coverage (h, w)."""
    truth = coverage * near + (1 - coverage) * far
    near_source = coverage * near + (1 - coverage) * disc_blur(far, radius_px)
    veil = disc_blur(coverage, radius_px)
    far_source = (1 - veil) * far + disc_blur(coverage * near, radius_px)
    sources = np.stack([near_source, far_source])[:, None].clip(0, 1)
    return torch.from_numpy(truth[None, None]), torch.from_numpy(sources)


@pytest.fixture(scope="module")
def veiled(texture):
    """A dark disc before a bright texture: truth, sources, exact decision."""
    axis = np.arange(SIZE, dtype=np.float32) - SIZE / 2
    coverage = np.float32(np.hypot(axis, axis[:, None]) < 24)
    near = 0.4 * texture(SIZE, SIZE, 1, seed=1)[0, 0].numpy()
    far = 0.4 + 0.6 * texture(SIZE, SIZE, 1, seed=2)[0, 0].numpy()
    truth, sources = two_depths(near, far, coverage)
    return truth, sources, one_hot(torch.from_numpy(1 - coverage).long(), 2)


def stripes(count, h, w):
    """Decision (count, 1, h, w) of so many vertical stripes."""
    labels = torch.arange(w).mul(count).div(w, rounding_mode="floor").expand(h, w)
    return one_hot(labels, count)


# What it is for.


def test_the_veil_is_lifted(veiled, psnr_db):
    truth, sources, decision = veiled
    before = psnr_db(SeamPyramid()(InMemory(sources), decision, CERTAIN, compute()), truth)
    assert (
        psnr_db(DefocusSpreadCorrection()(InMemory(sources), decision, CERTAIN, compute()), truth)
        > before + 3
    )


def test_it_is_lifted_from_every_side_and_from_light_and_dark_alike(veiled, psnr_db):
    truth, sources, decision = veiled
    before = psnr_db(SeamPyramid()(InMemory(sources), decision, CERTAIN, compute()), truth)
    for light in (False, True):
        for turns in range(4):
            shown, wanted = (1 - sources, 1 - truth) if light else (sources, truth)
            turned = [torch.rot90(plane, turns, (2, 3)) for plane in (shown, decision, wanted)]
            merged = DefocusSpreadCorrection()(InMemory(turned[0]), turned[1], CERTAIN, compute())
            assert psnr_db(merged, turned[2]) > before + 2.5


def test_colours_are_unveiled_as_the_grey_of_each_is(veiled, psnr_db):
    truth, sources, decision = veiled
    tones = [1.0, 0.8, 0.6]
    colour, wanted = (torch.cat([tone * one for tone in tones], 1) for one in (sources, truth))
    before, after = (
        psnr_db(merge(InMemory(colour), decision, CERTAIN, compute()), wanted)
        for merge in (SeamPyramid(), DefocusSpreadCorrection())
    )
    assert after > before + 2.5


def test_grey_in_three_channels_is_grey_in_one(veiled):
    _, sources, decision = veiled
    grey = DefocusSpreadCorrection()(InMemory(sources), decision, CERTAIN, compute())
    images = InMemory(sources.expand(-1, 3, -1, -1))
    colours = DefocusSpreadCorrection()(images, decision, CERTAIN, compute())
    torch.testing.assert_close(colours.mean(1, keepdim=True), grey, atol=1e-3, rtol=0)


def test_of_more_or_fewer_channels_than_three_each_is_grey(veiled):
    _, sources, decision = veiled
    several = torch.cat([sources, 1 - sources], 1)
    merged = DefocusSpreadCorrection()(InMemory(several), decision, CERTAIN, compute())
    for channel in range(2):
        alone = DefocusSpreadCorrection()(
            InMemory(several[:, channel : channel + 1]), decision, CERTAIN, compute()
        )
        torch.testing.assert_close(merged[:, channel : channel + 1], alone, atol=1e-3, rtol=0)


def test_every_source_is_looked_at_once(veiled, monkeypatch):
    _, sources, decision = veiled
    images, asked = InMemory(sources), []
    monkeypatch.setattr(
        InMemory, "full_quality", lambda self, index, *_: asked.append(index) or self[index]
    )
    DefocusSpreadCorrection()(images, decision, CERTAIN, compute())
    assert asked == [0, 1]
    DefocusSpreadCorrection(FirstOnly())(images, decision, CERTAIN, compute())
    assert sorted(asked[2:]) == [0, 1]


def test_the_preset_with_it_is_nearer_to_the_truth_than_without(veiled, psnr_db):
    truth, sources, _ = veiled
    results = [
        fuse(sources, FusionConfig.preset("fast", scale=1, merge=merge), device="cpu").fused[None]
        for merge in (SeamPyramid(), DefocusSpreadCorrection())
    ]
    assert psnr_db(results[1], truth) > psnr_db(results[0], truth) + 1


# What it leaves alone.


def test_without_a_seam_it_is_the_merge_that_it_builds_on(texture):
    sources = torch.cat([texture(24, 24, seed=seed) for seed in range(2)])
    decision = torch.zeros(2, 1, 24, 24)
    decision[1] = 1
    assert torch.equal(
        DefocusSpreadCorrection()(InMemory(sources), decision, CERTAIN, compute()),
        SeamPyramid()(InMemory(sources), decision, CERTAIN, compute()),
    )


def test_nothing_changes_away_from_seams(texture):
    sources = torch.cat([texture(40, 120, seed=seed) for seed in range(2)])
    decision = stripes(2, 40, 120)
    merged, base = (
        DefocusSpreadCorrection(Blend())(InMemory(sources), decision, CERTAIN, compute()),
        Blend()(InMemory(sources), decision, CERTAIN, compute()),
    )
    differs = (merged != base).any(1)[0]
    reach_px = BAND_PX + 4
    assert differs[:, 60 - reach_px : 60 + reach_px].any()
    assert not differs[:, : 60 - reach_px].any()
    assert not differs[:, 60 + reach_px :].any()


def test_a_scene_in_focus_in_both_sources_stays_nearly_as_it_is(texture):
    image = texture(64, 64)
    merged = DefocusSpreadCorrection()(
        InMemory(image.expand(2, -1, -1, -1)), stripes(2, 64, 64), CERTAIN, compute()
    )
    assert (merged - image).abs().mean() < 1 / 255


@pytest.mark.parametrize("count", [2, 3])
def test_the_order_of_the_sources_does_not_matter(count, texture):
    sources = torch.cat([texture(40, 50, seed=seed) for seed in range(count)])
    labels = torch.arange(50).sqrt().mul(count / 7.1).long().expand(40, 50)
    decision = one_hot(labels, count)
    merged = DefocusSpreadCorrection(Blend())(InMemory(sources), decision, CERTAIN, compute())
    for order in permutations(range(count)):
        again = DefocusSpreadCorrection(Blend())(
            InMemory(sources[list(order)]), decision[list(order)], CERTAIN, compute()
        )
        torch.testing.assert_close(again, merged)


@pytest.mark.parametrize("size", [(90, 75), (91, 120)])
def test_tiles_do_not_show(size, texture):
    sources = InMemory(torch.cat([texture(*size, seed=seed) for seed in range(2)]))
    decision, network = stripes(2, *size), load_defocus_spread()
    merged = Blend()(sources, decision, CERTAIN, compute())[0]
    seams = Watched(sources, decision, CERTAIN).seams(merged)
    whole = correction(network, seams, 128)
    assert whole.any()
    torch.testing.assert_close(correction(network, seams, 7), whole, atol=1e-5, rtol=0)


def test_nothing_is_darker_or_brighter_than_what_the_merge_shows_around(veiled):
    _, sources, decision = veiled
    base = SeamPyramid()(InMemory(sources), decision, CERTAIN, compute())[0, 0].numpy()
    merged = DefocusSpreadCorrection()(InMemory(sources), decision, CERTAIN, compute())[
        0, 0
    ].numpy()
    side_px = 2 * BAND_PX + 1
    assert (merged >= ndimage.minimum_filter(base, side_px)).all()
    assert (merged <= ndimage.maximum_filter(base, side_px)).all()


def test_detail_is_of_one_source_where_pixels_of_several_lie_side_by_side():
    """Three flat sources have no detail, and no border between them is taken for some."""
    sources = torch.tensor([0.2, 0.5, 0.8])[:, None, None, None].expand(3, 1, 40, 60).contiguous()
    decision = stripes(3, 40, 60)
    images = InMemory(sources)
    merged = Blend()(images, decision, CERTAIN, compute())[0]
    seams = Watched(images, decision, CERTAIN).seams(merged)
    assert seams.first.unique().numel() > 1
    assert seams.first_detail.abs().max() < 1e-6
    assert seams.second_detail.abs().max() < 1e-6


def test_detail_is_what_a_gaussian_takes(texture):
    image = texture(30, 40)[0]
    planes = [ndimage.gaussian_filter(plane, 1.5, radius=4, mode="nearest") for plane in image]
    torch.testing.assert_close(detail(image), image - torch.from_numpy(np.stack(planes)))


# Bands and pairs.


@settings(deadline=None)
@given(
    arrays(np.int64, st.tuples(st.integers(2, 9), st.integers(2, 9)), elements=st.integers(0, 3))
)
def test_two_labels_meet_at_every_pixel_of_which_one_is_its_own(labels):
    if len(np.unique(labels)) == 1:
        return
    first, second = adjacent_sources(labels)
    count = np.bincount(labels.ravel(), minlength=4)
    assert ((first == labels) ^ (second == labels)).all()
    assert (count[first] >= count[second]).all()


def test_the_nearest_seam_says_which_labels_meet():
    labels = np.repeat(np.array([0, 1, 2]), [50, 40, 30])[None].repeat(9, 0)
    first, second = adjacent_sources(labels)
    assert first[0].tolist() == [0] * 70 + [1] * 50
    assert second[0].tolist() == [1] * 70 + [2] * 50


def test_the_band_is_one_around_seams_and_zero_away_from_them():
    labels = np.repeat(np.array([0, 1]), 60)[None].repeat(60, 0)
    band = seam_band(labels)
    assert band[:, 50:70].min() == 1
    assert band[:, : 60 - BAND_PX - 5].max() == 0
    assert band[:, 60 + BAND_PX + 5 :].max() == 0
    assert not seam_band(np.zeros_like(labels)).any()


# Weights.


def test_a_new_network_adds_nothing():
    assert not DefocusSpreadNetwork()(torch.rand(2, 11, 12, 14), torch.rand(2, 6, 12, 14)).any()


def test_weights_come_back_from_their_file(tmp_path):
    network = DefocusSpreadNetwork()
    save_defocus_spread(tmp_path / "defocus-spread.safetensors", network.state_dict())
    loaded = load_defocus_spread(tmp_path / "defocus-spread.safetensors").state_dict()
    for name, weight in network.state_dict().items():
        assert torch.equal(loaded[name], weight.half().float())


@pytest.mark.parametrize("content", [None, b"no weights"])
def test_a_file_that_holds_no_such_weights_is_an_error_that_names_it(content, veiled, tmp_path):
    path = tmp_path / "own.safetensors"
    if content is not None:
        path.write_bytes(content)
    _, sources, decision = veiled
    with pytest.raises(
        ConfigError, match=r"own\.safetensors: must be .* written by train_defocus_spread\.py"
    ):
        DefocusSpreadCorrection(weights=str(path))(InMemory(sources), decision, CERTAIN, compute())


def test_the_weights_have_a_card_with_the_command():
    card = DEFOCUS_SPREAD.with_suffix(".md").read_text()
    assert "python jobs/train_defocus_spread.py --out FOLDER --steps" in card
    assert f"{sum(weight.numel() for weight in load_defocus_spread().parameters()):,}" in card
