"""The figures that the paper prints."""

from pathlib import Path

import pytest

from dfp_batch.errors import ConfigError
from dfp_batch.evaluation.published import ENLARGERS, FUSERS, JOINT, read_published
from dfp_batch.metrics.names import RELATIVE

OF_RECORD = Path(__file__).parents[1] / "benchmarks" / "results" / "paper-tables" / "published.csv"
HEAD = "table,fusion,super_resolution," + ",".join(f"{m}_x{s}" for m in RELATIVE for s in (2, 4))


def test_every_line_becomes_its_figures(tmp_path):
    path = tmp_path / "tables.csv"
    path.write_text(f"{HEAD}\n2,CNN,DIP,1,2,3,4,5,6,7,8,9,10\n")
    (line,) = read_published(path)
    assert (line.table, line.fuser) == (2, "CNN")
    assert line.values["rmg", 2] == 1
    assert line.values["rmg", 4] == 2
    assert line.values["reco", 4] == 10


@pytest.mark.parametrize(
    "text",
    [
        "table,fusion\n1,CNN\n",
        f"{HEAD}\n1,CNN,DIP,1,2,3,4,5,6,7,8,9\n",
        f"{HEAD}\n1,CNN,DIP,1,2,3,4,5,6,7,8,9,ten\n",
        f"{HEAD}\none,CNN,DIP,1,2,3,4,5,6,7,8,9,10\n",
    ],
)
def test_another_table_is_refused(text, tmp_path):
    (tmp_path / "other.csv").write_text(text)
    with pytest.raises(ConfigError, match=r"other\.csv must have the columns table, fusion and"):
        read_published(tmp_path / "other.csv")


def test_the_figures_of_record_are_of_every_fuser_in_every_table():
    lines = read_published(OF_RECORD)
    for table in ENLARGERS:
        assert [line.fuser for line in lines if line.table == table] == [*FUSERS, JOINT]
