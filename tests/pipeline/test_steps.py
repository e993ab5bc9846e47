"""The one sequence: cut at any place, on the host or as on a device, it makes the same image."""

import dataclasses
from typing import ClassVar

import numpy as np
import pytest
import torch

from dfp_batch.alignment.device_stack import DeviceStack
from dfp_batch.alignment.exposure import ExposureMatch
from dfp_batch.alignment.registration import Registration
from dfp_batch.alignment.stack import Stack
from dfp_batch.alignment.stack_alignment import align_stack
from dfp_batch.core.degradation import Degradation
from dfp_batch.core.filters import plain_filters
from dfp_batch.core.sources import InMemory
from dfp_batch.degradation.kernels import Lanczos2
from dfp_batch.errors import ConfigError
from dfp_batch.merging.unmerged import Unmerged
from dfp_batch.pipeline import steps
from dfp_batch.pipeline.composition import FusionConfig
from dfp_batch.pipeline.fusion import fuse
from dfp_batch.pipeline.steps import Workplace
from dfp_batch.synthetic import procedural_image

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def frames():
    """Three frames (104, 120, 3), uint8, of a scene, moved and each sharp in its own third."""
    import cv2  # noqa: PLC0415

    picture = procedural_image(150, 4).transpose(1, 2, 0)
    windows = [picture[8 + y : 112 + y, 8 + x : 128 + x] for x, y in ((0, 0), (3, -2), (-2, 3))]
    columns = np.arange(120) * 3 // 120
    made = []
    for index, window in enumerate(windows):
        blurred = cv2.GaussianBlur(window, (0, 0), 2.0)
        made.append(np.where((columns == index)[:, None], window, blurred))
    return [np.rint(255 * frame).astype(np.uint8) for frame in made]


@pytest.mark.parametrize("preset", ["classical", "fast", "balanced"])
@pytest.mark.parametrize("scale", [1, 2])
def test_as_on_a_device_the_image_is_the_same_within_rounding(preset, scale, frames, psnr_db):
    """Every step that a GPU would do is done by PyTorch, the resampling of the frames, too."""
    config = FusionConfig.preset(preset, scale=scale, precision="fp32")
    alignment = align_stack(frames, 255.0, Registration(reference=0), ExposureMatch())
    assert "registered" in alignment.registered.flags
    host = steps.merge(Stack(frames, 255.0, alignment), config, Workplace(CPU))
    with plain_filters():
        device = steps.merge(DeviceStack(frames, 255.0, alignment, CPU), config, Workplace(CPU))
        made, _ = steps.reconstruct(device, config, Workplace(CPU))
    expected, _ = steps.reconstruct(host, config, Workplace(CPU))
    agree = (host.decision.argmax(0) == device.decision.argmax(0)).float().mean()
    assert agree > 0.998  # on the host a place may be off by a few hundredths of a pixel
    assert psnr_db(made, expected) > 55


@pytest.mark.parametrize("preset", ["classical", "fast", "paper"])
def test_fuse_is_the_sequence(preset, frames):
    config = FusionConfig.preset(preset, scale=1)
    if preset == "paper":
        config = dataclasses.replace(
            config,
            refinement=dataclasses.replace(config.refinement, iterations=1),
            reconstruction=dataclasses.replace(config.reconstruction, iterations=1),
        )
    whole = fuse(frames, config, "cpu")
    images = [frame / np.float32(255) for frame in frames]
    alignment = align_stack(images, 1.0, config.align, config.exposure)
    merged = steps.merge(steps.sources_on(CPU, images, 1.0, alignment), config, Workplace(CPU))
    made, _ = steps.reconstruct(merged, config, Workplace(CPU))
    assert torch.equal(whole.fused, made)
    assert torch.equal(whole.decision, merged.decision)
    assert torch.equal(whole.confidence, merged.confidence)


def test_an_image_that_was_merged_before_is_taken_as_it_is():
    image = torch.rand(1, 3, 20, 24, generator=torch.Generator().manual_seed(0))
    config = FusionConfig.preset("classical", scale=1)
    made, facts = steps.reconstruct(steps.Merged.of_one(image), config, Workplace(CPU))
    assert torch.equal(made, image[0])
    assert facts.consistency == 0


@pytest.mark.parametrize("preset", ["classical", "fast"])
@pytest.mark.parametrize("scale", [2, 3])
def test_a_tall_image_comes_in_rows_that_make_up_the_whole(preset, scale):
    low = torch.rand(1, 3, 1100, 20, generator=torch.Generator().manual_seed(0))
    config = FusionConfig.preset(preset, scale=scale, policy="always", kernel=Lanczos2())
    merged, place, parts = steps.Merged.of_one(low), Workplace(CPU), []
    facts = steps.reconstruct_rows(merged, config, place, parts.append)
    made = torch.cat(parts, 1)
    assert len(parts) > 2
    assert made.shape == (3, scale * 1100, scale * 20)
    compute, degrade = place.compute(config), Degradation(scale, Lanczos2())
    solution = config.reconstruction(low, merged.weights, degrade, compute)
    assert torch.equal(made, solution.image[0])
    torch.testing.assert_close(facts.loss, solution.losses)
    off = (degrade(made[None]) - low).abs().mean()
    assert facts.consistency == pytest.approx(float(off), rel=1e-5)


@dataclasses.dataclass(frozen=True)
class Silent(Unmerged):
    """Gives back all sources, and does not say so."""

    needs_all: ClassVar[bool] = False


def test_a_merge_that_gives_back_all_sources_must_say_so():
    images = torch.rand(2, 3, 20, 24, generator=torch.Generator().manual_seed(0))
    config = FusionConfig.preset("classical", merge=Silent())
    with pytest.raises(ConfigError, match="Silent gave back all 2 sources; one that does must say"):
        steps.merge(InMemory(images), config, Workplace(CPU))
