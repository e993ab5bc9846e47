"""Every column of the two tables of a run: name, type and meaning, in one place.

``MANIFEST`` is what goes in, a row per pair; ``RESULTS`` what comes out, a row per attempt. The
schemas of the files and the reference of the documentation are made of them.
"""

from typing import NamedTuple

import pyarrow as pa

from dfp_batch.metrics.names import MEANINGS
from dfp_batch.metrics.names import OF_A_RUN as METRICS

_TEXT, _TEXTS, _WHOLE, _LONG, _REAL, _REALS = (
    pa.string(),
    pa.list_(pa.string()),
    pa.int32(),
    pa.int64(),
    pa.float64(),
    pa.list_(pa.float64()),
)
_TIME = pa.timestamp("us", tz="UTC")


class Column(NamedTuple):
    """A column of a table.

    Attributes:
        name: In the file.
        kind: Of its values.
        meaning: For people, with the unit.
        needed: Whether every row has a value.
    """

    name: str
    kind: pa.DataType
    meaning: str
    needed: bool = False


def schema_of(columns: tuple[Column, ...]) -> pa.Schema:
    """The schema of a file that has these columns."""
    fields = [pa.field(column.name, column.kind, not column.needed) for column in columns]
    return pa.schema(fields)


MANIFEST = (
    Column("pair_id", _TEXT, "Unique; names the output folder.", needed=True),
    Column(
        "sources",
        _TEXTS,
        "2 to 2,000 paths or URLs in the order of focus, or the one file that holds the stack: "
        "TIFF or OME-TIFF (.tif, .tiff), ND2, CZI, LIF, or the folder of an OME-Zarr (.zarr); "
        "`a.lif#1` names one of several in it. Relative ones start at the manifest.",
        needed=True,
    ),
    Column(
        "reference",
        _TEXT,
        "All-in-focus truth, at the size of the result or a whole multiple of the sources' size; "
        "for metrics only.",
    ),
    Column(
        "reference_sources",
        _TEXTS,
        "Exactly two full-size sources; for the paper's relative metrics only.",
    ),
    Column(
        "masks",
        _TEXTS,
        "One image per source or page, white where that source is in focus; for the accuracy of "
        "decisions only.",
    ),
    Column(
        "reference_frame",
        _LONG,
        "Index, from 0, of the source that the others are registered to; null is the middle one.",
    ),
    Column(
        "camera",
        _TEXT,
        "What took the sources: `--kernel auto` looks for one kernel for each; null is what their "
        "EXIF data say.",
    ),
)

