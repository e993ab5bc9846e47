"""What a task of a run uses and leaves out, on a real Ray."""

import pytest
import ray

from dfp_batch.config.run_config import run_config
from dfp_batch.engine.driver import Observer, Submission, submit
from dfp_batch.engine.floor_sample import is_compared
from dfp_batch.runs.attempts import METRICS, read_attempts, visible

pytestmark = pytest.mark.usefixtures("local_ray")
SILENT = Observer(lambda url: None, lambda counts: None)


def run(manifest, folder, settings, **options):
    config = run_config("classical", None, {"scale": 1, **settings})
    return submit(Submission(manifest, f"{folder}/run", config, **options), SILENT)


def test_a_task_has_one_thread_of_torch_and_one_of_opencv(make_archive, tmp_path):
    settings = {"focus": "fault_injection:NotesThreads", "focus.folder": str(tmp_path)}
    assert run(make_archive(2), tmp_path, settings).ok == 2
    assert set((tmp_path / "threads").read_text().splitlines()) == {"1 1"}


def test_tasks_ask_for_the_memory_that_others_took(make_archive, tmp_path):
    """The first ones, as many as there are CPUs, for none, since nothing is known.

    One of those may well begin last: its worker has to be started first.
    """
    settings = {"focus": "fault_injection:NotesMemory", "focus.folder": str(tmp_path)}
    status = run(make_archive(12), tmp_path, settings)
    assert status.ok == 12
    asked = [int(line) for line in (tmp_path / "memory").read_text().split()]
    rows = visible(read_attempts(f"{tmp_path}/run")).to_pylist()
    peaks = [row["peak_rss_bytes"] for row in rows]
    step = 256 * 2**20
    known = [each for each in asked if each]
    assert asked.count(0) == ray.cluster_resources()["CPU"]
    assert all(each % step == 0 for each in known)
    assert all(min(peaks) <= each < max(peaks) + step for each in known)


@pytest.mark.parametrize("mode", ["sample", "all", "none"])
def test_the_floor_is_made_for_the_pairs_that_were_asked_for(make_archive, tmp_path, mode):
    """The composition differs from the floor, which costs a fusion of its own."""
    settings = {"refinement": "unrefined"}
    status = run(make_archive(12), tmp_path, settings, compare_floor=mode)
    rows = visible(read_attempts(f"{tmp_path}/run")).to_pylist()
    asked = [is_compared(mode, place, f"p{place:02d}", 0) for place in range(12)]
    assert [row["floor_mg"] is not None for row in rows] == asked
    assert all(row["mg"] is not None for row in rows)
    for row, compared in zip(rows, asked, strict=True):
        floor = {row[f"floor_{name}"] for name in METRICS}
        assert compared or floor == {None}
    assert status.compared == sum(asked)
    assert (status.compared_metric, status.compared_floor is None) == (
        ("mg", False) if any(asked) else (None, True)
    )
