"""``dfp-batch watch``: what it shows, when it says something, and how it ends."""

import io

import pytest
from rich.console import Console

import command_line
from dfp_batch.cli import watch as watching
from dfp_batch.config.run_config import run_config
from dfp_batch.errors import StorageAccessError, StorageError
from dfp_batch.io import storage
from dfp_batch.runs import ledger as ledger_module
from dfp_batch.runs.attempts import PairRecord
from dfp_batch.runs.lease import UnderWay
from dfp_batch.runs.ledger import Ledger
from dfp_batch.runs.manifest import Pair
from dfp_batch.runs.snapshot import RunReader

PAIRS = [Pair(f"p{k}", (f"/{k}_A.png", f"/{k}_B.png")) for k in range(3)]
CONFIG = run_config("classical", None, {})
BEGAN = 1_800_000_000.0
FAST = ["--interval", "0.5"]


def row(k, status="ok", message=None):
    category = None if status == "ok" else "input"
    size = {} if category else {"width_px": 2000, "height_px": 1000, "t_prepare_s": 1.0}
    return PairRecord(
        f"p{k}", 1, status, "publish", BEGAN, BEGAN + 10 * (k + 1), category, "E", message, size
    )


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    """Rows and heartbeats are written at once, and nobody is waited for at the end."""
    monkeypatch.setattr(ledger_module, "HEARTBEAT_S", 0.0)
    monkeypatch.setattr(ledger_module, "FLUSH_S", 0.0)
    monkeypatch.setattr(watching, "GRACE_S", 0.0)


def write(ledger, *rows, under_way=()):
    for each in rows:
        ledger.append(each)
    ledger.tick(len(under_way), under_way)
    ledger.settle()


def session(url, *rows):
    with Ledger.open(url, CONFIG, PAIRS) as ledger:
        write(ledger, *rows)


def texts(output):
    """Lines without their time of day."""
    return [line[9:] if line[2:3] == ":" else line for line in output.splitlines()]


@pytest.mark.parametrize(
    ("rows", "code", "last"),
    [
        ([row(0), row(1), row(2)], 0, "ended: all done"),
        ([row(0), row(1), row(2, "error", "empty")], 3, "ended: some pairs have failed"),
        ([row(0)], 4, "stopped before the end; the command of the run goes on from there"),
    ],
)
def test_a_run_that_has_ended_gives_its_exit_code(tmp_path, rows, code, last):
    session(f"{tmp_path}/run", *rows)
    done = command_line.run("watch", tmp_path / "run", *FAST)
    assert (done.returncode, done.stderr) == (code, "")
    assert done.stdout.splitlines()[-1] == last


def test_once_looks_once(tmp_path):
    with Ledger.open(f"{tmp_path}/run", CONFIG, PAIRS) as ledger:
        write(ledger, row(0), row(1))
        done = command_line.run("watch", tmp_path / "run", "--once")
    assert (done.returncode, done.stderr) == (0, "")
    pace = "6.0 pairs per minute, 0.2 MP/s, about 10 s left"
    assert texts(done.stdout) == [f"2 done, 0 failed, 1 pending of 3; {pace}"]


def test_a_line_only_when_something_has_changed(tmp_path):
    """The run goes on each time that it has been looked at twice."""
    url, out, looks = f"{tmp_path}/run", io.StringIO(), 0
    changes = [(row(0),), (row(1, "error", "p1_A.png: is empty [1]"),), (), (row(2),)]

    class Reader(RunReader):
        def read(self):
            nonlocal looks
            looks += 1
            if looks % 2 and changes:
                write(ledger, *changes.pop(0))
            elif not changes:
                ledger.close()
            return super().read()

    ledger = Ledger.open(url, CONFIG, PAIRS)
    with watching._lines(Console(file=out, width=40)) as show:
        assert watching._look(Reader(url), show, once=False, interval_s=0.0) == 3
    assert looks >= 8
    said = [line.partition(";")[0] for line in texts(out.getvalue())]
    assert said == [
        "1 done, 0 failed, 2 pending of 3",
        "1 done, 1 failed, 1 pending of 3",
        "p1 (input): p1_A.png: is empty [1]",
        "2 done, 1 failed, 0 pending of 3",
        "2 done, 1 failed, 0 pending of 3",
    ]
    assert [line.endswith("; no driver") for line in texts(out.getvalue())] == [False] * 4 + [True]


