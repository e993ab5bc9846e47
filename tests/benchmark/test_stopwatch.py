"""Seconds and calls of every step."""

from dataclasses import replace

import pytest

from dfp_batch.alignment.stack import Stack
from dfp_batch.benchmark.stacks import describe, make_stack
from dfp_batch.benchmark.stopwatch import DECODE, Stopwatch
from dfp_batch.config.run_config import run_config
from dfp_batch.engine.frames import Frames
from dfp_batch.engine.single import fuse_files
from dfp_batch.reconstruction.back_projection import BackProjection

RUN = run_config("classical", None, {"scale": 1})


@pytest.fixture(scope="module")
def stack(tmp_path_factory):
    return make_stack(str(tmp_path_factory.mktemp("stack")), 3, 0.02, "png")


def test_every_step_is_timed_and_nothing_twice(stack):
    watch = Stopwatch()
    with watch.running(RUN.fusion):
        fuse_files(stack, RUN)
    steps = {"register", "warp", "spots", "encode", DECODE, "confidence-voting", "guided-filter"}
    assert steps <= set(watch.seconds)
    assert min(watch.seconds.values()) >= 0
    assert watch.calls["register"] == watch.calls["spots"] == 1
    assert watch.calls[DECODE] >= len(stack)
    assert watch.read_bytes >= describe(stack)["bytes"]


def test_what_was_wrapped_is_as_before_afterwards(stack):
    before = Frames.__getitem__, Stack.preview, fuse_files
    with pytest.raises(ZeroDivisionError), Stopwatch().running(RUN.fusion):
        raise ZeroDivisionError
    assert before == (Frames.__getitem__, Stack.preview, fuse_files)


def test_a_step_within_another_counts_for_itself():
    watch = Stopwatch()
    inner = watch._timed(lambda: sum(range(10**6)), "inner")
    outer = watch._timed(lambda: [inner(), inner()], "outer")
    outer()
    assert watch.calls == {"inner": 2, "outer": 1}
    assert watch.seconds["outer"] < watch.seconds["inner"] / 10


def test_what_comes_one_after_the_other_is_timed_where_it_is_made():
    watch = Stopwatch()
    made = watch._timed_each(lambda: (sum(range(10**6)) for _ in range(3)), "rows")()
    assert not watch.seconds["rows"]
    assert len(list(made)) == 3
    assert watch.seconds["rows"] > 0


def test_an_enlargement_is_timed_as_one(stack):
    watch, run = Stopwatch(), run_config("classical", None, {"scale": 2})
    with watch.running(run.fusion):
        fuse_files(stack, run)
    assert watch.seconds["back-projection"] > 0
    assert BackProjection.in_rows.__qualname__ == "BackProjection.in_rows"
    assert not hasattr(BackProjection.in_rows, "__wrapped__")


@pytest.mark.parametrize(("extension", "kind"), [("jpg", "8 bit"), ("tiff", "16 bit")])
def test_a_stack_is_made_of_frames_that_moved(tmp_path, extension, kind):
    made = make_stack(str(tmp_path), 4, 0.054, extension)
    described = describe(made)
    assert (described["frames"], described["width_px"], described["height_px"]) == (4, 288, 192)
    assert kind in described["kind"]
    run = replace(RUN, fusion=replace(RUN.fusion, scale=1))
    fuse_files(made, run)
