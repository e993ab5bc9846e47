"""``dfp-batch evaluate``."""

from typing import TYPE_CHECKING, Annotated

import typer

from dfp_batch.cli import voice
from dfp_batch.cli.exit_codes import ExitCode
from dfp_batch.cli.options import AsJson

if TYPE_CHECKING:  # --help must not import it
    from dfp_batch.evaluation import Evaluation

Set = Annotated[
    str,
    typer.Argument(
        metavar="SET",
        help="bundled, procedural, a folder of sharp images, or a Parquet manifest.",
    ),
]
Output = Annotated[str, typer.Option("--output", "-o", help="Folder for the tables: path or URL.")]
Methods = Annotated[
    str,
    typer.Option(
        help="Presets with settings, as in 'classical focus=double-reblur', and baselines "
        "FUSION+ENLARGER: average, laplacian-pyramid, mask or the name of an --external, and "
        "bicubic, lanczos, back-projection or dip. With commas between them."
    ),
]
Scales = Annotated[str, typer.Option(help="Of 1, 2, 3, 4, with commas between them.")]
Externals = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME=DIR",
        help="Results <item>.<ext> of another program; those of scale 2 lie in DIR/x2.",
    ),
]
Versus = Annotated[str | None, typer.Option(help="Method to compare with; default the first one.")]
Images = Annotated[
    bool, typer.Option("--images", help="Write the results and the sources they are made of.")
]
Limit = Annotated[
    int | None, typer.Option(help="Number of scenes (default 12), or of pairs (default all).")
]
Side = Annotated[int, typer.Option(help="Of the truth of a scene, in px.")]
Seed = Annotated[int, typer.Option(help="Of the scenes.")]
Degrade = Annotated[
    str | None,
    typer.Option(
        metavar="NAME|sigma=S",
        help="Blur before the sources are made smaller, as --kernel of submit; default "
        "lanczos2. A method knows of it only by its own setting kernel=...",
    ),
]
Workers = Annotated[
    int | None, typer.Option(help="Processes; default one per CPU, or one with a GPU.")
]


def evaluate(  # noqa: PLR0913, PLR0917 - one parameter per flag
    items: Set,
    output: Output,
    methods: Methods = "",
    scales: Scales = "1,2",
    external: Externals = None,
    versus: Versus = None,
    images: Images = False,
    limit: Limit = None,
    side: Side = 512,
    seed: Seed = 0,
    degrade: Degrade = None,
    workers: Workers = None,
    as_json: AsJson = False,
) -> None:
    """Score methods against truth or sources: which one is better? The same command resumes."""
    from dfp_batch import evaluation as evaluating
    from dfp_batch.cli.console import LiveProgress
    from dfp_batch.config.run_config import kernel_of

    externals = evaluating.split_externals(external or [])
    named = evaluating.named_methods(evaluating.split_names(methods), externals)
    found = evaluating.item_set(items, limit, side, seed, kernel_of(degrade))
    with LiveProgress(voice.words(beside=True)) as progress:
        options = evaluating.Options(versus, images, workers, progress.moved)
        numbers = evaluating.split_scales(scales)
        evaluation = evaluating.evaluate(found, named, output, numbers, options)
    if as_json:
        voice.answer({"url": evaluation.url, "summary": evaluation.summary})
    else:
        _show(evaluation)
    if any(row["status"] != "ok" for row in evaluation.rows):
        raise typer.Exit(ExitCode.PAIRS)


def _show(evaluation: "Evaluation") -> None:
    """Print the tables."""
    from dfp_batch.evaluation import tables

    console = voice.answers()
    console.width = max(console.width, tables.WIDTH)
    tables.print_evaluation(console, evaluation)