def test_a_store_that_is_away_for_a_moment_is_waited_for(tmp_path):
    session(f"{tmp_path}/run", row(0), row(1), row(2))
    out, errors = io.StringIO(), [StorageError("the store\nis busy")]

    class Reader(RunReader):
        def read(self):
            if errors:
                raise errors.pop()
            return super().read()

    with watching._lines(Console(file=out)) as show:
        assert watching._look(Reader(f"{tmp_path}/run"), show, once=False, interval_s=0.0) == 0
    assert texts(out.getvalue())[0] == "the store is busy"

    errors.append(StorageAccessError("no right to read"))
    with pytest.raises(StorageAccessError, match="no right"), watching._lines(Console()) as show:
        watching._look(Reader(f"{tmp_path}/run"), show, once=False, interval_s=0.0)


def test_a_terminal_shows_everything_a_line_each(tmp_path):
    url = f"{tmp_path}/run"
    with Ledger.open(url, CONFIG, PAIRS) as ledger:
        begun = [UnderWay("prepare", "p[0]", BEGAN), UnderWay("publish", "p9", BEGAN)]
        message = "is [bold]empty[/bold], " + "very " * 40
        write(ledger, row(0), row(1, "error", message), under_way=begun)
        snapshot = RunReader(url).read()
        out = io.StringIO()
        Console(file=out, width=90, force_terminal=True, color_system=None).print(
            watching.picture_of(snapshot, "the store is busy")
        )
    lines = [line.rstrip() for line in out.getvalue().splitlines()]
    assert max(map(len, lines)) <= 90
    shown = "\n".join(lines)
    assert "pairs   1 done, 1 failed, 1 pending of 3" in shown
    assert "pace    6.0 pairs per minute, 0.1 MP/s, about 10 s left, till " in shown
    assert "stages  prepare 1.00 s" in shown
    assert f"driver  {snapshot.status.driver}, seen " in shown
    assert "now     p[0], from prepare on, for " in shown
    assert "errors  1 input" in shown
    assert "p1 (input): is [bold]empty[/bold], very" in shown
    assert "store   the store is busy" in shown


def test_the_picture_is_drawn_on_a_terminal(tmp_path):
    session(f"{tmp_path}/run", row(0), row(1), row(2))
    out = io.StringIO()
    console = Console(file=out, width=80, force_terminal=True)
    with watching._screen(console) as show:
        assert watching._look(RunReader(f"{tmp_path}/run"), show, once=True, interval_s=0.0) == 0
    assert "3 done, 0 failed, 0 pending of 3" in out.getvalue()


def test_what_is_no_run_is_said(tmp_path):
    done = command_line.run("watch", tmp_path)
    assert done.returncode == 2
    assert done.stderr == f"error: {tmp_path} is not a run directory: it has no run.json\n"


def test_ctrl_c_ends_it_without_a_word(tmp_path, monkeypatch):
    def interrupt(_):
        raise KeyboardInterrupt

    with Ledger.open(f"{tmp_path}/run", CONFIG, PAIRS):
        monkeypatch.setattr(watching.time, "sleep", interrupt)
        done = command_line.run("watch", tmp_path / "run")
    assert (done.returncode, done.stderr) == (130, "")


def test_it_needs_nothing_but_the_run_also_in_a_bucket(s3_url):
    url = f"{s3_url}/watched/run"
    session(url, row(0), row(1), row(2))
    before = storage.list_files(url, ".json")
    assert command_line.run("watch", url).returncode == 0
    assert storage.list_files(url, ".json") == before
