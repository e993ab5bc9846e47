"""``dfp-batch failures``."""

from dataclasses import asdict

from dfp_batch.cli import voice
from dfp_batch.cli.options import AsJson, Run


def failures(run: Run, as_json: AsJson = False) -> None:
    """Why pairs have failed, one group per cause, and the command to give next."""
    from dfp_batch.io import urls
    from dfp_batch.runs import failures as failing

    url = urls.absolute_url(run)
    groups = failing.failures(url)
    if as_json:
        voice.answer([asdict(group) | {"next": group.next_step(url)} for group in groups])
        return
    if not groups:
        voice.answers().print("no pair has failed")
    failing.print_failures(voice.answers(), url, groups)
