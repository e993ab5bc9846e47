"""Trying chosen pairs of a run again: the run directory says all that a session needs to know."""

from dataclasses import dataclass
from datetime import datetime
from typing import get_args

import pyarrow.compute as pc

from dfp_batch.config.run_config import config_of
from dfp_batch.engine import receipt
from dfp_batch.engine.driver import Observer, Submission, summarised, work_off
from dfp_batch.engine.progress import PATIENCE, Patience
from dfp_batch.engine.signals import stop_signals
from dfp_batch.errors import Category, ConfigError
from dfp_batch.runs import access
from dfp_batch.runs.attempts import read_attempts, visible
from dfp_batch.runs.ledger import Ledger
from dfp_batch.runs.manifest import Pair
from dfp_batch.runs.run_directory import read_header, read_pairs
from dfp_batch.runs.status import RunStatus


@dataclass(frozen=True)
class Retry:
    """What the user asked for.

    Attributes:
        output_url: Run directory.
        category: Only pairs that failed with this one; None is any.
        quarantined: Also pairs whose process died or hung twice.
        pair: Exactly the pairs of these ids, whatever became of them; a result that is there is
            made anew. Empty is all that failed.
        address: As of a Submission, and so are the others.
        gpus_per_pair: Likewise.
        max_failure_rate: Likewise.
        takeover: Likewise.
        until: Likewise.
        notify: Likewise.
        patience: Likewise.

    Raises:
        ConfigError: for a category that does not exist, or one that comes with ids.
    """

    output_url: str
    category: str | None = None
    quarantined: bool = False
    pair: tuple[str, ...] = ()
    address: str | None = None
    gpus_per_pair: float | None = None
    max_failure_rate: float = 0.2
    takeover: bool = False
    until: datetime | None = None
    notify: str | None = None
    patience: Patience = PATIENCE

    def __post_init__(self) -> None:
        known = get_args(Category)
        if self.category is not None and self.category not in known:
            raise ConfigError(f"category must be one of {', '.join(known)}, got {self.category!r}")
        if self.pair and (self.category or self.quarantined):
            raise ConfigError("--pair names the pairs: leave out --category and --quarantined")

    @property
    def described(self) -> str:
        """Which pairs, in words."""
        kind = f" with category {self.category}" if self.category else ""
        return f"failed{kind}" + (" or is quarantined" if self.quarantined else "")

    @property
    def submission(self) -> Submission:
        """The run as its directory tells it.

        Raises:
            ConfigError: if there is no run, or this version cannot make its configuration.
        """
        return Submission(
            f"{self.output_url}/manifest.parquet",
            self.output_url,
            config_of(read_header(self.output_url)["config"]),
            address=self.address,
            gpus_per_pair=self.gpus_per_pair,
            max_failure_rate=self.max_failure_rate,
            takeover=self.takeover,
            until=self.until,
            retry_quarantined=True,
            patience=self.patience,
        )


def retry(wish: Retry, observer: Observer) -> RunStatus | None:
    """Run the chosen pairs; those that are pending are left to ``submit``.

    Returns:
        None if there is nothing to try again.

    Raises:
        ConfigError: if there is no run, or not such pairs.
        RunHeldError: if another driver is alive.
        RunStoppedError: in the middle; the same command goes on from there.
    """
    submission = wish.submission
    access.open_run(wish.output_url, align_from=submission.config.align_from)
    with stop_signals() as signals:
        if wish.pair:
            _requeue_done(wish)
        with Ledger.reopen(wish.output_url, wish.takeover) as ledger:
            chosen = chosen_pairs(wish)
            if not chosen:
                return None
            submission = submission.with_known_kernel(read_pairs(wish.output_url), observer.noted)
            work_off(submission, chosen, ledger, observer, signals)
    return summarised(wish.output_url)


def chosen_pairs(wish: Retry) -> list[Pair]:
    """Pairs of the run that are tried again, in its order.

    Raises:
        ConfigError: if a pair that was asked for is not in the run.
    """
    pairs = read_pairs(wish.output_url)
    if wish.pair:
        wanted = set(wish.pair)
        unknown = sorted(wanted - {pair.pair_id for pair in pairs})
        if unknown:
            raise ConfigError(f"{wish.output_url} has no pair {', '.join(map(repr, unknown))}")
    else:
        rows = visible(read_attempts(wish.output_url, ["category"]))
        states = {"error", "quarantined"} if wish.quarantined else {"error"}
        wanted = {
            row["pair_id"]
            for row in rows.to_pylist()
            if row["status"] in states and wish.category in (None, row["category"])
        }
    return [pair for pair in pairs if pair.pair_id in wanted]


def _requeue_done(wish: Retry) -> None:
    """In a session of its own: later ones do what it requeues."""
    with Ledger.reopen(wish.output_url, wish.takeover) as ledger:
        chosen_pairs(wish)
        rows = visible(read_attempts(wish.output_url, []))
        done = set(rows.filter(pc.equal(rows["status"], "ok"))["pair_id"].to_pylist())
        for pair_id in sorted(done & set(wish.pair)):
            # First, or a later attempt would take the result that is there for one of its own.
            receipt.withdraw(pair_id, wish.output_url)
            ledger.requeue(pair_id, "retry", "asked for by retry --pair")
