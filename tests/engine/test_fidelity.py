"""What goes in comes out: depth, white, alpha, metadata, size, place; and nothing else."""

import json
import re
from dataclasses import replace

import cv2
import numpy as np
import pytest
import tifffile

from codec_samples import ICC, exif, seen
from conftest import Alive
from dfp_batch.alignment.crop import valid_rectangle
from dfp_batch.alignment.registration import Registration
from dfp_batch.alignment.stack import Stack
from dfp_batch.config.run_config import Output, RunConfig
from dfp_batch.engine import frames as frames_module
from dfp_batch.engine import prepare as prepare_module
from dfp_batch.engine.frames import read_frame
from dfp_batch.engine.prepare import prepare
from dfp_batch.engine.stages import Stage, run_stage
from dfp_batch.errors import AlignmentError, ImageError
from dfp_batch.io import codec, storage
from dfp_batch.io.codec import Frame, Metadata
from dfp_batch.io.codec.index_map import decode_indices
from dfp_batch.pipeline.composition import FusionConfig
from dfp_batch.reconstruction.deep_fusion_prior import DeepFusionPrior
from dfp_batch.refinement.decision_embedding import DecisionEmbedding
from dfp_batch.runs.attempts import SCHEMA
from dfp_batch.runs.manifest import Pair
from dfp_batch.synthetic import procedural_image
from stage_parts import CLASSICAL, folder_of, fused_of, halves, run_pair

PLAIN = FusionConfig.preset("classical", scale=1)
both_scales = pytest.mark.parametrize("scale", [1, 2])


def at(scale, **output):
    return RunConfig("test", replace(CLASSICAL, scale=scale), Output(**output))


def write_pair(folder, frames, extension="png", **more):
    """Write frames, or pixels (h, w, C), and make a pair of them."""
    urls = tuple(f"{folder}/{number:02d}.{extension}" for number in range(len(frames)))
    for url, frame in zip(urls, frames, strict=True):
        whole = frame if isinstance(frame, Frame) else Frame(frame)
        storage.write_bytes(url, codec.encode(whole, codec.extension_of(url)))
    return Pair("x", urls, **more)


def scaled(image, factor, dtype):
    """Samples times a factor, as another type."""
    product = image.astype(np.float64) * factor
    return (product if dtype == np.float32 else np.rint(product)).astype(dtype)


def psnr_db(image, truth, white):
    error = (image.astype(np.float64) - truth) / white
    return -10 * np.log10((error**2).mean())


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
        ("float", "png", "--format png: png holds 8 or 16 bits per sample, got 32; use tiff"),
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


# Frames that moved.


SHIFTS = ((0, 0), (4, -3), (-3, 5))  # of frames, in px


def picture(side_px=80, seed=3):
    image = procedural_image(side_px, seed).transpose(1, 2, 0)
    return np.rint(255 * image).astype(np.uint8)


def moved_frames(count=3, darker=1.0):
    """Windows (64, 64, 3) of one picture, each sharp in its own third."""
    frames = []
    for number, (x, y) in enumerate(SHIFTS[:count]):
        blurred = cv2.GaussianBlur(picture(), (0, 0), 1.5)
        left, right = 8 + 64 * number // count, 8 + 64 * (number + 1) // count
        blurred[:, left:right] = picture()[:, left:right]
        frames.append(blurred[8 + y : 72 + y, 8 + x : 72 + x])
    return [frames[0], *(np.rint(frame * darker).astype(np.uint8) for frame in frames[1:])]


def window(number):
    """What the frame of this number would show if all of it were sharp."""
    x, y = SHIFTS[number]
    return picture()[8 + y : 72 + y, 8 + x : 72 + x]


def registration_of(facts):
    return json.loads(storage.read_bytes(f"{folder_of(facts)}/registration.json"))


@pytest.fixture
def moved(tmp_path):
    return write_pair(tmp_path, moved_frames())


