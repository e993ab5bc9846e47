"""``dfp-batch status``."""

from dfp_batch.cli import voice
from dfp_batch.cli.options import AsJson, Run


def status(run: Run, as_json: AsJson = False) -> None:
    """Counts by state and category, rate, ETA and the last errors of a run."""
    from dfp_batch.cli.console import print_status
    from dfp_batch.io import urls
    from dfp_batch.runs.status import RunStatus

    found = RunStatus.read(urls.absolute_url(run))
    if as_json:
        voice.answer(found.to_json())
    else:
        print_status(voice.answers(), found)
