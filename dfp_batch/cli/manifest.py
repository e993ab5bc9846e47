"""``dfp-batch manifest``."""

from typing import Annotated

import typer


def manifest(
    directory: Annotated[str, typer.Argument(metavar="DIR", help="Folder: path or URL.")],
    output: Annotated[str, typer.Option(help="Parquet file to write.")],
) -> None:
    """Build a manifest from NAME_A.*/NAME_B.* files, subfolders, or TIFFs of several pages."""
    from dfp_batch.io import urls
    from dfp_batch.runs.manifest import write_manifest
    from dfp_batch.runs.pairing import build_manifest

    pairs, unpaired = build_manifest(urls.absolute_url(directory))
    url = urls.absolute_url(output)
    write_manifest(url, pairs)
    typer.echo(f"{len(pairs)} pairs -> {url}")
    for reason in unpaired:
        typer.echo(f"not paired: {reason}", err=True)
