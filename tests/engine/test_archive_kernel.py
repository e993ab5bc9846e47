"""One kernel for a whole archive."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from dfp_batch.config.run_config import config_of, run_config
from dfp_batch.core.degradation import Degradation
from dfp_batch.degradation.kernel_estimation import ArchiveKernel, EstimatedKernel
from dfp_batch.degradation.kernels import Gaussian, Lanczos2
from dfp_batch.engine.archive_kernel import sharpest_part, with_archive_kernel
from dfp_batch.runs.manifest import Pair
from dfp_batch.synthetic import procedural_image
from stage_parts import make_pair

AUTO = run_config("classical", None, {"kernel": "auto", "scale": 2})


def archive(folder, kernel, count=6):
    """Pairs of 160 px made with a kernel."""
    pairs = []
    for number in range(count):
        picture = torch.from_numpy(procedural_image(320, 20 + number))[None]
        low = Degradation(2, kernel)(picture).clamp(0, 1)[0].permute(1, 2, 0).numpy()
        frame = np.rint(low * 255).astype(np.uint8)
        pair = make_pair(f"{folder}/{number}", frame, frame)
        pairs.append(replace(pair, pair_id=f"p{number}"))
    return pairs


def found_in(run, folder, pairs):
    """The kernel that a run takes, and what was said."""
    said = []
    known = with_archive_kernel(run, str(folder), pairs, said.append)
    return known.fusion.kernel, said


def test_soft_items_say_together_what_the_kernel_is_and_the_run_keeps_it(tmp_path):
    pairs = archive(tmp_path, Gaussian(1.6))
    kernel, said = found_in(AUTO, tmp_path / "run", pairs)
    assert isinstance(kernel, Gaussian)
    assert 1.2 < kernel.sigma_px < 1.8
    assert said[0].startswith(f"kernel of the archive: {kernel} (sigma 1.")
    assert said[0].endswith("px say 12 frames of 6 items)")
    kept = json.loads(Path(tmp_path / "run" / "kernel.json").read_text())
    assert kept["kernel"] == str(kernel)
    # Nothing is looked at when the run goes on.
    assert found_in(AUTO, tmp_path / "run", [Pair("gone", ("gone_A.png", "gone_B.png"))]) == (
        kernel,
        said,
    )


def test_items_made_with_the_default_kernel_say_so(tmp_path):
    kernel, _ = found_in(AUTO, tmp_path / "run", archive(tmp_path, Lanczos2(), 3))
    assert kernel == Lanczos2()


def test_an_item_that_cannot_be_read_is_left_out(tmp_path):
    pairs = archive(tmp_path, Gaussian(1.6), 2)
    Path(pairs[0].sources[0]).write_bytes(b"no image")
    Path(pairs[0].sources[1]).unlink()
    _, said = found_in(AUTO, tmp_path / "run", pairs)
    assert said[0].endswith("px say 2 frames of 2 items)")


def test_where_nothing_can_be_told_it_is_the_default(tmp_path):
    flat = np.full((64, 64, 3), 90, np.uint8)
    kernel, said = found_in(AUTO, tmp_path / "run", [make_pair(str(tmp_path), flat, flat)])
    assert kernel == Lanczos2()
    assert said == ["kernel of the archive: lanczos2; 1 items could not tell it"]


def test_no_more_items_are_looked_at_than_asked_for_and_always_the_same(tmp_path):
    few = run_config("classical", None, {"kernel": "auto", "kernel.sample": 2, "scale": 2})
    pairs = archive(tmp_path, Gaussian(1.2), 4)
    (first, said), (second, again) = (
        found_in(few, tmp_path / name, pairs) for name in ("one", "two")
    )
    assert (first, said) == (second, again)
    assert "of 2 items" in said[0]


@pytest.mark.parametrize(
    "settings",
    [{"kernel": "auto", "scale": 1}, {"kernel": "auto-item"}, {"kernel": "sigma=1.3"}, {}],
)
def test_other_kernels_and_scale_1_need_no_look(tmp_path, settings):
    run = run_config("classical", None, settings)
    assert with_archive_kernel(run, str(tmp_path), [], pytest.fail) is run
    assert not list(tmp_path.iterdir())


def test_the_sharpest_part_of_a_large_frame_is_taken():
    plane = np.zeros((1500, 2600), np.float32)
    plane[400:1400, 1500:2500] = np.random.default_rng(0).random((1000, 1000))
    part = sharpest_part(plane)
    assert part.shape == (1024, 1024)
    assert (part != 0).mean() > 0.85


def test_a_small_frame_is_taken_whole():
    plane = np.random.default_rng(0).random((40, 70), np.float32)
    assert np.array_equal(sharpest_part(plane), plane)


def test_a_run_that_began_when_auto_meant_each_item_goes_on_so():
    values = run_config("fast", None, {"kernel": "auto-item"}).values()
    assert type(config_of({**values, "kernel.use": "auto"}).fusion.kernel) is EstimatedKernel
    assert type(config_of(AUTO.values()).fusion.kernel) is ArchiveKernel
