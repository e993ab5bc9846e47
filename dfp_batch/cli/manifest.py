"""``dfp-batch manifest``."""

from typing import Annotated

import typer

from dfp_batch.cli.options import Every, Gap, Group


def manifest(
    directory: Annotated[str, typer.Argument(metavar="DIR", help="Folder: path or URL.")],
    output: Annotated[str, typer.Option(help="Parquet file to write.")],
    gap: Gap = None,
    every: Every = None,
    group: Group = None,
) -> None:
    """Build a manifest of a folder and all below it: what belongs together, by names or as asked.

    NAME_A.*/NAME_B.* (and so on), folders of frames, folders like source_1 and source_2, and TIFFs
    of several pages are found by themselves, all in one tree if need be.
    """
    from rich.console import Console

    from dfp_batch.archive.cuts import cut_of
    from dfp_batch.archive.find import find_stacks
    from dfp_batch.cli.console import counting
    from dfp_batch.io import urls
    from dfp_batch.runs.manifest import write_manifest

    how = cut_of(gap, every, group)
    with counting(Console(stderr=True), "looked at") as moved:
        found = find_stacks(directory, how, moved)
    url = urls.absolute_url(output)
    write_manifest(url, found.pairs())
    typer.echo(f"{len(found.stacks)} pairs -> {url}")
    for reason in found.left_out:
        typer.echo(f"not paired: {reason}", err=True)
