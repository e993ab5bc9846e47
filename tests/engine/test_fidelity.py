"""What goes in comes out: depth, white, alpha, metadata; and nothing else."""

import re
from dataclasses import replace

import cv2
import numpy as np
import pytest
import tifffile

from codec_samples import ICC, exif, seen
from dfp_batch.alignment.registration import Registration
from dfp_batch.engine import prepare as prepare_module
from dfp_batch.engine.prepare import prepare
from dfp_batch.errors import ImageError
from dfp_batch.io import storage
from dfp_batch.io.codec import Frame, Metadata
from pair_files import PLAIN, SHIFTS, at, both_scales, moved_frames, psnr_db, write_pair
from stage_parts import fused_of, halves, run_pair


def scaled(image, factor, dtype):
    """Samples times a factor, as another type."""
    product = image.astype(np.float64) * factor
    return (product if dtype == np.float32 else np.rint(product)).astype(dtype)


def sharp(channels=3):
    """What ``halves`` are the halves of."""
    near, far = halves(channels=channels)
    return np.concatenate([near[:, :24], far[:, 24:]], 1)


# Depth, channels, white.


@both_scales
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    ("extension", "dtype", "factor", "output"),
    [
        ("png", np.uint8, 1, "png"),
        ("png", np.uint16, 257, "png"),
        ("tiff", np.uint8, 1, "png"),
        ("tiff", np.uint16, 257, "png"),
        ("tiff", np.float32, 1 / 255, "tiff"),
        ("jpg", np.uint8, 1, "png"),
    ],
)
def test_depth_and_channels_are_kept(tmp_path, extension, dtype, factor, output, channels, scale):
    frames = [scaled(half, factor, dtype) for half in halves(channels=channels)]
    pair = write_pair(tmp_path, frames, extension)
    facts = run_pair(pair, at(scale), f"{tmp_path}/run")
    assert facts["output_url"].endswith(f"fused.{output}")
    fused = fused_of(facts).pixels
    assert fused.shape == (48 * scale, 48 * scale, channels)
    assert fused.dtype == dtype
    assert facts["bit_depth"] == facts["significant_bits"] == 8 * fused.itemsize
    small = cv2.resize(fused, (48, 48), interpolation=cv2.INTER_AREA).reshape(48, 48, channels)
    least_db = 22 if extension == "jpg" else 26
    assert psnr_db(small, scaled(sharp(channels), factor, dtype), 255 * factor) > least_db


@both_scales
@pytest.mark.parametrize("output", ["png", "tiff"])
@pytest.mark.parametrize("bits", [10, 12, 14])
def test_what_a_camera_does_not_use_of_16_bits_stays_unused(tmp_path, bits, output, scale):
    """The files do not say it; one sample in one frame shows it."""
    white = 2**bits - 1
    frames = [scaled(half, white / 300, np.uint16) for half in halves()]
    frames[1][7, 40] = white
    pair = write_pair(tmp_path, frames, "tiff")
    facts = run_pair(pair, at(scale, format=output), f"{tmp_path}/run")
    assert (facts["bit_depth"], facts["significant_bits"]) == (16, bits)
    fused = fused_of(facts)
    assert (fused.white, fused.pixels.dtype) == (white, np.uint16)
    assert fused.pixels.max() == pytest.approx(white, rel=0.1)
    assert np.median(fused.pixels) == pytest.approx(np.median(frames[0]), rel=0.03)
    if output == "tiff":  # as any other program sees it
        assert tifffile.imread(facts["output_url"]).max() == fused.pixels.max() <= white


