"""What tasks ask for is what the last ones of their kind took."""

import numpy as np
import pytest

from dfp_batch.engine.nodes import Nodes
from dfp_batch.engine.stages import Report, Stage, facts_of, run_stage
from dfp_batch.engine.task_memory import TaskMemory

STEP = 256 * 2**20
MOST = 64 * STEP


def report(stage, peak_bytes):
    return Report(stage, 0.0, 1.0, {} if peak_bytes is None else {"peak_rss_bytes": peak_bytes})


@pytest.fixture
def memory():
    return TaskMemory()


def test_nothing_is_asked_for_while_nothing_is_known(memory):
    memory.note([report(Stage.PREPARE, None)])  # its process died
    assert memory.needed_bytes(Stage.PREPARE, MOST) == 0


def test_the_largest_of_its_kind_counts_in_whole_steps(memory):
    for peak in (3 * STEP, 5 * STEP + 1, STEP):
        memory.note([report(Stage.PREPARE, peak)])
    assert memory.needed_bytes(Stage.PREPARE, MOST) == 6 * STEP
    assert memory.needed_bytes(Stage.PUBLISH, MOST) == 0


def test_a_task_of_several_stages_takes_the_most_of_them(memory):
    memory.note([report(Stage.PREPARE, STEP), report(Stage.RECONSTRUCT, 2 * STEP)])
    assert memory.needed_bytes(Stage.PREPARE, MOST) == 2 * STEP
    assert memory.needed_bytes(Stage.RECONSTRUCT, MOST) == 0


def test_no_task_asks_for_more_than_a_node_has(memory):
    memory.note([report(Stage.PREPARE, MOST + STEP)])
    assert memory.needed_bytes(Stage.PREPARE, MOST) == MOST


def test_a_node_without_the_cpus_does_not_count():
    """A head without CPUs may have most memory."""
    nodes = object.__new__(Nodes)
    nodes._nodes = {
        "head": {"memory": 90.0},
        "small": {"CPU": 2.0, "memory": 30.0},
        "large": {"CPU": 8.0, "memory": 20.0},
    }
    assert [nodes.memory_beside(cpus) for cpus in (1, 4, 9)] == [30.0, 20.0, 0.0]


def test_a_large_pair_is_forgotten_after_many_small_ones(memory):
    memory.note([report(Stage.PREPARE, 9 * STEP)])
    for _ in range(64):
        memory.note([report(Stage.PREPARE, STEP)])
    assert memory.needed_bytes(Stage.PREPARE, MOST) == STEP


def test_a_peak_is_that_of_the_stage_and_not_of_what_the_process_did_before():
    def peak(size_bytes):
        work = lambda: (np.ones(size_bytes, np.uint8), {})  # noqa: E731
        made, _ = run_stage(Stage.PREPARE, "p", work)
        return facts_of([made])["peak_rss_bytes"]

    large, small = peak(300 * 2**20), peak(2**20)
    assert 200 * 2**20 < large - small < 400 * 2**20
