"""Pictures that are in the page itself: small ones, of the items of most doubt, up to a budget."""

import base64
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from dfp_batch.errors import DfpError
from dfp_batch.report.details import details
from dfp_batch.report.pictures import ItemPictures, small, webp

LONGEST_PX = 360
MOST_FRAMES = 12  # of one item
_REASON = 200


@dataclass
class Budget:
    """What embedding may still take.

    Attributes:
        page_bytes: Of pictures in the page.
        source_bytes: Of files that are read for it.
        items: At most.
    """

    page_bytes: int = 1_900_000
    source_bytes: int = 256_000_000
    items: int = 200

    @property
    def is_spent(self) -> bool:
        """Whether there is none left."""
        return min(self.page_bytes, self.source_bytes, self.items) <= 0


def embedded(items: Iterable[ItemPictures], budget: Budget) -> dict[str, Any]:
    """Details of the first items, with their pictures as ``data:`` URLs, by id."""
    found = {}
    for item in items:
        if budget.is_spent:
            break
        budget.items -= 1
        budget.source_bytes -= _bytes_read(item.row)
        shown = partial(_shown, item, budget)
        found[item.pair.pair_id] = details(item, _chosen(item), shown)
    return found


def _bytes_read(row: Mapping[str, Any]) -> int:
    """Of the sources and the result, as the row tells: sizes stand first in versions."""
    sizes = [version.partition(" ")[0] for version in row.get("source_versions") or ()]
    return sum(int(size) for size in sizes if size.isdecimal()) + 2 * (row.get("output_bytes") or 0)


def _chosen(item: ItemPictures) -> list[str]:
    """All pictures; of a deep stack frames at equal distances, the first and the last."""
    names, count = item.names, item.n_frames
    if count <= MOST_FRAMES:
        return names
    steps = [round(index * (count - 1) / (MOST_FRAMES - 1)) for index in range(MOST_FRAMES)]
    return names[: len(names) - count] + [f"frame-{index}" for index in steps]


def _shown(item: ItemPictures, budget: Budget, name: str) -> dict[str, Any]:
    try:
        data = webp(small(item.picture(name), LONGEST_PX))
    except DfpError as error:  # a picture less is no reason to have no page
        return {"problem": " ".join(str(error).split())[:_REASON]}
    source = "data:image/webp;base64," + base64.b64encode(data).decode()
    budget.page_bytes -= len(source)
    return {"src": source}
