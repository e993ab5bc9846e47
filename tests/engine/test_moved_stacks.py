"""Stacks that moved, through the stages: views, crops, exposure, other registrations."""

import json
from dataclasses import replace

import cv2
import numpy as np
import pytest
import tifffile

from codec_samples import exif, seen
from conftest import Alive
from dfp_batch.alignment.crop import valid_rectangle
from dfp_batch.alignment.registration import Registration
from dfp_batch.alignment.stack import Stack
from dfp_batch.config.run_config import Output
from dfp_batch.engine import checks as checks_module
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
from pair_files import PLAIN, SHIFTS, at, both_scales, moved_frames, picture, psnr_db, write_pair
from stage_parts import folder_of, fused_of, halves, run_pair


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


def dusty_frames(side_px=192, steps=(0, 14, -12)):
    """A half with detail beside an empty one, which moves along over two specks of dust."""
    wide = picture(side_px + 40)
    wide[:, side_px // 2 :] = 150
    frames = [wide[20 + y : 20 + y + side_px, 20:-20].copy() for y in steps]
    for frame in frames:
        frame[60:63, 150:154] = frame[120:124, 160:163] = 90
    return frames


def test_dust_on_the_sensor_leaves_no_trail(tmp_path):
    pair = write_pair(tmp_path, dusty_frames(), reference_frame=0)
    facts = run_pair(pair, at(1), f"{tmp_path}/mended")
    assert facts["mended_spots"] == 2
    assert fused_of(facts).pixels[10:-10, 130:-10].min() > 140
    kept = run_pair(pair, replace(PLAIN, spots="keep"), f"{tmp_path}/kept")
    assert kept["mended_spots"] == 0
    trail = fused_of(kept).pixels[10:-10, 130:-10].min(-1) < 120
    assert cv2.connectedComponents(trail.astype(np.uint8))[0] - 1 > 4


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
    monkeypatch.setattr(checks_module, "MOST_FRAMES", 2)
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
