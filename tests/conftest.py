"""Fixtures shared by all tests: an S3 server, a Ray of our own, tiny archives."""

import gc
import json
import os
import shutil
import tempfile
import threading
import weakref
from pathlib import Path

import hypothesis
import numpy as np
import pytest
import torch

from dfp_batch.io import codec, storage
from dfp_batch.io.codec import Frame
from dfp_batch.runs.manifest import Pair, write_manifest

pytest_plugins = ["small_scenes"]

# How long an example takes says what else the machine does.
hypothesis.settings.register_profile("any-machine", deadline=None)
hypothesis.settings.load_profile("any-machine")

# What a test needs says in which tier it is; one that needs nothing is a unit test.
FIXTURES_OF = {"ray": {"local_ray", "ray_head"}, "s3": {"s3_url"}}
PLACES_OF = {  # files, folders, tests: the beginning of their ids
    "train": ("jobs/test_jobs.py", "training/"),
    "process": (
        "cli/test_entrance.py",
        "cli/test_help.py::test_help_imports",
        "cli/test_help.py::test_tab",
        "cli/test_help.py::test_the_script",
        "cli/test_voice.py::test_a_reader",
        "cli/test_voice.py::test_no_color",
        "doctor/test_doctor.py::test_what_is_missing",
        "engine/test_costs.py::test_a_composition_that_fails",
        "engine/test_processes.py",
        "evaluation/test_command.py::test_the_process",
        "evaluation/test_run.py::test_a_dead_worker",
        "jobs/test_record.py::test_what_cannot_be_made",
        "report/test_browser.py",
        "runs/test_ledger.py::test_the_lease_of_a_dead_process",
        "runs/test_lease.py::test_one_of_many_processes",
        "test_examples.py",
        "test_imports.py::test_entrance_stays_light",
        "test_imports.py::test_two_arrays_are_fused",
    ),
}


def pytest_collection_modifyitems(items):
    """Mark tests by the fixtures they use, the stores they run on, and where they stand."""
    for item in items:
        place = item.nodeid.removeprefix("tests/")
        tiers = {tier for tier, places in PLACES_OF.items() if place.startswith(places)}
        tiers |= {tier for tier, used in FIXTURES_OF.items() if used & set(item.fixturenames)}
        if hasattr(item, "callspec") and "s3" in map(str, item.callspec.params.values()):
            tiers.add("s3")
        for tier in sorted(tiers):
            item.add_marker(tier)
        if "ray" in tiers:
            item.add_marker(pytest.mark.xdist_group("ray"))  # one Ray, in one process


def pytest_collection_finish():
    """What is there to stay is no garbage: looking for it again and again takes a tenth longer."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True, scope="session")
def one_thread():
    """On images this small, threads only wait for each other: 30 times longer on a busy machine."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def s3_url():
    """URL of an empty bucket on a local S3 server; the environment points every driver to it."""
    from moto.server import ThreadedMotoServer  # noqa: PLC0415 - slow; only for those who ask

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        patch.setenv("AWS_ACCESS_KEY_ID", "testing")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        _create_bucket("archive")
        yield "s3://archive"
    server.stop()


def _create_bucket(name):
    import s3fs  # noqa: PLC0415

    s3fs.S3FileSystem(skip_instance_cache=True).mkdir(name)


def deny(url):
    """Nobody may read or replace this object on S3 any more, whatever the credentials."""
    import s3fs  # noqa: PLC0415

    place = url.removeprefix("s3://")
    actions = ["s3:GetObject", "s3:HeadObject", "s3:PutObject"]
    resource = {"Effect": "Deny", "Principal": "*", "Resource": f"arn:aws:s3:::{place}"}
    policy = {"Version": "2012-10-17", "Statement": [{"Action": actions, **resource}]}
    bucket = place.partition("/")[0]
    s3fs.S3FileSystem().call_s3("put_bucket_policy", Bucket=bucket, Policy=json.dumps(policy))


