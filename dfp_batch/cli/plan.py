"""``dfp-batch plan``."""

import shlex
from typing import Annotated

import typer

from dfp_batch.cli import voice
from dfp_batch.cli.exit_codes import ExitCode
from dfp_batch.cli.options import (
    Anonymous,
    AsJson,
    Every,
    Gap,
    Group,
    Source,
    resolve,
    with_composition,
)

_OWN = {"context", "sample", "seed", "cpus", "gpus", "measure", "as_json"}  # submit has them not


@with_composition()
def plan(  # noqa: PLR0913, PLR0917 - one parameter per flag
    context: typer.Context,
    manifest: Source,
    sample: Annotated[int, typer.Option(min=1, help="Pairs whose files are looked at.")] = 64,
    seed: Annotated[int, typer.Option(help="Chooses these pairs.")] = 0,
    cpus: Annotated[
        int | None, typer.Option(min=1, help="CPUs of the run; default those of this machine.")
    ] = None,
    gpus: Annotated[
        int | None, typer.Option(min=0, help="GPUs of the run; default those of this machine.")
    ] = None,
    measure: Annotated[
        bool,
        typer.Option("--measure", help="Measure this machine again; kept for 30 days otherwise."),
    ] = False,
    as_json: AsJson = False,
    gap: Gap = None,
    every: Every = None,
    group: Group = None,
    anonymous: Anonymous = False,
) -> None:
    """Say what of an archive would fail, and how long the rest would take; computes no pair.

    Exits with 3 if a sampled pair would fail.
    """
    from dfp_batch.archive.cuts import cut_of
    from dfp_batch.engine import costs, plan_text
    from dfp_batch.engine import plan as planning
    from dfp_batch.io import urls
    from dfp_batch.runs import access

    run = resolve(context)

    def model_of(kind: costs.Kind, uses_gpu: bool) -> costs.CostModel:
        return costs.cost_model(run, kind, uses_gpu, measure, _announce)

    url, how = urls.absolute_url(manifest), cut_of(gap, every, group)
    if anonymous:
        access.read_only([url], [])
    machines = planning.Machines.of(cpus, gpus)
    made = planning.make_plan(url, run, machines, (sample, seed), model_of, how)
    if as_json:
        voice.answer(made.to_json())
    else:
        for line in plan_text.lines(made, _next(context)):
            voice.answers().print(line, soft_wrap=True, highlight=False, markup=False)
    if made.sample.problems:
        raise typer.Exit(ExitCode.PAIRS)


def _announce() -> None:
    voice.say("measuring this machine on a few small pairs, once...", beside=True)


def _next(context: typer.Context) -> str:
    """The submit of the same composition."""
    words = ["dfp-batch", "submit"]
    for parameter in context.command.params:
        name = parameter.name or ""
        value = context.params.get(name)
        if name in _OWN or value is None:
            continue
        if value is False:
            continue
        flag = [parameter.opts[0]] if parameter.param_type_name == "option" else []
        for one in value if isinstance(value, list | tuple) else [value]:
            words += flag if one is True else [*flag, str(one)]
    return shlex.join(words)
