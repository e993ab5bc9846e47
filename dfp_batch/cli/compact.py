"""``dfp-batch compact``."""

from dfp_batch.cli import voice
from dfp_batch.cli.options import Run


def compact(run: Run) -> None:
    """Put the many small files of a run's results/ together."""
    from dfp_batch.io import urls
    from dfp_batch.runs import compaction
    from dfp_batch.runs.ledger import Ledger

    url = urls.absolute_url(run)
    with Ledger.reopen(url) as ledger:
        before, after = compaction.compact(ledger)
    voice.say(f"{before} -> {after} parts in {urls.join(url, 'results')}")