def publish(url):
    """Anybody may read this object on S3 from now on."""
    import s3fs  # noqa: PLC0415

    bucket, _, key = url.removeprefix("s3://").partition("/")
    fs = s3fs.S3FileSystem()
    fs.call_s3("put_object_acl", Bucket=bucket, Key=key, ACL="public-read")


def archive_away(url):
    """Move an object on S3 to cold storage."""
    import s3fs  # noqa: PLC0415

    bucket, _, key = url.removeprefix("s3://").partition("/")
    place = {"Bucket": bucket, "Key": key, "StorageClass": "GLACIER"}
    s3fs.S3FileSystem().call_s3("put_object", Body=storage.read_bytes(url), **place)


@pytest.fixture(scope="session")
def local_ray(s3_url):
    """One Ray on this machine; its workers see the S3 server, the tests and the examples."""
    import ray  # noqa: PLC0415 - slow; only for those who ask

    with pytest.MonkeyPatch.context() as patch:
        tests = Path(__file__).parent
        for folder in (tests, tests.parent / "examples"):
            patch.setenv("PYTHONPATH", str(folder), prepend=os.pathsep)
        patch.setenv("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        ray.init("local", num_cpus=2, include_dashboard=False, log_to_driver=False)
        yield
        ray.shutdown()


@pytest.fixture(scope="session")
def ray_head():
    """A `ray start --head` of its own on the loopback interface, which asks for a token."""
    from ray_head import RayHead  # noqa: PLC0415 - slow; only for those who ask

    with RayHead() as head:
        yield head


@pytest.fixture
def short_folder():
    """An empty folder whose path is short enough for those of Ray's sockets."""
    folder = Path(tempfile.mkdtemp(prefix="t-", dir="/tmp"))
    yield folder
    shutil.rmtree(folder)


def texture(height, width, channels=3, seed=0):
    """A photograph-like random texture (height, width, channels), uint8.

    Textures of one size and several seeds are frames of one scene: they can be registered.
    """
    import cv2  # noqa: PLC0415

    scene, own = (np.random.default_rng(number) for number in (0, 1 + seed))
    size = (height, width, channels)
    noise = (scene.normal(size=size) + 0.5 * own.normal(size=size)).astype(np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), 1.0).reshape(noise.shape)
    return np.clip(128 + 140 * smooth, 8, 255).astype(np.uint8)


def write_image(url, pixels, extension="png"):
    """Write (h, w, C) pixels and return the URL."""
    storage.write_bytes(url, codec.encode(Frame(pixels), extension))
    return url


@pytest.fixture
def make_archive(tmp_path):
    """Build an archive of tiny pairs; ``faults`` maps a pair's number to the code of its corner."""

    def make(count, folder=str(tmp_path), faults=None, size=(24, 20), channels=3):
        pairs = []
        for number in range(count):
            near, far = (texture(*size, channels, seed=2 * number + k) for k in (0, 1))
            if number in (faults or {}):
                near[:6, :6] = far[:6, :6] = faults[number]
            names = (f"{folder}/p{number:02d}_A.png", f"{folder}/p{number:02d}_B.png")
            sources = tuple(map(write_image, names, (near, far)))
            pairs.append(Pair(f"p{number:02d}", sources))
        url = f"{folder}/manifest.parquet"
        write_manifest(url, pairs)
        return url

    return make


class Alive:
    """Counts arrays that nobody has let go of: ``alive(array)`` is the array."""

    def __init__(self):
        self.now = 0
        self.most = 0
        self._lock = threading.RLock()  # frames are loaded in a thread of their own

    def __call__(self, array):
        weakref.finalize(array, self._gone)
        with self._lock:
            self.now += 1
            self.most = max(self.most, self.now)
        return array

    def _gone(self):
        with self._lock:
            self.now -= 1


@pytest.fixture(params=["local", "s3"])
def run_url(request, tmp_path):
    """A run directory that is not there yet."""
    if request.param == "local":
        return str(tmp_path / "run")
    return f"{request.getfixturevalue('s3_url')}/{tmp_path.name}/run"
