"""Which pairs of a run are compared with the classical floor, which costs a fusion of its own."""

import hashlib
from typing import Literal

CompareFloor = Literal["all", "sample", "none"]

FIRST = 10  # pairs of a run, to be seen soon
SHARE = 0.02  # of the others, by their names, so that a resumed run samples the same


def is_compared(mode: CompareFloor, place: int, pair_id: str, seed: int) -> bool:
    """Whether the result of a pair is compared.

    Args:
        mode: All pairs, none, or a sample: the first ten and 2 % of the others.
        place: Of the pair in the run, from 0.
        pair_id: Its name.
        seed: Of the run.
    """
    if mode != "sample":
        return mode == "all"
    if place < FIRST:
        return True
    digest = hashlib.sha256(f"{seed} {pair_id}".encode()).digest()
    return int.from_bytes(digest[:8]) < SHARE * 2**64
