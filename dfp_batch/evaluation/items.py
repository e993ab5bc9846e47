"""What is measured: the items of a set, each at one scale, with what is known of its truth."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from dfp_batch.core.degradation import Kernel

Image = NDArray[np.float32]
Labels = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Case:
    """One item at one scale s: what a method gets, and what only the scores see.

    Attributes:
        sources: (N, C, h, w), in [0, 1].
        dtype: Of the pixels in the files: uint8, uint16 or float32.
        full_sources: (N, C, s * h, s * w), in [0, 1], or None.
        reference: All in focus, (1 or C, s * h, s * w), in [0, 1], or None.
        labels: Source in focus, (h, w), or None.
        unfocused: Where no source is in focus, (h, w), or None.
        kernel: Of the D that made the sources; None where they are as they were found.
    """

    sources: Image
    dtype: np.dtype[Any]
    full_sources: Image | None = None
    reference: Image | None = None
    labels: Labels | None = None
    unfocused: NDArray[np.bool_] | None = None
    kernel: Kernel | None = None


class Item(Protocol):
    """One item at one scale; small, so that it can be sent to a worker."""

    @property
    def name(self) -> str:
        """Unique in its set."""
        ...

    @property
    def scale(self) -> int:
        """1, 2, 3 or 4."""
        ...

    def load(self) -> Case | None:
        """Make or read it; None if this scale is not its own and its own is asked for, too.

        Raises:
            DfpError: if it cannot be scored.
        """
        ...


class ItemSet(Protocol):
    """Where the items come from."""

    @property
    def label(self) -> str:
        """Short name for the tables."""
        ...

    def items(self, scales: Sequence[int]) -> list[Item]:
        """All items at all scales, scale by scale."""
        ...

    def describe(self) -> dict[str, Any]:
        """JSON values that are equal exactly for equal sets."""
        ...


def last_part(url: str) -> str:
    """The name of a file or folder."""
    return url.rstrip("/").rpartition("/")[2]
