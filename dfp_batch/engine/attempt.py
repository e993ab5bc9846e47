"""One stage of one attempt, wherever it runs: the step from numbers to pixels."""

from dataclasses import dataclass, replace
from typing import Any

from dfp_batch.config.run_config import RunConfig
from dfp_batch.core.allocator import kept_memory
from dfp_batch.engine import receipt
from dfp_batch.engine.budget import reconstruct_limit_s
from dfp_batch.engine.executor import Work
from dfp_batch.engine.prepare import Circumstances, prepare
from dfp_batch.engine.progress import FIRST_LIMIT_S, Progress
from dfp_batch.engine.publish import publish
from dfp_batch.engine.reconstruct import reconstruct
from dfp_batch.engine.stages import Report, Stage, facts_of, run_stage
from dfp_batch.io import storage, urls
from dfp_batch.pipeline.placement import Accelerator
from dfp_batch.runs import access
from dfp_batch.runs.manifest import folder_name

SMALL = 16 << 20  # bytes of values

Outcome = tuple[Any, dict[str, Any]]


@dataclass(frozen=True)
class Job:
    """What all attempts of a run have in common.

    Attributes:
        run: What to compute.
        url: Run directory.
        accelerator: What the second stage has; None is a CPU.
        anonymous: Whether sources are read without credentials.
    """

    run: RunConfig
    url: str
    accelerator: Accelerator | None = None
    anonymous: bool = False


def perform(
    work: Work, job: Job, values: tuple[Any, ...], progress: Progress
) -> tuple[Report, Any]:
    """Run a stage.

    Args:
        work: Which stage of which pair.
        job: Of the run.
        values: What the stages before have left, in their order.
        progress: Hears of it.

    Returns:
        The report, and the value for the next stage or None.
    """
    access.use(job.anonymous, job.url, job.run.align_from)
    action = {Stage.PREPARE: _prepare, Stage.RECONSTRUCT: _reconstruct, Stage.PUBLISH: _publish}
    with kept_memory():
        return run_stage(
            work.stage, work.pair.pair_id, lambda: action[work.stage](work, job, values, progress)
        )


def perform_all(
    work: Work, job: Job, values: tuple[Any, ...], progress: Progress
) -> tuple[list[Report], Any]:
    """Run a stage, and if what it leaves is small, all that follow.

    Nothing of a small pair then crosses processes, and it is handed over once: to the end, since
    what the stages between leave stays here. Only without an accelerator, which later stages would
    be for. Arguments are those of ``perform``.

    Returns:
        The reports of all stages that were run; and the value for the next stage, or None.
    """
    report, value = perform(work, job, values, progress)
    reports = [report]
    stages = list(Stage)[list(Stage).index(work.stage) + 1 :]
    is_small = report.value_bytes < SMALL
    together = work.at_once and job.accelerator is None and is_small
    while together and stages and value is not None:
        values = (*values, value)
        facts = {**work.facts, **facts_of(reports)}
        report, value = perform(
            replace(work, stage=stages.pop(0), facts=facts), job, values, progress
        )
        reports.append(report)
    if len(reports) > 1:  # nothing waits
        reports = [replace(one, value_bytes=0) for one in reports[:-1]] + reports[-1:]
    return reports, value


def _prepare(work: Work, job: Job, _: tuple[Any, ...], progress: Progress) -> Outcome:
    progress.expect(FIRST_LIMIT_S)
    if work.adopt and (facts := receipt.adopt(work.pair, job.run, job.url)) is not None:
        return None, facts
    circumstances = Circumstances(job.accelerator, work.compare_floor, work.relief)
    return prepare(work.pair, job.run, progress, circumstances)


def _reconstruct(work: Work, job: Job, values: tuple[Any, ...], progress: Progress) -> Outcome:
    (prepared,) = values
    frames, frame_px = prepared.to_merge
    progress.expect(reconstruct_limit_s(frames, frame_px, job.run.fusion))
    return reconstruct(prepared, job.run.fusion, lambda *_: progress.check(), work.relief)


def _publish(work: Work, job: Job, values: tuple[Any, ...], progress: Progress) -> Outcome:
    prepared, reconstructed = values
    _, facts = publish(work.pair, prepared, reconstructed, job.run, job.url, progress)
    folder = urls.join(job.url, "outputs", folder_name(work.pair.pair_id))
    content = receipt.to_bytes(work.pair, job.run, {**work.facts, **facts})
    storage.write_bytes(urls.join(folder, receipt.NAME), content)
    return None, facts
