"""What README and docs/ say to type does what they say, page by page, on small archives."""

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import tifffile

from command_line import run
from conftest import publish, texture, write_image
from dfp_batch.io import storage
from page_commands import PAGES, ROOT, shown

# What a page cannot do here, and who does it instead.
ELSEWHERE = {
    "--address": "a cluster: tests/engine/test_jobs.py, tests/engine/test_elastic.py",
    "doctor": "starts a Ray of its own: tests/doctor/test_doctor.py",
    "--install-completion": "changes the shell of whoever runs the tests",
    "serve": "ends by Ctrl-C: tests/report/test_server.py",
    "bench": "seconds of a machine: tests/benchmark/test_bench.py",
    "plan": "measures a machine for half a minute: tests/cli/test_plan.py",
}
# Slower than a test may be: the same with less.
SMALLER = {
    "--side 512": "--side 96",
    "evaluate bundled": "evaluate bundled --limit 2 --side 96 --workers 1",
    "evaluate procedural": "evaluate procedural --workers 1",
}
TO_RUN = [page for page in PAGES if any(one.words[0] == "dfp-batch" for one in shown(page))]
NEEDS_YOU = {"verify": {0, 3}}  # it has something to say


@pytest.fixture
def world(tmp_path, monkeypatch, s3_url, local_ray):
    """The folder that a reader stands in; returns what the buckets are called here."""
    import ray  # noqa: PLC0415 - slow; only for those who ask

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RAY_ADDRESS", ray.get_runtime_context().gcs_address)
    for folder, names in {"PHOTOS": ("coffee", "coins"), "MORE": ("rocket",)}.items():
        for index, (name, letter) in enumerate((n, c) for n in names for c in "AB"):
            write_image(f"{folder}/{name}_{letter}.png", texture(40, 48, seed=index))
    for index, letter in enumerate("ABC"):
        write_image(f"{letter}.jpg", texture(40, 48, seed=index), "jpg")
    planes = np.stack([texture(40, 48, 1, seed=k)[..., 0] for k in range(3)])
    tifffile.imwrite("stack.ome.tif", planes, metadata={"axes": "ZYX"})
    Path("CELLS").mkdir()
    channels = {"axes": "ZCYX"}
    tifffile.imwrite("CELLS/cell.ome.tif", np.stack([planes, planes], 1), metadata=channels)
    Path("settings.toml").write_text('preset = "classical"\n')
    shutil.copytree(ROOT / "examples", "examples")
    bucket = f"{s3_url}/{tmp_path.name}"
    for path in Path("PHOTOS").iterdir():
        for place in ("BUCKET", "PUBLIC"):
            storage.write_bytes(f"{bucket}/{place}/specimens/{path.name}", path.read_bytes())
    for path in Path("PHOTOS").iterdir():
        publish(f"{bucket}/PUBLIC/specimens/{path.name}")
    return bucket


def here(text, bucket):
    """The command with what is there in this world."""
    for large, small in SMALLER.items():
        text = text.replace(large, small)
    return re.sub(r"s3://(BUCKET|PUBLIC|MINE)\b", rf"{bucket}/\1", text)


def fused_by_others():
    """What the reader's own program makes of what `evaluate --images` has written."""
    for source in Path("EVAL-1/sources/x2").glob("*_A.png"):
        target = Path("DIR/x2", source.name.replace("_A", ""))
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, target)


def elsewhere(words):
    return bool(ELSEWHERE.keys() & set(words))


def is_there(command):
    """The run that a command is about, as the reader has made it on another page."""
    for place in re.findall(r"PHOTOS/manifest-x2|s3:\S+/RUN", command):
        if not storage.exists(f"{place}/run.json"):
            assert run("submit", "PHOTOS", "--scale", "2", "--output", place).returncode == 0


@pytest.mark.parametrize("page", TO_RUN, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_a_page_does_what_it_says(page, world):
    for command in shown(page):
        text = here(command.text, world)
        words = command._replace(text=text).words
        if words[0] == "mv":
            shutil.rmtree(words[2])
            shutil.move(*words[1:])
        if words[0] != "dfp-batch" or elsewhere(words):
            continue
        is_there(text)
        done = run(*words[1:])
        assert done.returncode in NEEDS_YOU.get(words[1], {0}), f"{command}\n{done.stderr}"
        if "--images" in words:
            fused_by_others()


BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
IN_PYTHON = [page for page in PAGES if BLOCK.search(page.read_text())]


@pytest.mark.parametrize("page", IN_PYTHON, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_python_in_a_page_runs(page, world):
    names = {"a": texture(40, 48, seed=0), "b": texture(40, 48, seed=1)}
    for block in BLOCK.findall(page.read_text()):
        exec(compile(block, str(page), "exec"), names)


def test_nothing_is_left_out_by_accident():
    commands = [one for page in TO_RUN for one in shown(page) if one.words[0] == "dfp-batch"]
    assert sum(not elsewhere(one.words) for one in commands) > len(commands) / 2
    for test in re.findall(r"tests/\S+\.py", " ".join(ELSEWHERE.values())):
        assert (ROOT / test).is_file()
