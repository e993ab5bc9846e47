"""``dfp-batch bench``."""

import json
from typing import Annotated

import typer

from dfp_batch.cli import voice
from dfp_batch.cli.options import AsJson


def bench(  # noqa: PLR0913, PLR0917 - one parameter per flag
    images: Annotated[
        list[str] | None,
        typer.Argument(help="Frames of a stack of your own; without them one is made."),
    ] = None,
    presets: Annotated[str, typer.Option(help="Of ours, with commas between.")] = (
        "classical,fast,balanced"
    ),
    scale: Annotated[int, typer.Option(min=1, max=4, help="Enlargement.")] = 1,
    frames: Annotated[int, typer.Option(min=2, help="Of the stack that is made.")] = 10,
    megapixels: Annotated[float, typer.Option(min=0.01, help="Of one of its frames.")] = 3.1,
    kind: Annotated[str, typer.Option(help="Of its files: jpg, or png or tiff of 16 bits.")] = (
        "jpg"
    ),
    rounds: Annotated[int, typer.Option(min=1, help="Everybody's turns.")] = 3,
    threads: Annotated[int, typer.Option(min=1, help="Of each.")] = 1,
    output: Annotated[
        str | None, typer.Option("--output", "-o", help="JSON file to write.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Time the presets on this machine, in turn, and other stackers that are on the PATH.

    focus-stack, and enfuse with align_image_stack, are timed at scale 1. Processor time, time on
    the clock, peak memory, every step, and what no machine changes: decodes of a frame, GFLOP.
    """
    import tempfile

    from dfp_batch.benchmark import report
    from dfp_batch.benchmark.measurement import measure
    from dfp_batch.benchmark.peers import PEERS
    from dfp_batch.benchmark.stacks import describe, make_stack
    from dfp_batch.config.run_config import run_config
    from dfp_batch.io import storage, urls

    runs = {name: run_config(name, None, {"scale": scale}) for name in presets.split(",")}
    peers = [name for name, peer in PEERS.items() if scale == 1 and peer.is_here]
    said = voice.words(beside=True)
    with tempfile.TemporaryDirectory() as folder:
        own = tuple(urls.absolute_url(image) for image in images or ())
        stack = own or make_stack(folder, frames, megapixels, kind)
        found = measure(runs, peers, stack, rounds, threads, said.print)
        content = report.to_json(found, {**describe(stack), "scale": scale}, threads)
    text = json.dumps(content, indent=1) + "\n"
    if output is not None:
        storage.write_bytes(urls.absolute_url(output), text.encode())
    if as_json:
        typer.echo(text, nl=False)
        return
    for table in report.tables(content):
        voice.answers().print(table)