@pytest.mark.parametrize("reference", [0, 1, 2])
def test_the_view_is_that_of_the_reference_frame(moved, tmp_path, reference):
    facts = run_pair(replace(moved, reference_frame=reference), at(1), f"{tmp_path}/run")
    assert facts["reference_frame"] == reference
    assert facts["align_flags"][reference] == "reference"
    assert facts["align_score_after"] > facts["align_score_before"]
    inner = np.s_[12:-12, 12:-12]
    fused = fused_of(facts).pixels[inner]
    found = [psnr_db(fused, window(number)[inner], 255) for number in range(3)]
    assert np.argmax(found) == reference
    assert found[reference] > 26


def test_the_pair_says_which_reference_before_the_configuration_does(moved, tmp_path):
    of_config = replace(PLAIN, align=Registration(reference=2))
    assert run_pair(moved, PLAIN, f"{tmp_path}/a")["reference_frame"] == 1
    assert run_pair(moved, of_config, f"{tmp_path}/b")["reference_frame"] == 2
    pair = replace(moved, reference_frame=0)
    assert run_pair(pair, of_config, f"{tmp_path}/c")["reference_frame"] == 0


def test_a_reference_that_a_stack_does_not_have_is_an_error_of_this_stack(moved):
    run = replace(at(1), fusion=replace(PLAIN, align=Registration(reference=3)))
    report, _ = run_stage(Stage.PREPARE, "x", lambda: prepare(moved, run))
    assert (report.failure.category, report.failure.error_type) == ("input", "ImageError")
    assert "must be 0 to 2 in a stack of 3 frames, got 3" in report.failure.message


def test_exposure_is_that_of_the_reference_frame(tmp_path):
    pair = write_pair(tmp_path, moved_frames(darker=0.8), reference_frame=0)
    facts = run_pair(pair, at(1), f"{tmp_path}/run")
    assert facts["gain_min"] == 1
    assert facts["gain_max"] == pytest.approx(1.25, rel=0.02)
    inner = np.s_[12:-12, 12:-12]
    assert psnr_db(fused_of(facts).pixels[inner], window(0)[inner], 255) > 26


@both_scales
def test_cropped_it_is_exactly_the_valid_rectangle_of_the_whole(moved, tmp_path, scale):
    whole = run_pair(moved, at(scale), f"{tmp_path}/whole")
    assert (whole["width_px"], whole["height_px"]) == (64 * scale, 64 * scale)
    mask = codec.decode(storage.read_bytes(f"{folder_of(whole)}/valid.png"), "valid").pixels
    assert set(np.unique(mask)) == {0, 255}
    assert whole["valid_share"] == pytest.approx((mask == 255).mean())
    top, left, height, width = valid_rectangle(mask[..., 0] == 255)
    # 7 columns and 8 rows are not seen by all, to a pixel of the registration.
    assert abs(width - 57) <= 1
    assert abs(height - 56) <= 1

    cut = run_pair(moved, at(scale, crop="valid"), f"{tmp_path}/cut")
    assert (cut["width_px"], cut["height_px"]) == (scale * width, scale * height)
    inside = np.s_[scale * top : scale * (top + height), scale * left : scale * (left + width)]
    np.testing.assert_array_equal(fused_of(cut).pixels, fused_of(whole).pixels[inside])


def test_alpha_is_cropped_as_well(tmp_path):
    frames = [Frame(image, image[..., 1].copy()) for image in moved_frames()]
    cut = run_pair(write_pair(tmp_path, frames), at(1, crop="valid"), f"{tmp_path}/run")
    fused = fused_of(cut)
    assert fused.alpha.shape == fused.pixels.shape[:2] == (cut["height_px"], cut["width_px"])
    assert cut["height_px"] < 64


def test_cropping_what_did_not_move_changes_nothing(tmp_path):
    pair = write_pair(tmp_path, halves())
    facts = [run_pair(pair, at(2, crop=crop), f"{tmp_path}/{crop}") for crop in ("none", "valid")]
    assert facts[0]["output_sha256"] == facts[1]["output_sha256"]
    assert facts[0]["valid_share"] == 1
    assert not storage.exists(f"{folder_of(facts[0])}/valid.png")