def test_a_dark_16_bit_stack_is_not_stretched(tmp_path):
    frames = [half.astype(np.uint16) // 8 for half in halves()]
    facts = run_pair(write_pair(tmp_path, frames), at(1), f"{tmp_path}/run")
    assert facts["significant_bits"] == 10
    assert fused_of(facts).pixels.max() == pytest.approx(max(f.max() for f in frames), abs=1)


# Alpha.


@both_scales
@pytest.mark.parametrize(
    ("extension", "dtype", "output"),
    [
        ("png", np.uint8, "png"),
        ("png", np.uint16, "tiff"),
        ("tiff", np.float32, "tiff"),
        ("png", np.uint8, "webp"),
    ],
)
def test_alpha_is_that_of_the_source_that_was_chosen(tmp_path, extension, dtype, output, scale):
    factor = {np.uint8: 1, np.uint16: 257, np.float32: 1 / 255}[dtype]
    frames = [
        Frame(scaled(half, factor, dtype), scaled(np.full((48, 48), level), factor, dtype))
        for half, level in zip(halves(), (200, 100), strict=True)
    ]
    pair = write_pair(tmp_path, frames, extension)
    fused = fused_of(run_pair(pair, at(scale, format=output), f"{tmp_path}/run"))
    assert fused.alpha.shape == (48 * scale, 48 * scale)
    assert fused.alpha.dtype == dtype
    left, right = fused.alpha[:, : 12 * scale], fused.alpha[:, -12 * scale :]
    np.testing.assert_allclose(left, 200 * factor, atol=factor)
    np.testing.assert_allclose(right, 100 * factor, atol=factor)


def test_a_hole_is_seen_where_the_reference_has_it(tmp_path):
    """Alpha is moved like its frame, and not exposed like it."""
    images = moved_frames(darker=0.7)
    alphas = [np.full((64, 64), 255, np.uint8) for _ in images]
    for alpha, (x, y) in zip(alphas, SHIFTS, strict=True):
        alpha[30 - y : 40 - y, 20 - x : 40 - x] = 0
    frames = [Frame(image, alpha) for image, alpha in zip(images, alphas, strict=True)]
    run = replace(at(1), fusion=replace(PLAIN, align=Registration("translation", 0)))
    fused = fused_of(run_pair(write_pair(tmp_path, frames), run, f"{tmp_path}/run"))
    assert (fused.alpha[33:37, 23:37] < 5).all()
    outside = np.ones((64, 64), bool)
    outside[26:44, 16:44] = False
    assert (fused.alpha[outside] > 250).all()


def test_one_frame_with_alpha_and_one_without_do_not_fit(tmp_path):
    near, far = halves()
    pair = write_pair(tmp_path, [Frame(near, near[..., 0].copy()), Frame(far)])
    with pytest.raises(ImageError, match="3 channels with alpha, 8 bit"):
        prepare(pair, at(1))


# Metadata.


@pytest.mark.parametrize("reference", [0, 1])
@pytest.mark.parametrize("output", ["png", "tiff", "jpeg", "webp"])
def test_profile_and_exif_are_those_of_the_reference_frame(tmp_path, output, reference):
    metadata = [Metadata(None, exif(make=f"Maker {number}")) for number in range(2)]
    metadata[reference] = replace(metadata[reference], icc=ICC)
    frames = [Frame(half, metadata=data) for half, data in zip(halves(), metadata, strict=True)]
    pair = write_pair(tmp_path, frames, reference_frame=reference)
    facts = run_pair(pair, at(2, format=output), f"{tmp_path}/run")
    assert facts["output_url"].endswith({"jpeg": "jpg"}.get(output, output))
    image = seen(storage.read_bytes(facts["output_url"]))
    assert image.info["icc_profile"] == ICC
    block = image.getexif()
    assert block[0x010F] == f"Maker {reference}"
    assert block.get(0x0112, 1) == 1
    assert block.get_ifd(0x8769)[0x829A] == pytest.approx(0.004)


@both_scales
@pytest.mark.parametrize("output", ["png", "tiff", "jpeg", "webp"])
def test_pixels_become_smaller_by_the_scale(tmp_path, output, scale):
    frames = [Frame(half, metadata=Metadata(pixel_size_um=(5.0, 4.0))) for half in halves()]
    pair = write_pair(tmp_path, frames, "tiff")
    fused = fused_of(run_pair(pair, at(scale, format=output), f"{tmp_path}/run"))
    assert fused.metadata.pixel_size_um == pytest.approx((5 / scale, 4 / scale), rel=1e-3)


def test_without_metadata_there_is_none(tmp_path):
    facts = run_pair(write_pair(tmp_path, halves()), at(2), f"{tmp_path}/run")
    assert fused_of(facts).metadata == Metadata()


# Formats.


@pytest.mark.parametrize(
    ("frame", "output", "text"),
    [
        ("deep", "jpeg", "--format jpeg: jpg holds 8 bits per sample, got 16; use png or tiff"),
        ("clear", "jpeg", "--format jpeg: jpg holds no alpha; use png, tiff or webp"),
        ("deep", "webp", "--format webp: webp holds 8 bits per sample, got 16; use png or tiff"),
        ("float", "png", "--format png: png holds 8 or 16 bits per sample, got float32; use tiff"),
    ],
)
def test_a_format_that_cannot_hold_the_frames_is_refused_first(
    tmp_path, monkeypatch, frame, output, text
):
    def costly(*_):
        pytest.fail("registered before the format was checked")

    monkeypatch.setattr(prepare_module, "align_stack", costly)
    make = {
        "deep": lambda half: Frame(half.astype(np.uint16) * 257),
        "clear": lambda half: Frame(half, half[..., 0].copy()),
        "float": lambda half: Frame(half.astype(np.float32) / 255),
    }[frame]
    extension = "tiff" if frame == "float" else "png"
    pair = write_pair(tmp_path, [make(half) for half in halves()], extension)
    with pytest.raises(ImageError, match=f"^{re.escape(text)}$"):
        prepare(pair, at(1, format=output))


@pytest.mark.parametrize("output", ["jpeg", "webp"])
def test_quality_says_how_large_a_file_is(tmp_path, output):
    pair = write_pair(tmp_path, halves())
    sizes = [
        len(storage.read_bytes(run_pair(pair, at(1, **more), f"{tmp_path}/{name}")["output_url"]))
        for name, more in (
            ("low", {"format": output, "quality": 30}),
            ("high", {"format": output, "quality": 98}),
        )
    ]
    assert 2 * sizes[0] < sizes[1]
