"""A kernel for each camera of an archive."""

import json
import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from dfp_batch.config.run_config import RunConfig, run_config
from dfp_batch.core.degradation import Degradation
from dfp_batch.degradation.kernels import Gaussian, Lanczos2
from dfp_batch.engine import receipt
from dfp_batch.engine.archive_kernel import with_archive_kernel
from dfp_batch.engine.camera_kernels import CameraKernels, Found, FoundKernels
from dfp_batch.io import codec, storage
from dfp_batch.io.codec import Frame, Metadata
from dfp_batch.pipeline.composition import FusionConfig
from dfp_batch.runs.manifest import Pair
from dfp_batch.synthetic import procedural_image
from stage_parts import run_pair

AUTO = run_config("classical", None, {"kernel": "auto", "scale": 2})
SOFT, HARD = Gaussian(1.6), Lanczos2()


def exif_of(model):
    block = Image.Exif()
    block[0x0110] = model
    return block.tobytes().removeprefix(b"Exif\0\0")


def pairs_of(folder, name, kernel, count=4, model=None, frames=2, **more):
    """Pairs of 160 px made with a kernel, whose files say which camera has taken them."""
    pairs = []
    for number in range(count):
        picture = torch.from_numpy(procedural_image(320, 20 + number))[None]
        low = Degradation(2, kernel)(picture).clamp(0, 1)[0].permute(1, 2, 0).numpy()
        metadata = Metadata(exif=exif_of(model) if model else None)
        frame = Frame(np.rint(low * 255).astype(np.uint8), None, None, metadata)
        urls = [f"{folder}/{name}{number}_{k}.png" for k in range(frames)]
        for url in urls:
            storage.write_bytes(url, codec.encode(frame, "png"))
        pairs.append(Pair(f"{name}{number}", tuple(urls), **more))
    return pairs


def two_cameras(folder, by_exif):
    """Four pairs of each."""

    def named(model):
        return {"model": model} if by_exif else {"camera": model}

    return [
        *pairs_of(folder, "soft", SOFT, **named("soft one")),
        *pairs_of(folder, "hard", HARD, **named("hard one")),
    ]


def found_in(folder, pairs, run=AUTO):
    """The run as it is computed, and what was said."""
    said = []
    return with_archive_kernel(run, f"{folder}/run", pairs, said.append), said


def kernel_of(pair, run, folder):
    """The kernel in the row of a pair."""
    return run_pair(pair, run, f"{folder}/out")["kernel"]


@pytest.mark.parametrize("by_exif", [True, False])
def test_each_camera_has_its_kernel_and_the_run_keeps_them(tmp_path, by_exif):
    pairs = two_cameras(tmp_path, by_exif)
    run, said = found_in(tmp_path, pairs)
    soft = kernel_of(pairs[0], run, tmp_path)
    assert soft.startswith("sigma=1.")
    assert kernel_of(pairs[-1], run, tmp_path) == "lanczos2"
    assert said[0].startswith("kernel of the archive: ")
    assert said[0].endswith("16 frames of 8 items)")
    assert said[1].startswith("kernel of hard one: lanczos2 (sigma ")
    assert said[2].startswith(f"kernel of soft one: {soft} (sigma 1.")
    assert said[2].endswith("8 frames of 4 items)")
    assert said[3] == "kernel of other cameras: lanczos2, the sharpest of these"
    # Nothing is looked at when the run goes on.
    gone = [Pair("gone", ("gone_A.png", "gone_B.png"))]
    assert found_in(tmp_path, gone) == (run, said)


def test_the_row_says_which_camera_it_was(tmp_path):
    (pair,) = pairs_of(tmp_path, "x", Lanczos2(), count=1, model="M 1")
    (plain,) = pairs_of(tmp_path, "y", Lanczos2(), count=1)
    pairs = (pair, replace(pair, camera="of the manifest"), plain)
    found = [
        run_pair(one, FusionConfig.preset("classical", scale=1), f"{tmp_path}/out{k}")["camera"]
        for k, one in enumerate(pairs)
    ]
    assert found == ["M 1", "of the manifest", None]