def test_a_stack_in_one_file_is_the_same_as_its_frames_in_files(tmp_path):
    frames = moved_frames()
    ome = f"{tmp_path}/stack.ome.tif"
    size = {"PhysicalSizeX": 0.5, "PhysicalSizeY": 0.5, "PhysicalSizeXUnit": "µm"}
    tifffile.imwrite(ome, np.stack(frames), photometric="rgb", metadata={"axes": "ZYXS", **size})
    apart = run_pair(write_pair(tmp_path, frames), at(2), f"{tmp_path}/apart")
    together = run_pair(Pair("x", (ome,)), at(2), f"{tmp_path}/together")
    np.testing.assert_array_equal(fused_of(together).pixels, fused_of(apart).pixels)
    assert fused_of(together).metadata.pixel_size_um == pytest.approx((0.25, 0.25), rel=1e-3)
    paths = {"output_url", "output_sha256", "output_bytes", "source_versions"}
    assert {k: v for k, v in together.items() if k not in paths} == {
        k: v for k, v in apart.items() if k not in paths
    }


# Registration of another run.


@pytest.mark.parametrize("what", ["run", "file"])
def test_the_registration_of_another_run_gives_the_same_image(moved, tmp_path, monkeypatch, what):
    pair = replace(moved, reference_frame=0)
    first = run_pair(pair, at(2), f"{tmp_path}/first")

    def costly(*_):
        pytest.fail("registered again")

    monkeypatch.setattr(prepare_module, "align_stack", costly)
    source = f"{tmp_path}/first" if what == "run" else f"{folder_of(first)}/registration.json"
    run = replace(at(2), align_from=source)
    again = run_pair(pair, run, f"{tmp_path}/again")
    assert again["output_sha256"] == first["output_sha256"]
    assert registration_of(again) == registration_of(first)
    paths = {"output_url"}
    assert {k: v for k, v in again.items() if k not in paths} == {
        k: v for k, v in first.items() if k not in paths
    }


def test_the_reference_of_another_run_is_the_reference_in_every_respect(tmp_path):
    frames = [
        Frame(image, metadata=Metadata(exif=exif(make=f"Maker {number}")))
        for number, image in enumerate(moved_frames())
    ]
    pair = write_pair(tmp_path, frames)
    first = run_pair(replace(pair, reference_frame=2), at(1), f"{tmp_path}/first")
    again = run_pair(pair, replace(at(1), align_from=f"{tmp_path}/first"), f"{tmp_path}/again")
    assert again["reference_frame"] == 2
    assert again["output_sha256"] == first["output_sha256"]
    assert seen(storage.read_bytes(again["output_url"])).getexif()[0x010F] == "Maker 2"


def test_another_registration_is_used_as_it_is(tmp_path):
    """Also one that no registration would find."""
    pair = write_pair(tmp_path, halves())
    first = run_pair(pair, at(1), f"{tmp_path}/first")
    changed = registration_of(first)
    changed["frames"][1]["warp"][0][2] = 8
    changed["frames"][1]["flag"] = "registered"
    storage.write_bytes(f"{tmp_path}/r.json", json.dumps(changed).encode())
    run = replace(at(1), align_from=f"{tmp_path}/r.json")
    facts = run_pair(pair, run, f"{tmp_path}/again")
    assert facts["valid_share"] == pytest.approx(40 / 48)
    assert facts["output_sha256"] != first["output_sha256"]


def test_frames_that_share_no_view_cannot_be_cropped_to_it(tmp_path):
    pair = write_pair(tmp_path, halves())
    changed = registration_of(run_pair(pair, at(1), f"{tmp_path}/first"))
    changed["frames"][1]["warp"][0][2] = 60
    storage.write_bytes(f"{tmp_path}/r.json", json.dumps(changed).encode())
    run = replace(at(1, crop="valid"), align_from=f"{tmp_path}/r.json")
    with pytest.raises(ImageError, match=r"^no pixel is seen by all frames.*--crop"):
        run_pair(pair, run, f"{tmp_path}/again")
    whole = run_pair(pair, replace(run, output=Output()), f"{tmp_path}/again")
    assert whole["valid_share"] == 0


