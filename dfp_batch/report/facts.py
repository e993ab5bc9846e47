"""What is known of a run, and its sums: values that the page is made of."""

from dataclasses import dataclass, field
from datetime import datetime

import pyarrow as pa


@dataclass(frozen=True)
class Cause:
    """Items that failed for one cause.

    Attributes:
        category: Of the error.
        quarantined: Whether they are left alone by ``submit``.
        count: How many.
        message: Of the latest of them.
        pair_ids: The first few.
        advice: What to do before.
        command: What to do, to be pasted into a shell.
    """

    category: str
    quarantined: bool
    count: int
    message: str
    pair_ids: tuple[str, ...]
    advice: str
    command: str


@dataclass(frozen=True)
class RunFacts:
    """What is known of a run beside its rows.

    Attributes:
        run: URL of its directory.
        pair_ids: All of them, in the order of the run.
        preset: Name of the composition, as far as it has one.
        scale: Enlargement.
        driver: Who is at work on it, or None.
        running: Items in flight.
        causes: Of failures; the largest group first.
        written_at: When the page is made, with a time zone.
        price_per_hour: Of all machines together, on the clock; None is not known.
        versions: Of the packages that the run began with.
    """

    run: str
    pair_ids: pa.Array
    preset: str
    scale: int
    driver: str | None
    running: int
    causes: tuple[Cause, ...]
    written_at: datetime
    price_per_hour: float | None = None
    versions: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Totals:
    """Counts and sums over a run.

    Attributes:
        items: Of the manifest.
        ok: With a result.
        failed: Without one, tried again by the next submit.
        quarantined: Without one, left alone.
        pending: Not begun, or requeued.
        running: In flight.
        gigapixels: Of all results.
        clock_hours: That sessions of the run have lasted.
        task_hours: That its stages have taken, all workers together.
        items_per_hour: Finished, on the clock; None before the first.
        cost: Of the clock hours; None without a price.
        cost_per_gigapixel: Likewise.
    """

    items: int
    ok: int
    failed: int
    quarantined: int
    pending: int
    running: int
    gigapixels: float
    clock_hours: float
    task_hours: float
    items_per_hour: float | None
    cost: float | None
    cost_per_gigapixel: float | None