def test_a_camera_of_the_manifest_goes_before_that_of_the_files(tmp_path):
    taken = two_cameras(tmp_path, by_exif=True)
    pairs = [replace(pair, camera="both") for pair in taken]
    run, said = found_in(tmp_path, pairs)
    assert not isinstance(run.fusion.kernel, CameraKernels)
    assert len(said) == 1


def test_cameras_of_the_manifest_and_of_the_files_stand_side_by_side(tmp_path):
    named = pairs_of(tmp_path, "named", SOFT, camera="soft one")
    silent = pairs_of(tmp_path, "silent", HARD)
    run, said = found_in(tmp_path, [*named, *silent])
    assert kernel_of(named[0], run, tmp_path).startswith("sigma=1.")
    assert kernel_of(silent[0], run, tmp_path) == "lanczos2"
    assert said[1].startswith("kernel of sources without a camera: lanczos2 ")


def test_a_camera_that_was_not_seen_takes_the_sharpest_kernel(tmp_path):
    softer = Gaussian(1.0)
    pairs = pairs_of(tmp_path, "soft", SOFT, model="soft one")
    pairs += pairs_of(tmp_path, "less", softer, model="less soft")
    run, _ = found_in(tmp_path, pairs)
    unseen = pairs_of(tmp_path, "new", HARD, 1, model="new one")
    kernels = [kernel_of(one, run, tmp_path) for one in (pairs[0], pairs[-1], *unseen)]
    assert kernels[0] > kernels[1] == kernels[2]


@pytest.mark.parametrize(
    ("whole", "sharper"), [("sigma=1.1", "sigma=1.1"), ("lanczos2", "lanczos2")]
)
def test_a_camera_of_few_items_takes_no_more_blur_than_all(whole, sharper):
    few, enough = (Found("sigma=1.4", 1.5, 0.1, items, 2 * items) for items in (3, 4))
    all_items = Found(whole, 1.2, 0.1, 9, 18)
    assert few.or_sharper(all_items) == replace(few, kernel=sharper)
    assert few.or_sharper(replace(all_items, kernel="sigma=1.6")) == few
    assert enough.or_sharper(all_items) == enough


def test_a_camera_that_tells_nothing_is_as_if_it_was_not_seen(tmp_path):
    pairs = two_cameras(tmp_path, by_exif=False)
    gone = [Pair(f"g{k}", (f"{tmp_path}/g_A", f"{tmp_path}/g_B"), camera="gone") for k in range(4)]
    run, said = found_in(tmp_path, [*pairs, *gone])
    assert "gone" not in run.fusion.kernel.cameras
    assert said[0].endswith("16 frames of 12 items)")


def test_an_item_that_cannot_be_read_is_no_camera(tmp_path):
    pairs = pairs_of(tmp_path, "soft", SOFT, model="soft one")
    gone = Pair("gone", (f"{tmp_path}/gone_A.png", f"{tmp_path}/gone_B.png"))
    run, said = found_in(tmp_path, [*pairs, gone])
    assert isinstance(run.fusion.kernel, Gaussian)
    assert said[0].endswith("8 frames of 5 items)")
    assert "cameras" not in json.loads(Path(tmp_path / "run" / "kernel.json").read_text())


def test_the_reference_frame_says_the_camera(tmp_path):
    """Of a deep stack it is none of the frames that the kernel is told by."""
    (pair,) = pairs_of(tmp_path, "deep", HARD, 1, model="end", frames=7)
    (middle,) = pairs_of(tmp_path, "middle", HARD, 1, model="middle", frames=2)
    deep = replace(pair, sources=(*pair.sources[:3], middle.sources[0], *pair.sources[4:]))
    _, said = found_in(tmp_path, [deep, pair])
    assert [line.partition(":")[0] for line in said[1:3]] == ["kernel of end", "kernel of middle"]
    _, said = found_in(tmp_path / "first", [replace(deep, reference_frame=0), pair])
    assert len(said) == 1


