import json

import numpy as np
import pytest

from dfp_batch.alignment.registration import RegistrationResult
from dfp_batch.alignment.stack_alignment import StackAlignment
from dfp_batch.engine import registration_file
from dfp_batch.errors import AlignmentError
from dfp_batch.io import storage

SHAPE = (40, 50, 3)
NAMES = ("a.png", "b.png", "c.png")


@pytest.fixture
def alignment():
    warps = np.tile(np.eye(3), (3, 1, 1))
    warps[2] += np.random.default_rng(0).normal(size=(3, 3)) / 7  # digits that no decimal ends
    registered = RegistrationResult(
        1, warps, (0.1, 1.0, 1 / 3), (0.1, 1.0, 0.9), ("failed", "reference", "registered")
    )
    return StackAlignment(registered, np.array([[1, 1, 1], [1, 1, 1], [1 / 3, 0.9, 1.1]]))


@pytest.fixture
def content(alignment):
    return json.loads(registration_file.to_bytes(alignment, NAMES, SHAPE[:2]))


def write(path, content):
    storage.write_bytes(str(path), json.dumps(content).encode())
    return str(path)


def read(url, count=3, shape=SHAPE):
    return registration_file.read(url, "a/pair", count, shape)


def refusal(url, **options):
    with pytest.raises(AlignmentError) as caught:
        read(url, **options)
    text = str(caught.value)
    assert "\n" not in text
    return text


@pytest.mark.parametrize("from_run", [True, False])
def test_what_is_read_is_exactly_what_was_written(alignment, tmp_path, from_run):
    file = tmp_path / "outputs" / "a%2Fpair" / "registration.json" if from_run else None
    file = file or tmp_path / "any.json"
    storage.write_bytes(str(file), registration_file.to_bytes(alignment, NAMES, SHAPE[:2]))
    found = read(str(tmp_path if from_run else file))
    np.testing.assert_array_equal(found.gains, alignment.gains)
    np.testing.assert_array_equal(found.registered.warps, alignment.registered.warps)
    for name in ("reference", "before", "after", "flags", "kept"):
        assert getattr(found.registered, name) == getattr(alignment.registered, name)


def test_the_file_says_whose_registration_it_is(content):
    assert (content["width_px"], content["height_px"], content["reference"]) == (50, 40, 1)
    assert [frame["source"] for frame in content["frames"]] == list(NAMES)
    assert "warp maps (x, y, 1) of the reference frame to the frame" in content["meaning"]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"count": 2}, "expected 2 of 50x40 px"),
        ({"shape": (50, 40, 3)}, "expected 3 of 40x50 px"),
        ({"count": 4, "shape": (41, 50, 3)}, "expected 4 of 50x41 px"),
    ],
)
def test_a_registration_of_another_stack_is_refused(content, tmp_path, options, expected):
    url = write(tmp_path / "r.json", content)
    text = f"{url} registers 3 frames of 50x40 px, {expected}"
    assert refusal(url, **options) == text


def test_gains_for_other_channels_are_refused(content, tmp_path):
    url = write(tmp_path / "r.json", content)
    assert refusal(url, shape=(40, 50, 1)) == f"{url} has gains for 3 channels, expected 1"


def test_a_run_without_this_pair_is_named(tmp_path):
    text = refusal(str(tmp_path))
    expected = f"{tmp_path}/outputs/a%2Fpair/registration.json"
    assert text == f"{expected}: nothing is there, expected a registration"
    assert "none.json: nothing is there" in refusal(f"{tmp_path}/none.json")


@pytest.mark.parametrize("data", [b"", b"no JSON", b"\xff\xfe\x00", b"[]", b"null", b"{}", b"17"])
def test_what_is_no_registration_is_refused(tmp_path, data):
    url = str(tmp_path / "r.json")
    storage.write_bytes(url, data)
    assert refusal(url).startswith(f"{url} is not a registration: ")


DAMAGE = {
    "no reference": lambda content: content.pop("reference"),
    "reference of none": lambda content: content.update(reference=3),
    "negative reference": lambda content: content.update(reference=-1),
    "no frames": lambda content: content.update(frames=None),
    "no warp": lambda content: content["frames"][0].pop("warp"),
    "small warp": lambda content: content["frames"][0].update(warp=[[1, 0], [0, 1]]),
    "warps of two rows": lambda content: [
        frame.update(warp=frame["warp"][:2]) for frame in content["frames"]
    ],
    "text for a warp": lambda content: content["frames"][0].update(warp="none"),
    "NaN in a warp": lambda content: content["frames"][2]["warp"][1].__setitem__(1, float("nan")),
    "warp of no place": lambda content: content["frames"][2].update(warp=[[0] * 3] * 3),
    "one gain less": lambda content: content["frames"][0].update(gains=[1, 1]),
    "infinite gain": lambda content: content["frames"][0].update(gains=[1, 1, float("inf")]),
    "gain of zero": lambda content: content["frames"][0].update(gains=[1, 1, 0]),
    "text for a score": lambda content: content["frames"][1].update(score_after="good"),
    "unknown flag": lambda content: content["frames"][1].update(flag="moved"),
    "all but one failed": lambda content: content["frames"][2].update(flag="failed"),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_registration_is_refused(content, tmp_path, damage):
    damage(content)
    url = write(tmp_path / "r.json", content)
    assert refusal(url).startswith(f"{url} is not a registration: ")
