"""Scheduler and ledger together: sessions that die anywhere, and drivers that live on."""

import random
from collections import Counter
from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st

from dfp_batch.config.run_config import run_config
from dfp_batch.engine.breaker import Breaker
from dfp_batch.engine.driver import what_is_left
from dfp_batch.engine.scheduler import Scheduler
from dfp_batch.engine.stages import Stage
from dfp_batch.runs import lease
from dfp_batch.runs.attempts import read_attempts, visible
from dfp_batch.runs.ledger import Ledger
from dfp_batch.runs.manifest import Pair
from dfp_batch.runs.status import results
from fake_executor import FakeExecutor

CONFIG = run_config("classical", None, {})
FATES = st.one_of(
    st.none(),
    st.tuples(st.sampled_from(list(Stage)), st.sampled_from(["transient", "crash", "hang"])),
)


class Killed(Exception):  # noqa: N818 - what happens to the driver
    """The process is gone."""


@dataclass
class Driver:
    """One driver on a run.

    Attributes:
        url: Run directory.
        pairs: Of the manifest.
        table: What happens to them, as ``FakeExecutor`` takes it.
        dies_after: So many rows; None is never.
        flush_every: So many rows.
    """

    url: str
    pairs: list[Pair]
    table: dict
    dies_after: int | None
    flush_every: int
    rows: int = 0
    started: set = field(default_factory=set)

    def drive(self, seed):
        """Work off what is left; True unless it was killed."""
        self.ledger = Ledger.open(self.url, CONFIG, self.pairs, takeover=True)
        todo, _ = what_is_left(self.url, self.pairs, self.ledger.epoch, retry_quarantined=True)
        executor = FakeExecutor(self.table, slots=2, tasks=3, seed=seed)
        clock, rng = lambda: executor.now, random.Random(seed)
        scheduler = Scheduler(todo, executor, self.record, clock, rng, Breaker(1.0))
        try:
            while not scheduler.done:
                scheduler.step(1.0)
            self.ledger.close()
        except Killed:
            return False
        finally:
            self.started = {pair_id for _, pair_id, _ in executor.started}
        return True

    def record(self, row):
        """As the driver of a run does; what is not flushed dies with it."""
        self.ledger.append(row)
        self.rows += 1
        if self.rows % self.flush_every == 0:
            self.ledger.flush()
        if self.rows == self.dies_after:
            raise Killed


def done(url):
    rows = visible(read_attempts(url, [])).to_pylist()
    return {row["pair_id"] for row in rows if row["status"] == "ok"}


@settings(deadline=None, max_examples=25)
@given(
    fates=st.lists(st.lists(FATES, max_size=2), min_size=1, max_size=8),
    deaths=st.lists(st.tuples(st.integers(1, 12), st.integers(1, 4), st.booleans()), max_size=4),
    seed=st.integers(0, 1000),
)
def test_whoever_dies_and_whoever_comes_late_every_pair_has_one_row_and_none_is_done_twice(
    tmp_path_factory, fates, deaths, seed
):
    url = str(tmp_path_factory.mktemp("run"))
    lease.ACKNOWLEDGE_S, patient = 0.0, lease.ACKNOWLEDGE_S  # this process is every driver
    pairs = [Pair(f"p{k}", ("/a.png", "/b.png")) for k in range(len(fates))]
    table = {f"p{k}": outcome for k, outcome in enumerate(fates)}
    ghosts = []
    try:
        for dies_after, flush_every, lives_on in deaths:
            before = done(url)
            driver = Driver(url, pairs, table, dies_after, flush_every)
            driver.drive(seed)
            assert not driver.started & before, "what has an ok row is not done again"
            ghosts += [driver.ledger] if lives_on else []
        for ghost in ghosts[::2]:  # frozen, not dead: writes what it knows while another drives
            ghost.flush()
        last = Driver(url, pairs, table, None, 3)
        assert last.drive(seed)
        for ghost in ghosts[1::2]:  # and after it
            ghost.flush()
    finally:
        lease.ACKNOWLEDGE_S = patient
    rows = results(url).to_pylist()
    assert Counter(row["pair_id"] for row in rows) == Counter(pair.pair_id for pair in pairs)
    assert {row["status"] for row in rows} <= {"ok", "quarantined"}
    assert all(row["status"] == "ok" for row in rows if not table[row["pair_id"]])
    epochs = read_attempts(url, [])["epoch"].to_pylist()
    assert set(epochs) <= set(range(1, len(deaths) + 2))
