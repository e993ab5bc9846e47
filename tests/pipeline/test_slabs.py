"""Deep stacks: merged slab by slab."""

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from conftest import texture
from dfp_batch.core.contracts import Sources
from dfp_batch.pipeline import slabs as slabs_module
from dfp_batch.pipeline import steps
from dfp_batch.pipeline.composition import FusionConfig
from dfp_batch.pipeline.slabs import MOST_AT_ONCE, DeepStack, merge_in_slabs, slabs
from dfp_batch.pipeline.steps import Workplace

CPU = Workplace(torch.device("cpu"))


@given(count=st.integers(3, 2000), most=st.integers(3, MOST_AT_ONCE), data=st.data())
def test_every_source_is_in_one_slab_and_the_reference_in_all(count, most, data):
    reference = data.draw(st.integers(0, count - 1))
    made = slabs(count, reference, most)
    others = [index for part in made for index in part if index != reference]
    assert sorted(others) == [index for index in range(count) if index != reference]
    assert all(reference in part and part == tuple(sorted(part)) for part in made)
    assert max(map(len, made)) <= most
    assert max(map(len, made)) - min(map(len, made)) <= 2  # even


class Listed(Sources):
    def __init__(self, images):
        self.images = images
        self.most = 0

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index, /):
        return torch.from_numpy(self.images[index].copy())


def stripes(count, side=96, width_px=8):
    """Frames (1, h, w) of a scene, each sharp in a stripe of its own; and whose stripe it is."""
    sharp = texture(side, count * width_px, 1)[..., 0].astype(np.float32) / 255
    blurred = cv2.GaussianBlur(sharp, (0, 0), 3)
    owner = np.arange(count * width_px) // width_px
    frames = [np.where(owner == k, sharp, blurred)[None] for k in range(count)]
    return frames, owner, sharp


@pytest.mark.parametrize("preset", ["classical", "fast"])
def test_a_stack_in_slabs_is_what_it_is_at_once(monkeypatch, preset):
    frames, owner, sharp = stripes(12, width_px=16)
    config = FusionConfig.preset(preset, scale=1)
    whole = steps.merge(Listed(frames), config, CPU)
    monkeypatch.setattr(slabs_module, "MOST_AT_ONCE", 5)
    deep = merge_in_slabs(DeepStack(Listed(frames), 6), config, CPU)
    at_once, apart = (
        float((one.sources[0, 0] - torch.from_numpy(sharp)).square().mean())
        for one in (whole, deep.merged)
    )
    assert apart < 1.5 * at_once
    assert (deep.labels.numpy() == owner).mean() > 0.85
    assert deep.labels.max() == 11
    assert deep.merged.confidence.shape == (1, 1, *sharp.shape)
    assert deep.merged.sources.shape == (1, 1, *sharp.shape)


def test_alpha_comes_from_the_frames_that_were_chosen(monkeypatch):
    frames, owner, sharp = stripes(9, width_px=16)
    alphas = [np.full_like(frame, k / 10) for k, frame in enumerate(frames)]
    monkeypatch.setattr(slabs_module, "MOST_AT_ONCE", 4)
    config = FusionConfig.preset("fast", scale=1)
    deep = merge_in_slabs(DeepStack(Listed(frames), 4, Listed(alphas)), config, CPU)
    np.testing.assert_allclose(deep.alpha[0, 0], deep.labels / 10, atol=1e-6)
    assert (deep.labels.numpy() == owner).mean() > 0.85
    assert deep.alpha.shape == (1, 1, *sharp.shape)
