"""A merge of a large image, band of rows by band of rows, so that it takes the memory of a band."""

import torch
from torch import Tensor

from dfp_batch.core.allocator import give_back
from dfp_batch.core.contracts import Compute, Merge, Sources
from dfp_batch.core.filters import on_host
from dfp_batch.core.sources import Rows
from dfp_batch.core.tiling import Span, spans

MOST_PX = 14 << 20  # of a band with what lies beside it
_GRID_PX = 64  # to which bands are cut: that of the pyramid, and of the tiles of a warp


def merge_in_bands(
    merge: Merge,
    sources: Sources,
    decision: Tensor,
    certainty: Tensor,
    compute: Compute,
    largest_step: int,
    most_px: int = MOST_PX,
) -> Tensor:
    """As the merge, (1, C, h, w), to which it is equal but for the order of two sources at seams.

    In bands on a CPU, where the merge sees no more than its neighbourhood and the sources have rows
    of their own; else as a whole. ``DefocusSpreadCorrection`` counts which of two sources shows
    more in each band.

    Args:
        merge: Gives one image.
        sources: As of ``Merge``.
        decision: As there.
        certainty: As there.
        compute: As there.
        largest_step: As in ``Merge.reach_px``.
        most_px: Of a band with what lies beside it; more where that alone is half of it.
    """
    h, w = decision.shape[-2:]
    reach_px = merge.reach_px(largest_step) if on_host(decision) and sources.has_rows else None
    bands = [Span(0, h, 0, 0)] if reach_px is None else _bands(h, most_px // w, reach_px)
    if len(bands) == 1:
        return merge(sources, decision, certainty, compute)
    image = torch.empty(0)
    for rows in bands:
        view = Rows(sources, rows.read())
        sure = certainty if certainty.shape[-2] == 1 else certainty[:, rows.read()]
        made = merge(view, decision[:, :, rows.read()], sure, compute)[0, :, rows.within()]
        image = image if len(image) else made.new_empty(h, w, len(made)).movedim(-1, 0)
        image[:, rows.own()] = made
        del made
        give_back()
    return image[None]


def _bands(height: int, most_rows: int, reach_px: int) -> list[Span]:
    """As few bands of rows as may be, cut on the grid, with what is read beside them."""
    if height <= most_rows:
        return [Span(0, height, 0, 0)]
    cells, halo, most = -(-height // _GRID_PX), -(-reach_px // _GRID_PX), most_rows // _GRID_PX
    own, bands = most, spans(cells, max(1, most), halo)
    while own > max(1, halo) and max(map(_read, bands)) > most:
        own -= 1
        bands = spans(cells, own, halo)
    return [
        Span(
            _GRID_PX * one.start,
            min(height, _GRID_PX * one.stop),
            _GRID_PX * one.before_px,
            min(height, _GRID_PX * (one.stop + one.after_px)) - min(height, _GRID_PX * one.stop),
        )
        for one in bands
    ]


def _read(span: Span) -> int:
    return span.stop + span.after_px - span.start + span.before_px
