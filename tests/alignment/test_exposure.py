import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dfp_batch.alignment.exposure import ExposureMatch
from dfp_batch.errors import ConfigError
from dfp_batch.io import codec
from dfp_batch.synthetic import SceneSpec, make_scene, procedural_image

MATCH = ExposureMatch()
VALID = np.ones((64, 64), bool)


def image(seed=0, side_px=64, low=0.1, high=0.8):
    shown = np.moveaxis(procedural_image(side_px, seed), 0, -1)
    return (low + (high - low) * shown).astype(np.float32)


def levels(shown):
    return (np.rint(np.clip(shown, 0, 1) * 255) / 255).astype(np.float32)


def jpeg(shown):
    data = codec.encode(codec.from_unit(np.moveaxis(shown, -1, 0), np.uint8), "jpg", 85)
    return np.moveaxis(codec.to_unit(codec.decode(data, "test")), 0, -1)


@given(
    gains=st.tuples(*[st.floats(0.5, 1.2)] * 3),
    seed=st.integers(0, 9),
)
@settings(max_examples=25, derandomize=True, deadline=None)
def test_gains_are_found_per_channel(gains, seed):
    reference = image(seed)
    found = MATCH(reference / np.float32(gains), reference, VALID)
    wanted = [1 if abs(gain - 1) < 0.002 else gain for gain in gains]
    np.testing.assert_allclose(found, wanted, atol=1e-3)


def test_one_gain_serves_all_channels():
    reference = image()
    found = ExposureMatch("gain")(reference * np.float32([0.8, 0.8, 0.8]), reference, VALID)
    np.testing.assert_allclose(found, [1.25] * 3, rtol=1e-4)
    mixed = ExposureMatch("gain")(reference * np.float32([0.7, 0.8, 0.9]), reference, VALID)
    assert len(set(mixed.tolist())) == 1
    assert 1 / 0.9 <= mixed[0] <= 1 / 0.7


def test_none_compares_nothing():
    reference = image()
    np.testing.assert_array_equal(ExposureMatch("none")(reference / 2, reference, VALID), 1)


def test_equal_and_nearly_equal_images_have_exactly_gain_1():
    reference = image()
    np.testing.assert_array_equal(MATCH(reference, reference, VALID), 1)
    np.testing.assert_array_equal(MATCH(reference * np.float32(1.0015), reference, VALID), 1)
    assert (MATCH(reference * np.float32(1.003), reference, VALID) < 1).all()


@pytest.mark.parametrize(
    ("frame", "reference", "valid"),
    [
        (0.4, 0.5, False),  # nothing is covered
        (0.0, 0.5, True),
        (1.0, 0.5, True),
        (0.5, 1.0, True),
        (0.5, 0.0, True),
    ],
)
def test_the_gain_is_1_where_nothing_can_be_compared(frame, reference, valid):
    one, other = (np.full((64, 64, 3), value, np.float32) for value in (frame, reference))
    np.testing.assert_array_equal(MATCH(one, other, np.full((64, 64), valid)), 1)


def test_a_channel_without_light_does_not_disturb_the_others():
    reference = image()
    reference[..., 2] = 0
    found = MATCH(reference * np.float32(0.8), reference, VALID)
    np.testing.assert_allclose(found, [1.25, 1.25, 1], rtol=1e-4)


def test_clipped_pixels_do_not_count():
    plain = image(3, 256)
    reference = np.clip(plain * 1.3, 0, 1)
    frame = np.clip(reference * 1.15, 0, 1)
    assert (frame == 1).mean() > 0.02
    # What is clipped in the frame alone would pull the gain towards 1.
    np.testing.assert_allclose(MATCH(frame, reference, np.ones((256, 256), bool)), 1 / 1.15, 3e-3)


def test_pixels_that_the_frame_does_not_cover_do_not_count():
    reference = image(0, 128)
    frame = reference * np.float32(0.9)
    valid = np.ones((128, 128), bool)
    valid[:, 80:] = False
    frame[:, 80:] = 0.5
    np.testing.assert_allclose(MATCH(frame, reference, valid), 1 / 0.9, rtol=1e-4)


def test_a_thing_that_moved_does_not_count():
    reference = image(0, 256)
    frame = reference * np.float32(0.9)
    frame[40:100, 40:100] = 0.7
    np.testing.assert_allclose(MATCH(frame, reference, np.ones((256, 256), bool)), 1 / 0.9, 2e-3)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("exposure", [0.05, 0.2])
@pytest.mark.parametrize("spoil", [levels, jpeg])
def test_within_3_per_mille_whatever_is_in_focus(seed, exposure, spoil):
    random = np.random.default_rng(seed)
    images = [0.1 + 0.7 * procedural_image(320, 10 * seed + k) for k in range(2)]
    scene = make_scene([np.float32(it) for it in images], SceneSpec(defocus_px=4, noise=0.01), seed)
    reference, frame = np.moveaxis(scene.sources, 1, -1)
    gains = 1 + random.uniform(-exposure, exposure, 3).astype(np.float32)
    valid = np.ones((320, 320), bool)
    found = MATCH(spoil(levels(frame * gains)), spoil(reference), valid)
    np.testing.assert_allclose(found * gains, 1, atol=3e-3)


def test_grey_small_and_narrow_images():
    for size in ((16, 16, 1), (100, 3, 1), (5, 300, 2), (8, 8, 3)):
        reference = np.full(size, 0.5, np.float32)
        found = MATCH(reference * np.float32(0.8), reference, np.ones(size[:2], bool))
        assert found.shape == size[2:]
        assert set(np.round(found, 4)) <= {1, 1.25}


def test_the_inputs_are_left_alone_and_the_result_repeats():
    reference = image()
    frame = reference * np.float32(0.8)
    copies = frame.copy(), reference.copy()
    found = [MATCH(frame, reference, VALID) for _ in range(2)]
    np.testing.assert_array_equal(*found)
    np.testing.assert_array_equal(frame, copies[0])
    np.testing.assert_array_equal(reference, copies[1])


def test_an_unknown_model_is_refused():
    with pytest.raises(ConfigError) as caught:
        ExposureMatch("auto")
    assert str(caught.value) == (
        "exposure.model must be one of none, gain, white-balance, got 'auto'"
    )
