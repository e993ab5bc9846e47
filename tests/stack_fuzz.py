"""Damage small files of microscopes and read them: ``python stack_fuzz.py KIND FOLDER CASES MB``.

As in codec_fuzz.py every case is made from its number, which is printed before the file is read.
"""

import sys
from pathlib import Path

import numpy as np

from codec_fuzz import DAMAGES, limit_memory, say
from dfp_batch.errors import ImageError
from dfp_batch.io.stack_files import open_stack, parts_of
from microscope_parts import lif, nd2, volume, write_czi


def whole(kind: str, folder: Path) -> bytes:
    """A small file of this kind."""
    samples = volume(2, 3, 8, 9)
    if kind != "czi":
        return {"lif": lif, "nd2": nd2}[kind](samples)
    write_czi(folder / "whole.czi", samples)
    return (folder / "whole.czi").read_bytes()


def damaged(data: bytes, number: int) -> bytes:
    rng = np.random.default_rng(number)
    changed = bytearray(data)
    for _ in range(int(rng.integers(1, 4))):
        DAMAGES[int(rng.integers(len(DAMAGES)))](changed, rng)
    return bytes(changed)


def main() -> None:
    kind, folder, cases, megabytes = sys.argv[1], Path(sys.argv[2]), *map(int, sys.argv[3:])
    data, path = whole(kind, folder), folder / f"damaged.{kind}"
    limit_memory(megabytes)
    stacks = 0
    for number in range(cases):
        say(f"case {number}")
        path.write_bytes(damaged(data, number))
        try:
            parts_of(str(path))
            with open_stack(str(path)) as stack:
                for k in range(min(len(stack), 5)):
                    assert stack.frame(k).size == stack.frame(0).size
            stacks += 1
        except ImageError as error:
            assert str(error).startswith(str(path)), error
            assert "\n" not in str(error)
    say(f"done, {stacks} stacks")


if __name__ == "__main__":
    main()
