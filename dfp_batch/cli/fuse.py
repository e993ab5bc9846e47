"""``dfp-batch fuse``."""

from typing import Annotated

import typer

from dfp_batch.cli import voice
from dfp_batch.cli.options import Anonymous, resolve, with_composition


@with_composition("image_format")
def fuse(
    context: typer.Context,
    images: Annotated[
        list[str],
        typer.Argument(help="Two or more images of one scene, or one file that holds the stack."),
    ],
    output: Annotated[
        str,
        typer.Option(
            "--output", "-o", help="File to write: .png, .tiff, .jpg, .webp or .ome.zarr."
        ),
    ],
    decision: Annotated[
        str | None, typer.Option(help="PNG to write: which image each pixel came from, 0, 1, ...")
    ] = None,
    confidence: Annotated[
        str | None, typer.Option(help="PNG to write: white where the focus is certain.")
    ] = None,
    registration: Annotated[
        str | None, typer.Option(help="JSON to write, for --align-from.")
    ] = None,
    anonymous: Anonymous = False,
) -> None:
    """Fuse one item without Ray."""
    from dfp_batch.cli.console import iteration_bar
    from dfp_batch.engine import image_files, single
    from dfp_batch.io import storage, urls
    from dfp_batch.runs import access

    target = urls.absolute_url(output)
    resolved = resolve(context, {"output.format": single.format_of(target)})
    sources = tuple(urls.absolute_url(image) for image in images)
    more = [url for url in (decision, confidence, registration) if url is not None]
    if anonymous:
        access.read_only(sources, [target, *more])
    with iteration_bar(voice.words(beside=True)) as on_iteration:
        files = single.fuse_files(sources, resolved, on_iteration)
    image_files.write(target, files.image)
    maps = {decision: files.decision, confidence: files.confidence}
    for url, content in {**maps, registration: files.registration}.items():
        if url is not None:
            storage.write_bytes(urls.absolute_url(url), content)
