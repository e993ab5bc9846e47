"""The examples do what they say."""

import os
import subprocess
import sys
from pathlib import Path

from dfp_batch.config.run_config import run_config
from dfp_batch.runs.attempts import PairRecord
from dfp_batch.runs.ledger import Ledger
from dfp_batch.runs.manifest import Pair

EXAMPLES = Path(__file__).parents[1] / "examples"


def run(name, *arguments, folder):
    environment = {**os.environ, "PYTHONPATH": f"{EXAMPLES.parent}:{EXAMPLES}"}
    done = subprocess.run(
        [sys.executable, EXAMPLES / name, *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_two_arrays_are_fused(tmp_path):
    said = run("fuse_two_arrays.py", "--output", "out.png", folder=tmp_path)
    assert "out.png: 256x192 px, 50% of the first source" in said
    assert (tmp_path / "out.png").stat().st_size > 10_000


def test_a_focus_measure_of_ones_own_finds_the_sharp_half(tmp_path):
    share = run("local_variance.py", folder=tmp_path).rpartition("for ")[2].partition("%")[0]
    assert int(share) > 95


def test_the_table_of_a_run_is_read_by_sql(tmp_path):
    pairs = [Pair(f"p{k}", ("/a.png", "/b.png")) for k in range(3)]
    rows = [("p0", "error", 1), ("p0", "ok", 2), ("p1", "ok", 1), ("p2", "error", 1)]
    with Ledger.open(str(tmp_path), run_config("fast", None, {}), pairs) as ledger:
        for pair_id, status, attempt in rows:
            ledger.append(PairRecord(pair_id, attempt, status, "publish", 1.0, 2.0))
    names, *found = run("read_the_table.py", str(tmp_path), folder=tmp_path).splitlines()
    assert names.startswith("pair_id\tstatus\tcategory")
    assert {tuple(row.split("\t")[:2]) for row in found} == {
        ("p0", "ok"),
        ("p1", "ok"),
        ("p2", "error"),
    }
