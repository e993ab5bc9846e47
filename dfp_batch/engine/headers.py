"""What the headers of a pair's files say, and whether they fit each other and the run."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dfp_batch.config.run_config import RunConfig
from dfp_batch.engine.checks import (
    check_channels,
    check_output,
    check_side,
    check_truth,
    for_pair,
    reference_index,
    truths,
)
from dfp_batch.engine.fitting import CommonPart
from dfp_batch.engine.frames import check_channel, read_header
from dfp_batch.errors import ImageError, StorageError
from dfp_batch.io.codec import Frame, Header
from dfp_batch.io.stack_files import open_stack, version_of
from dfp_batch.runs.manifest import Pair

_PX = 1e6


@dataclass(frozen=True)
class Looked:
    """A pair by its headers.

    Attributes:
        pair_id: Of the pair.
        frames: Number of sources.
        header: Of the first source.
        source_bytes: Of all files of the sources together.
        truth_bytes: Of all references together.
        truths: Number of references.
        channels: Of a file of several, each of which is fused.
    """

    pair_id: str
    frames: int
    header: Header
    source_bytes: int
    truth_bytes: int = 0
    truths: int = 0
    channels: int = 1

    @property
    def images(self) -> int:
        """Images that are merged and enlarged: of several channels also what is decided by."""
        return 1 if self.channels == 1 else 1 + self.channels

    @property
    def frame_mp(self) -> float:
        """Megapixels of one source."""
        return self.header.width * self.header.height / _PX


@dataclass(frozen=True)
class Problem:
    """Why a pair would fail.

    Attributes:
        pair_id: Of the pair.
        what: "cannot be read", "cannot be decoded" or "does not fit".
        message: One line.
    """

    pair_id: str
    what: str
    message: str


def look(pair: Pair, run: RunConfig) -> Looked | Problem:
    """Read the headers of a pair and check what they tell.

    Only what stands before the pixels is read, of a WebP the whole file.

    Raises:
        StorageAccessError: if nothing at all can be read.
        ConfigError: if a protocol has no driver here.
    """
    what = "cannot be decoded"
    try:
        sources, source_bytes, channels = _sources(pair.sources, run)
        references, truth_bytes = _headers(truths(pair))
        what = "does not fit"
        sources = _fitted(pair, sources, run)
        _check_sources(pair, sources, run)
        for url, header in zip(truths(pair), references, strict=True):
            size = (sources[0].height, sources[0].width)
            check_truth(url, (header.height, header.width), size, run.fusion.scale)
        check_channels(channels, run.fusion)
        check_output(_blank(sources[0]), run.output, channels)
    except ImageError as error:
        return Problem(pair.pair_id, what, str(error))
    except StorageError as error:
        if error.category == "fatal":
            raise
        return Problem(pair.pair_id, "cannot be read", str(error))
    counts = len(sources), sources[0], source_bytes, truth_bytes, len(references), channels
    return Looked(pair.pair_id, *counts)


def _sources(urls: Sequence[str], run: RunConfig) -> tuple[list[Header], int, int]:
    """Header of every source, the bytes of all their files, and their channels."""
    if len(urls) > 1:
        return *_headers(urls), 1
    with open_stack(urls[0], run.reading.stack_axis) as stack:
        check_channel(stack, urls[0], run.reading)
        headers = [stack.header(k) for k in range(len(stack))]
        return headers, int(version_of(urls[0]).split()[0]), len(stack.channels)


def _headers(urls: Sequence[str]) -> tuple[list[Header], int]:
    found = [read_header(url) for url in urls]
    return [header for header, _ in found], sum(size for _, size in found)


def _fitted(pair: Pair, headers: list[Header], run: RunConfig) -> list[Header]:
    """Headers of what will be taken of the sources."""
    if run.reading.fit == "none" or len(pair.sources) == 1:
        return headers
    part = CommonPart.of(headers)
    return [part.of_header(header) for header in headers]


def _check_sources(pair: Pair, headers: Sequence[Header], run: RunConfig) -> None:
    first = headers[0]
    reference_index(len(headers), for_pair(pair, run.fusion))
    check_side(pair.sources[0], first.height, first.width)
    for k, header in enumerate(headers):
        if header.kind != first.kind:
            names = [pair.sources[0], pair.sources[k]] if len(pair.sources) > 1 else [0, k]
            raise ImageError(
                f"sources differ: {names[0]} is {first.kind}, {names[1]} is {header.kind}; "
                "register, crop or convert them to one size and kind"
            )


def _blank(header: Header) -> Frame:
    """A frame of this kind without its pixels."""
    dtype = np.dtype(header.dtype)
    pixels = np.empty((0, 0, header.channels), dtype)
    alpha = np.empty((0, 0), dtype) if header.has_alpha else None
    white = float(2**header.bits - 1) if dtype == np.uint16 else None
    return Frame(pixels, alpha, white)