_ATTEMPT = (
    Column("run_id", _TEXT, "Of run.json.", needed=True),
    Column("pair_id", _TEXT, "Of the manifest.", needed=True),
    Column("epoch", _WHOLE, "Number of the session or command, from 1.", needed=True),
    Column("attempt", _WHOLE, "At this pair in this session, from 1.", needed=True),
    Column(
        "status",
        _TEXT,
        "`ok`; `error`; `quarantined`: not tried again by itself; `requeued`: a command says that "
        "it is to be done again.",
        needed=True,
    ),
    Column("category", _TEXT, "Of the error: what was done about it; null for `ok`."),
    Column("error_type", _TEXT, "Class of the error."),
    Column("error_message", _TEXT, "What is wrong, where, and what to do; 2 kB at most."),
    Column("stage", _TEXT, "The last one that ran: prepare, reconstruct, publish; or the command."),
)
_OUTPUT = (
    Column("output_url", _TEXT, "The image."),
    Column("output_sha256", _TEXT, "Of the file, by which `verify` knows it."),
    Column("output_bytes", _LONG, "Of the file."),
    Column("width_px", _WHOLE, "Of the image."),
    Column("height_px", _WHOLE, "Of the image."),
    Column("bit_depth", _WHOLE, "Of the sources, and of the image where its format holds it."),
    Column("significant_bits", _WHOLE, "Bits that are in use: 10, 12 or 14 bits in files of 16."),
    Column("range_low", _REAL, "Of measured values: what is 0 inside, in the unit of the file."),
    Column("range_high", _REAL, "Of measured values: what is 1 inside."),
    Column("scale", _WHOLE, "Enlargement."),
    Column("kernel", _TEXT, "Blur that was taken for granted, as `--kernel` names it."),
    Column(
        "kernel_sigma_px",
        _REAL,
        "What `auto-item` has found: standard deviation of a Gaussian, in pixels of the result.",
    ),
    Column("kernel_error_px", _REAL, "Its expected error."),
)
_SOURCES = (
    Column("n_sources", _WHOLE, "Frames of the pair or stack."),
    Column("camera", _TEXT, "What took them: of the manifest, or what their EXIF data say."),
    Column("channel_names", _TEXTS, "Of a file of several channels."),
    Column(
        "source_versions",
        _TEXTS,
        "Size and ETag, or time of the last change, of every source as it was read.",
    ),
    Column(
        "source_notes",
        _TEXTS,
        "What was unusual and was taken as it is: missing pages, frames that were cropped.",
    ),
    Column("adopted", pa.bool_(), "The result was there already; only its row had been lost."),
    Column("reference_frame", _WHOLE, "Index of the frame the others were registered to."),
    Column(
        "align_flags",
        _TEXTS,
        "Per source: `reference`, `registered`, `identity` (no motion, or none that fits better), "
        "`failed` (left out).",
    ),
    Column("align_score_before", _REAL, "How well the worst frame fits its neighbour; 1 is best."),
    Column("align_score_after", _REAL, "The same after registration."),
    Column("gain_min", _REAL, "Smallest correction of the exposure of a frame and channel."),
    Column("gain_max", _REAL, "Largest one; 1 is none."),
    Column("mended_spots", _WHOLE, "Dust and hot pixels that were filled in, in every frame."),
    Column("valid_share", _REAL, "Share of the area that all frames have seen."),
    Column("low_confidence_share", _REAL, "Share of the area that is in focus in no frame."),
)
_METHOD = (
    Column("preset", _TEXT, "That the configuration started from."),
    Column("fingerprint", _TEXT, "Of the whole configuration, as in run.json."),
    Column("precision", _TEXT, "What the convolutions took: fp32, bf16, int8."),
    Column("iterations", _WHOLE, "Of a network that is fitted to the item."),
    Column("stop_reason", _TEXT, "Why they ended: `iterations`, `plateau`, `skipped`."),
    Column("loss_first", _REAL, "Objective before the first of them."),
    Column("loss_last", _REAL, "Objective before the last."),
    Column("loss_curve", _REALS, "Objective before 100 of them at most, from first to last."),
    Column(
        "blind_gain_db",
        _REAL,
        "PSNR over back projection when the item, made smaller once more, is restored.",
    ),
    Column("used_floor", pa.bool_(), "Back projection took the place of a result that was worse."),
)
_METRICS = (
    *(Column(name, _REAL, MEANINGS[name]) for name in METRICS),
    *(Column(f"floor_{name}", _REAL, f"`{name}` of the classical floor.") for name in METRICS),
)
_COST = (
    Column("t_prepare_s", _REAL, "Seconds of the clock: decode, register, expose."),
    Column("t_reconstruct_s", _REAL, "Seconds: merge (beside an accelerator), enlarge, check."),
    Column("t_publish_s", _REAL, "Seconds: measure, encode, write."),
    Column("peak_gpu_bytes", _LONG, "Most memory of the GPU."),
    Column("peak_rss_bytes", _LONG, "Most memory of a process of a stage."),
    Column("device", _TEXT, "Name of the GPU, or `cpu`."),
    Column("node", _TEXT, "Name of the machine."),
    Column("started_at", _TIME, "When the attempt began."),
    Column("finished_at", _TIME, "When it ended."),
    Column("code_version", _TEXT, "Of dfp-batch."),
    Column("schema_version", _WHOLE, "Of the run directory."),
)
RESULTS = (*_ATTEMPT, *_OUTPUT, *_SOURCES, *_METHOD, *_METRICS, *_COST)
