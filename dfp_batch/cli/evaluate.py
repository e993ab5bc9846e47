"""``dfp-batch evaluate``."""

from typing import Annotated

import typer


def evaluate(  # noqa: PLR0913, PLR0917 - one parameter per flag
    items: Annotated[
        str,
        typer.Argument(
            metavar="SET",
            help="bundled, procedural, a folder of sharp images, or a Parquet manifest.",
        ),
    ],
    output: Annotated[str, typer.Option(help="Folder for the tables: path or URL.")],
    methods: Annotated[
        str,
        typer.Option(
            help="Presets with settings, as in 'classical focus=double-reblur', and baselines "
            "FUSION+ENLARGER: average, laplacian-pyramid, mask or the name of an --external, and "
            "bicubic, lanczos, back-projection or dip. With commas between them."
        ),
    ] = "",
    scales: Annotated[str, typer.Option(help="Of 1, 2, 3, 4, with commas between them.")] = "1,2",
    external: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=DIR",
            help="Results <item>.<ext> of another program; those of scale 2 lie in DIR/x2.",
        ),
    ] = None,
    versus: Annotated[
        str | None, typer.Option(help="Method to compare with; default the first one.")
    ] = None,
    images: Annotated[
        bool, typer.Option("--images", help="Write the results and the sources they are made of.")
    ] = False,
    limit: Annotated[
        int | None, typer.Option(help="Number of scenes (default 12), or of pairs (default all).")
    ] = None,
    side: Annotated[int, typer.Option(help="Of the truth of a scene, in px.")] = 512,
    seed: Annotated[int, typer.Option(help="Of the scenes.")] = 0,
    degrade: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|sigma=S",
            help="Blur before the sources are made smaller, as --kernel of submit; default "
            "lanczos2. A method knows of it only by its own setting kernel=...",
        ),
    ] = None,
    workers: Annotated[
        int | None, typer.Option(help="Processes; default one per CPU, or one with a GPU.")
    ] = None,
) -> None:
    """Score methods against truth or sources: which one is better? The same command resumes."""
    from rich.console import Console

    from dfp_batch import evaluation as evaluating
    from dfp_batch.config.run_config import kernel_of
    from dfp_batch.evaluation import tables
    from dfp_batch.runs import telemetry

    externals = evaluating.split_externals(external or [])
    named = evaluating.named_methods(evaluating.split_names(methods), externals)
    found = evaluating.item_set(items, limit, side, seed, kernel_of(degrade))
    with telemetry.LiveProgress(Console(stderr=True)) as progress:
        options = evaluating.Options(versus, images, workers, progress.moved)
        numbers = evaluating.split_scales(scales)
        evaluation = evaluating.evaluate(found, named, output, numbers, options)
    console = Console(width=max(Console().width, tables.WIDTH))
    tables.print_evaluation(console, evaluation)
    if any(row["status"] != "ok" for row in evaluation.rows):
        raise typer.Exit(3)