def test_a_registration_that_is_not_there_is_an_error_of_the_pair(moved, tmp_path):
    run = replace(at(1), align_from=f"{tmp_path}/nowhere")
    report, _ = run_stage(Stage.PREPARE, "x", lambda: prepare(moved, run))
    assert (report.failure.category, report.failure.error_type) == ("input", "AlignmentError")
    assert "nowhere/outputs/x/registration.json: nothing is there" in report.failure.message


# Frames of something else.


SHORT_PAPER = FusionConfig(
    refinement=DecisionEmbedding(1),
    reconstruction=DeepFusionPrior(1),
    align=Registration(),
    scale=1,
    precision="fp32",
)


@pytest.mark.parametrize("config", [PLAIN, SHORT_PAPER], ids=["classical", "paper"])
def test_a_frame_of_something_else_is_left_out(tmp_path, config):
    near, far = moved_frames(2)
    with_other = write_pair(tmp_path / "three", [near, picture(64, seed=9), far], reference_frame=0)
    facts = run_pair(with_other, config, f"{tmp_path}/three")
    assert facts["align_flags"] == ["reference", "failed", "registered"]
    assert facts["n_sources"] == 3
    assert facts["align_score_after"] < Registration().floor
    labels = decode_indices(storage.read_bytes(f"{folder_of(facts)}/decision.png"))
    assert set(np.unique(labels)) <= {0, 2}
    without = write_pair(tmp_path / "two", [near, far], reference_frame=0)
    alone = run_pair(without, config, f"{tmp_path}/two")
    if config is PLAIN:
        assert set(np.unique(labels)) == {0, 2}
        np.testing.assert_array_equal(fused_of(facts).pixels, fused_of(alone).pixels)


def test_a_pair_of_two_things_is_an_error_of_the_pair(tmp_path):
    pair = write_pair(tmp_path, [picture(64, seed=3), picture(64, seed=9)])
    with pytest.raises(AlignmentError):
        prepare(pair, at(1))
    report, _ = run_stage(Stage.PREPARE, "x", lambda: prepare(pair, at(1)))
    assert (report.failure.category, report.failure.error_type) == ("input", "AlignmentError")
    assert "--align none takes them as they are" in report.failure.message
    run = replace(at(1), fusion=replace(PLAIN, align=Registration("none")))
    assert run_pair(pair, run, f"{tmp_path}/run")["align_flags"] == ["reference", "identity"]


def test_a_stack_of_more_frames_than_a_decision_can_name_is_refused(moved, monkeypatch):
    monkeypatch.setattr(prepare_module, "_MOST_FRAMES", 2)
    with pytest.raises(ImageError, match=r"^3 frames, at most 2 can be fused$"):
        prepare(moved, at(1))


# The row, and memory.


def test_every_fact_of_a_moved_stack_has_a_column(moved, tmp_path):
    facts = run_pair(moved, at(2, crop="valid", format="tiff"), f"{tmp_path}/run")
    assert set(facts) <= set(SCHEMA.names)
    row = SCHEMA.empty_table().schema
    for name, value in facts.items():
        assert value is None or isinstance(value, (int, float, str, list)), (name, row.field(name))
    assert 0 < facts["valid_share"] < 1
    assert 0 <= facts["low_confidence_share"] < 1


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_few_frames_are_alive_however_many_there_are(tmp_path, monkeypatch, dtype):
    """Decoded, and as the method sees them; an alpha is decoded with its frame."""
    scale = 1 if dtype == np.uint8 else 1 / 255
    near, far = ((half * scale).astype(dtype) for half in halves(20, 24))
    frames = [Frame(image, image[..., 0].copy()) for image in (near, far)] * 15
    pair = write_pair(tmp_path, frames, "tiff")
    decoded, exposed = Alive(), Alive()

    def noted(url):
        frame = read_frame(url)
        decoded(frame.pixels)
        return frame

    take = Stack.__getitem__
    monkeypatch.setattr(frames_module, "read_frame", noted)
    monkeypatch.setattr(Stack, "__getitem__", lambda *arguments: exposed(take(*arguments)))
    prepare(pair, at(1))
    assert decoded.most <= 4
    assert exposed.most <= 4
    assert decoded.now == exposed.now == 0
