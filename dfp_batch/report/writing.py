"""Writing the page of a run into its directory."""

from collections.abc import Iterator

from dfp_batch.io import storage, urls
from dfp_batch.report.data import ReportData
from dfp_batch.report.embedding import Budget, embedded
from dfp_batch.report.page import Content, render
from dfp_batch.report.pictures import ItemPictures
from dfp_batch.report.recorded_run import RecordedRun
from dfp_batch.runs import marks

NAME = "report.html"


def write_report(url: str, price_per_hour: float | None = None) -> str:
    """Make the page of a run.

    Args:
        url: Run directory.
        price_per_hour: Of all machines together; None is not known.

    Returns:
        URL of the page.

    Raises:
        ConfigError: if there is no run.
        LedgerError: if it is damaged.
        StorageError: if it cannot be read, or the page not be written.
    """
    run = RecordedRun.read(url)
    data = run.summary(price_per_hour)

    details = embedded(_to_be_seen(run, data), Budget())
    known = marks.standing_marks(url, run.attempts)
    page = render(Content(data, details, "file", known))
    target = urls.join(url, NAME)
    storage.write_bytes(target, page.encode())
    return target


def _to_be_seen(run: RecordedRun, data: ReportData) -> Iterator[ItemPictures]:
    """Results, those of most doubt first; then what failed; what has not begun shows nothing."""
    listed = list(zip(data.columns["number"], data.columns["status"], strict=True))
    done = [number for number, status in listed if status == "ok"]
    failed = [number for number, status in listed if status in ("error", "quarantined")]
    return (run.pictures(number) for number in [*done, *failed])
