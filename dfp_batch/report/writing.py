"""Writing the page of a run into its directory."""

from collections.abc import Iterator

from dfp_batch.io import storage, urls
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

    def most_doubtful() -> Iterator[ItemPictures]:
        return (run.pictures(number) for number in data.columns["number"])

    details = embedded(most_doubtful(), Budget())
    known = marks.standing_marks(url, run.attempts)
    page = render(Content(data, details, "file", known))
    target = urls.join(url, NAME)
    storage.write_bytes(target, page.encode())
    return target
