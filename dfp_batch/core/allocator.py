"""How glibc keeps the memory of images that are done with.

By default it takes every block of more than 32 MB from the kernel, page by page, and gives it back
at once. A stage of a large image does so hundreds of times, which is a quarter of its time
(docs/decisions/0037). Elsewhere than on glibc from 2.33 on nothing is changed.
"""

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # of malloc.h
_KEPT_BLOCK = 128 * 10**6  # bytes of the largest block that is kept for the next that needs one
_KEPT_FREE = 192 * 10**6  # bytes that lie unused before some are given back
MUCH = 320 * 10**6
_CAN_TELL = sys.platform == "linux" and hasattr(ctypes.CDLL(None), "mallinfo2")


class _Usage(ctypes.Structure):
    """What ``mallinfo2`` tells, of which ``free`` is its ``fordblks``."""

    _fields_ = (
        ("others", ctypes.c_size_t * 8),
        ("free", ctypes.c_size_t),
        ("on_top", ctypes.c_size_t),
    )


@contextmanager
def kept_memory() -> Iterator[None]:
    """Context of a stage: what it frees is kept for it, what lies unused after it is given back."""
    if not _CAN_TELL:
        yield
        return
    libc = ctypes.CDLL(None)
    libc.mallopt(_MMAP_THRESHOLD, _KEPT_BLOCK)
    libc.mallopt(_TRIM_THRESHOLD, _KEPT_FREE)
    try:
        yield
    finally:
        give_back()


def give_back(beyond: int = _KEPT_BLOCK) -> None:
    """What lies unused, to the kernel, if it is more than so many bytes.

    Between steps, since blocks of another size are wanted next; with ``MUCH`` in a loop, which
    would soon take it again.
    """
    if not _CAN_TELL:
        return
    libc = ctypes.CDLL(None)
    libc.mallinfo2.restype = _Usage
    if libc.mallinfo2().free > beyond:
        libc.malloc_trim(0)