def test_every_camera_of_the_manifest_is_looked_at(tmp_path):
    many = pairs_of(tmp_path, "many", HARD, 4, camera="many")
    pairs = [replace(pair, pair_id=f"{pair.pair_id}-{k}") for k in range(9) for pair in many]
    pairs += pairs_of(tmp_path, "few", HARD, 2, camera="few")
    run = run_config("classical", None, {"kernel": "auto", "kernel.sample": 3, "scale": 2})
    found_in(tmp_path, pairs, run)
    kept = json.loads(Path(tmp_path / "run" / "kernel.json").read_text())
    assert kept["items"] == 5
    assert {name: one["items"] for name, one in kept["cameras"].items()} == {"many": 3, "few": 2}


@pytest.mark.parametrize(
    ("cameras", "sample", "items"),
    [(8, 64, 8 * 64), (9, 64, 9 * 56), (600, 64, 512), (1, 600, 600)],
)
def test_of_many_cameras_512_items_are_looked_at(tmp_path, cameras, sample, items):
    each = 700 // cameras + 64
    pairs = [
        Pair(f"{c}-{k}", ("a", "b"), camera=str(c)) for c in range(cameras) for k in range(each)
    ]
    run = run_config("classical", None, {"kernel": "auto", "kernel.sample": sample, "scale": 2})
    found_in(tmp_path, pairs, run)  # none of them is there
    kept = json.loads(Path(tmp_path / "run" / "kernel.json").read_text())
    assert (kept["items"], kept["frames"]) == (items, 0)


def test_a_run_that_began_before_there_were_cameras_goes_on_with_its_kernel(tmp_path):
    kept = {"kernel": "sigma=1.31", "sigma_px": 1.4, "error_px": 0.06, "items": 8, "frames": 16}
    storage.write_bytes(f"{tmp_path}/run/kernel.json", json.dumps(kept, indent=1).encode())
    run, said = found_in(tmp_path, two_cameras(tmp_path, by_exif=True))
    assert run.fusion.kernel == Gaussian(1.31)
    line = "kernel of the archive: sigma=1.31 (sigma 1.40 +- 0.06 px say 16 frames of 8 items)"
    assert said == [line]


def test_cameras_of_one_kernel_are_one_for_the_run():
    one = Found("sigma=1.3", 1.4, 0.1, 8, 16)
    assert FoundKernels(one, {"a": one, "b": one}).kernel == Gaussian(1.3)


def test_of_many_cameras_those_of_most_items_are_named():
    def found(items):
        return Found("lanczos2", None, None, items, 0)

    kernels = FoundKernels(found(99), {f"c{k}": found(k + 1) for k in range(11)})
    lines = list(kernels.lines())
    assert [line.split()[2] for line in lines[1:9]] == [f"c{k}:" for k in range(10, 2, -1)]
    other = "kernel of other cameras: lanczos2, the sharpest of these"
    assert lines[9:] == ["and 3 more cameras, see kernel.json", other]
    assert FoundKernels.of_bytes(kernels.to_bytes()) == kernels


def test_kernels_of_cameras_travel_and_tell_receipts_apart(tmp_path):
    (pair,) = pairs_of(tmp_path, "p", HARD, 1, model="hard one")

    def with_hard(kernel):
        kernels = CameraKernels({"hard one": kernel}, "sigma=1.3")
        return RunConfig("classical", replace(AUTO.fusion, kernel=kernels))

    run = with_hard("lanczos2")
    assert pickle.loads(pickle.dumps(run)) == run
    facts = run_pair(pair, run, f"{tmp_path}/run") | {"source_versions": receipt.versions(pair)}
    data = receipt.to_bytes(pair, run, facts)
    storage.write_bytes(f"{tmp_path}/run/outputs/p0/result.json", data)
    assert receipt.adopt(pair, run, f"{tmp_path}/run")["kernel"] == "lanczos2"
    assert receipt.adopt(pair, with_hard("bicubic"), f"{tmp_path}/run") is None
