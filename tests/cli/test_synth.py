"""``dfp-batch synth``: scenes with known truth."""

from pathlib import Path

import pytest

from command_line import run
from conftest import texture, write_image
from dfp_batch.degradation.kernels import Gaussian
from dfp_batch.io import codec
from dfp_batch.runs.manifest import read_manifest
from dfp_batch.synthetic import SceneSet, SceneSpec


def test_synth_writes_the_archive_of_the_demo(tmp_path):
    target = tmp_path / "samples"
    done = run("synth", str(target), "--count", "6", "--side", "64", "--scale", "2")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"6 scenes -> {target}/manifest.parquet\n"
    pairs = read_manifest(f"{target}/manifest.parquet")
    assert [pair.pair_id for pair in pairs] == [
        "astronaut", "coffee", "chelsea", "camera", "rocket", "coins"
    ]  # fmt: skip
    for pair in pairs:
        near, far, *masks, truth = (
            codec.decode(Path(url).read_bytes(), url).pixels
            for url in (*pair.sources, *pair.masks, pair.reference)
        )
        assert near.shape[:2] == far.shape[:2] == masks[0].shape[:2] == (32, 32)
        assert (near != far).any()
        assert truth.shape[:2] == (64, 64)
        assert (masks[0] + masks[1] == 255).all()


def test_synth_passes_every_flag_on(tmp_path):
    flags = "--frames 3 --layers 4 --psf gaussian --defocus 2 --edge 0.5 --strokes 1 --shift 1"
    flags += " --breathing 0.01 --beyond 1.5 --exposure 0.1 --noise 0.02 --jpeg 70 --side 48"
    flags += " --count 2 --seed 7 --scale 2 --kernel sigma=1.2"
    target = f"{tmp_path}/scenes"
    assert run("synth", target, "--from", "procedural", *flags.split()).returncode == 0
    spec = SceneSpec(3, 4, "gaussian", 2, 0.5, 1, 1, 1, 0.01, 1.5, 0.1, 0.02, 70)
    scenes = SceneSet("procedural", spec, 2, 48, 2, 7, Gaussian(1.2))
    for index, pair in enumerate(read_manifest(f"{target}/manifest.parquet")):
        made = [codec.to_unit(codec.decode(Path(url).read_bytes(), url)) for url in pair.sources]
        assert (made == scenes.scene(index).sources).all()


def test_synth_names_the_images_it_cannot_use(tmp_path):
    write_image(f"{tmp_path}/in/a.png", texture(40, 40))
    (tmp_path / "in" / "b.png").write_bytes(b"no image")
    arguments = ("--from", f"{tmp_path}/in", "--side", "32", "--count", "2")
    done = run("synth", f"{tmp_path}/out", *arguments)
    assert done.returncode == 3
    assert done.stdout.startswith("1 scenes -> ")
    assert done.stderr.startswith(f"not made: b: {tmp_path}/in/b.png: does not start like a JPEG")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--frames", "1"], "frames must be 2 to 26, got 1"),
        (["--psf", "box"], "psf must be disc or gaussian, got 'box'"),
        (["--noise", "nan"], "noise must be 0 to 1, got nan"),
        (["--scale", "5"], "scale must be 1, 2, 3 or 4, got 5"),
        (["--side", "15"], "side_px must be >= 16, got 15"),
        (["--kernel", "box"], "kernel: no component 'box'; known: lanczos2, bicubic"),
        (["--count", "0"], "count must be >= 1, got 0"),
        (["--from", "/nowhere"], "/nowhere: holds no image"),
    ],
)
def test_synth_refuses_bad_options_in_one_line(tmp_path, arguments, text):
    done = run("synth", f"{tmp_path}/out", *arguments)
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
    assert text in done.stderr
    assert not (tmp_path / "out").exists()


def test_synth_leaves_an_archive_alone(make_archive, tmp_path):
    make_archive(1)
    done = run("synth", str(tmp_path))
    assert done.returncode == 2
    assert "manifest.parquet exists already; choose another folder" in done.stderr
