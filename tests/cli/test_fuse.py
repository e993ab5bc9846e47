"""``dfp-batch fuse``: images in, one image out."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import s3fs
import tifffile

from command_line import run
from conftest import publish, texture, write_image
from dfp_batch.io import codec
from dfp_batch.io.codec.index_map import decode_indices
from dfp_batch.io.credentials import use_no_credentials
from store_parts import without_credentials


@pytest.fixture(scope="module")
def two_images(tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    return [
        write_image(f"{folder}/{name}.png", texture(24, 30, seed=k)) for k, name in enumerate("ab")
    ]


def test_fuse_writes_image_and_decision(two_images, tmp_path):
    out, decision = tmp_path / "new" / "out.png", tmp_path / "map.png"
    done = run("fuse", *two_images, "--output", str(out), "--scale", "3", "--preset", "classical",
               "--decision", str(decision))  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert codec.decode(out.read_bytes(), "out").pixels.shape == (72, 90, 3)
    assert decode_indices(decision.read_bytes()).shape == (24, 30)


def test_fuse_takes_three_sources_and_every_format(two_images, tmp_path):
    sources = [*two_images, write_image(f"{tmp_path}/c.png", texture(24, 30, seed=5))]
    for name in ("out.tif", "out.jpeg"):
        quick = ("--set", "reconstruction.iterations=2", "--set", "refinement.iterations=2")
        output = ("--output", f"{tmp_path}/{name}", "--preset", "paper")
        done = run("fuse", *sources, *output, *quick)
        assert done.returncode == 0, done.stderr
        data = (tmp_path / name).read_bytes()
        assert codec.decode(data, name).pixels.shape == (48, 60, 3)


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (["--scale", "5"], 2, "scale must be 1, 2, 3 or 4, got 5"),
        (
            ["--preset", "sharpest"],
            2,
            "preset must be one of balanced, fast, best, classical, paper, got 'sharpest'",
        ),
        (["--set", "focus.kernel=3"], 2, "unknown setting 'focus.kernel'"),
        (["--kernel", "box"], 2, "sigma=1.2, sigma=1.2x0.8@30, module:Class"),
        (["--kernel", "sigma=0"], 2, "kernel.sigma_px must be > 0 and <= 16.0, got 0.0"),
        (["--set", "focus"], 2, "--set takes key=value, got 'focus'"),
        (["--precision", "fp16"], 2, "fp32"),
        (["--config", "/nowhere.toml"], 2, "--config /nowhere.toml: no such file"),
        (["--output", "/tmp/out.xcf"], 2, "the name must end in .png"),
        (["--align", "file"], 2, "--align file needs --align-from RUN"),
        (["--align-from", "/nowhere/r.json"], 3, "/nowhere/r.json: nothing is there, expected a"),
        (["/nowhere/c.png"], 2, "/nowhere/c.png: cannot read: nothing is there"),
    ],
)
def test_errors_are_one_line_without_a_traceback(two_images, tmp_path, arguments, code, text):
    done = run("fuse", *two_images, "--output", f"{tmp_path}/out.png", *arguments)
    assert done.returncode == code
    assert text in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "out.png").exists()


def test_fuse_takes_the_kernel(two_images, tmp_path):
    options = ("--scale", "2", "--preset", "classical", "--kernel")
    images = []
    for kernel in ("lanczos2", "sigma=1.2", "sigma=1.2x0.8@30"):
        done = run("fuse", *two_images, "--output", f"{tmp_path}/{kernel}.png", *options, kernel)
        assert (done.returncode, done.stderr) == (0, "")
        images.append((tmp_path / f"{kernel}.png").read_bytes())
    assert len(set(images)) == 3


def test_fuse_takes_the_pages_of_one_tiff(two_images, tmp_path):
    pages = [codec.decode(Path(url).read_bytes(), url).pixels for url in two_images]
    tifffile.imwrite(tmp_path / "stack.tif", np.stack(pages), photometric="rgb", metadata=None)
    apart, together = tmp_path / "apart.webp", tmp_path / "together.webp"
    options = ("--preset", "classical", "--scale", "1", "--quality", "70")
    for sources, output in ((two_images, apart), ([f"{tmp_path}/stack.tif"], together)):
        done = run("fuse", *sources, "--output", str(output), *options)
        assert (done.returncode, done.stderr) == (0, "")
    images = [codec.decode(path.read_bytes(), "out").pixels for path in (apart, together)]
    assert images[0].shape == (24, 30, 3)
    np.testing.assert_array_equal(*images)


def test_a_registration_that_fuse_wrote_is_used_again(two_images, tmp_path):
    """Changed by hand, so that it is seen to be used."""
    first, again, registration = (tmp_path / name for name in ("1.png", "2.png", "r.json"))
    options = ("--preset", "classical", "--scale", "1", "--confidence", f"{tmp_path}/sure.png")
    done = run("fuse", *two_images, "--output", str(first), *options,
               "--registration", str(registration), "--reference", "1")  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert codec.decode((tmp_path / "sure.png").read_bytes(), "sure").pixels.shape == (24, 30, 1)
    content = json.loads(registration.read_bytes())
    assert [frame["source"] for frame in content["frames"]] == two_images
    assert [frame["flag"] for frame in content["frames"]] == ["identity", "reference"]

    content["frames"][0]["warp"][0][2] = 5
    registration.write_text(json.dumps(content))
    options += ("--align", "file", "--align-from", str(registration), "--set", "output.crop=valid")
    done = run("fuse", *two_images, "--output", str(again), *options)
    assert (done.returncode, done.stderr) == (0, "")
    assert codec.decode(again.read_bytes(), "again").pixels.shape == (24, 25, 3)


def test_sources_that_do_not_fit_exit_with_3(two_images, tmp_path):
    other = write_image(f"{tmp_path}/c.png", texture(24, 31))
    done = run("fuse", two_images[0], other, "--output", f"{tmp_path}/out.png")
    assert done.returncode == 3
    assert re.search(r"30x24 px.*31x24 px.*register", done.stderr)


def test_images_of_a_public_bucket_are_read_without_credentials(s3_url, tmp_path, monkeypatch):
    urls = [
        write_image(f"{s3_url}/fuse/{tmp_path.name}/{k}.png", texture(24, 30, seed=k))
        for k in range(2)
    ]
    for url in urls:
        publish(url)
    options = ("--preset", "classical", "--scale", "1", "--output", str(tmp_path / "out.png"))
    s3fs.S3FileSystem.clear_instance_cache()
    without_credentials(monkeypatch)
    try:
        assert run("fuse", *urls, *options).returncode == 4
        done = run("fuse", *urls, *options, "--anonymous")
        assert (done.returncode, done.stderr) == (0, "")
    finally:
        use_no_credentials(None)
        s3fs.S3FileSystem.clear_instance_cache()
    done = run("fuse", *urls, *options[:-1], f"{s3_url}/out.png", "--anonymous")
    assert done.returncode == 2
    assert "reads s3://archive without credentials, but" in done.stderr
