"""Damaged files: a frame or an ImageError, never another error, a crash or much memory."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import codec_fuzz
from codec_samples import small_files
from dfp_batch.errors import ImageError
from dfp_batch.io.codec import decode

CASES = 19_000
MEMORY_MB = 1_500
FOLDER = Path(codec_fuzz.__file__).parent
ENVIRONMENT = {**os.environ, "PYTHONPATH": f"{FOLDER}:{FOLDER.parent}", "OMP_NUM_THREADS": "1"}


def fuzzed(first, last, memory_mb=MEMORY_MB):
    """Run cases in a child process in which a warning is an error."""
    command = [sys.executable, "-X", "faulthandler", "-W", "error", codec_fuzz.__file__]
    return subprocess.run(
        [*command, str(first), str(last), str(memory_mb)],
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
    )


def test_damage_is_an_image_error_or_a_frame_in_bounded_memory():
    child = fuzzed(0, CASES)
    last = (child.stdout.splitlines() or ["nothing was printed"])[-1]
    assert child.returncode == 0, f"exit {child.returncode} at {last}\n{child.stderr[-3000:]}"
    assert last.startswith("done, ")
    assert child.stdout.count("case ") == CASES
    assert int(last.split()[1]) > CASES / 20  # the damage was not all of the coarse kind


def test_the_memory_of_the_child_is_bounded():
    code = "import codec_fuzz, numpy; codec_fuzz.limit_memory(100); numpy.ones(25_000_000)"
    child = subprocess.run(
        [sys.executable, "-c", code], env=ENVIRONMENT, capture_output=True, text=True, check=False
    )
    assert "MemoryError" in child.stderr


@pytest.mark.parametrize("name", small_files())
def test_every_length_of_a_file_is_an_image_error_or_a_frame(name):
    data = small_files()[name]
    for length in range(0, len(data), 23):
        try:
            codec_fuzz.check(decode(data[:length], "cut"))
        except ImageError as error:
            assert str(error).startswith("cut: ")
