"""What the stacks of a tree are made of, and what looks wrong with them before anything runs."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import repeat

from dfp_batch.archive.find import Archive
from dfp_batch.archive.heads import Head, Moved, content_digest, heads
from dfp_batch.archive.likeness import ONE_SCENE, Likeness, spread
from dfp_batch.archive.numbering import missing_numbers, missing_text
from dfp_batch.archive.stacks import Image, Stack

MOST_LOOKED = 10_000
"""Files whose beginnings are read; of a larger tree that is a sample of the stacks."""
MANY_FRAMES = 100
_MOST_COMPARED = 20  # stacks whose frames are decoded, those of most frames
_INODE = "inode:"


@dataclass(frozen=True)
class Row:
    """One stack.

    Attributes:
        pair_id: Of it.
        frames: Images in it.
        sizes: Of its images, the most frequent first, as in "520x520 px"; none if not looked at.
        formats: Likewise, as in "JPEG"; by the endings of the names if not looked at.
        size_bytes: Of all its files.
        warnings: What looks wrong, in words.
    """

    pair_id: str
    frames: int
    sizes: tuple[str, ...]
    formats: tuple[str, ...]
    size_bytes: int
    warnings: tuple[str, ...]


def survey(archive: Archive, moved: Moved, most_looked: int = MOST_LOOKED) -> Iterator[Row]:
    """A row for each stack, in their order.

    Warns of frames that differ in size or kind, or cannot be read; of one frame that is there
    twice, of stacks that are; of numbers that are missing; of very many frames, or of several
    scenes, in what was taken for one stack.

    Args:
        archive: What was found.
        moved: Told how many of the files are looked at.
        most_looked: Files; of more a sample of the stacks, evenly.

    Raises:
        StorageError: The store failed.
    """
    chosen = _chosen(archive, most_looked)
    looks = heads(archive.root, [archive.stacks[place] for place in chosen], moved)
    compared = _compared(archive.stacks, chosen)
    alike = Likeness(archive.root)
    seen: dict[bytes, str] = {}
    for place, stack in enumerate(archive.stacks):
        look = next(looks) if place in chosen else None
        warnings = [*_of_heads(stack, look or ()), *_of_names(stack)]
        warnings += _of_doubles(archive.root, stack, look, seen)
        warnings += _of_scenes(stack, alike) if place in compared else []
        yield _row(stack, look or (), warnings)


def is_looked_at(archive: Archive, most_looked: int = MOST_LOOKED) -> int:
    """How many stacks are looked at."""
    return len(_chosen(archive, most_looked))


def _chosen(archive: Archive, most: int) -> dict[int, None]:
    """Places of the stacks that are looked at, all or every so many."""
    every = -(-archive.frames // max(1, most))
    return dict.fromkeys(range(0, len(archive.stacks), max(1, every)))


def _compared(stacks: Sequence[Stack], chosen: dict[int, None]) -> set[int]:
    """Places of the stacks of most frames that a folder alone says to be one."""
    unnamed = [
        place for place in chosen if not stacks[place].name and len(stacks[place].images) > 1
    ]
    unnamed.sort(key=lambda place: -len(stacks[place].images))
    return set(unnamed[:_MOST_COMPARED])


def _row(stack: Stack, look: Sequence[Head], warnings: Sequence[str]) -> Row:
    headers = [head.header for head in look if head.header is not None]
    sizes = Counter(f"{header.width}x{header.height}" for header in headers)
    formats = Counter(header.format for header in headers)
    if not look:
        formats = Counter(image.name.rpartition(".")[2].lower() for image in stack.images)
    frames = look[0].frames if len(look) == 1 else len(stack.images)
    size_bytes = sum(image.size_bytes for image in stack.images)
    return Row(
        stack.pair_id, frames, _by_count(sizes), _by_count(formats), size_bytes, tuple(warnings)
    )


def _by_count(counts: Counter[str]) -> tuple[str, ...]:
    return tuple(text for text, _ in counts.most_common())


def _of_heads(stack: Stack, look: Sequence[Head]) -> Iterator[str]:
    """Frames that a run would refuse."""
    kinds = defaultdict[str, list[Image]](list)
    for image, head in zip(stack.images, look, strict=False):
        if head.header is None:
            yield f"{image.name} {head.problem}"
        else:
            kinds[head.header.kind].append(image)
    if len(kinds) > 1:
        most, *others = sorted(kinds, key=lambda kind: -len(kinds[kind]))
        odd = "; ".join(f"{kinds[kind][0].name} has {kind}" for kind in others)
        yield f"frames differ: {len(kinds[most])} have {most}; {odd}"


def _of_names(stack: Stack) -> Iterator[str]:
    missing = missing_numbers([image.stem for image in stack.images])
    if missing:
        yield f"gap in the numbers: {missing_text(missing)} missing"
    if len(stack.images) > MANY_FRAMES and not stack.name:
        yield (
            f"{len(stack.images)} frames in one stack; if they are several, --gap, --every or "
            "--group cut them"
        )


def _of_doubles(
    root: str, stack: Stack, look: Sequence[Head] | None, seen: dict[bytes, str]
) -> Iterator[str]:
    """Frames, or whole stacks, that are there twice."""
    keys = [_content(image, head) for image, head in _with_heads(stack, look)]
    same = defaultdict[str, list[Image]](list)
    for image, key in zip(stack.images, keys, strict=True):
        same[key].append(image)
    for key, images in same.items():
        if key and len(images) > 1 and _is_one_content(root, images):
            yield f"{' and '.join(image.name for image in images)} are one and the same"
    if all(keys) and len(same) == len(keys):
        digest = hashlib.blake2b("\n".join(sorted(keys)).encode(), digest_size=16).digest()
        first = seen.setdefault(digest, stack.pair_id)
        if first != stack.pair_id:
            yield f"holds the same frames as {first}"


def _with_heads(stack: Stack, look: Sequence[Head] | None) -> Iterator[tuple[Image, Head | None]]:
    return zip(stack.images, look or repeat(None, len(stack.images)), strict=True)


def _content(image: Image, head: Head | None) -> str:
    """What is the same where the content is; "" if nothing is known of it."""
    if image.mark and not image.mark.startswith(_INODE):
        return f"{image.size_bytes} {image.mark}"
    if head is not None and head.digest:
        return f"{image.size_bytes} {head.digest.hex()}"
    return ""


def _is_one_content(root: str, images: Sequence[Image]) -> bool:
    """Whether files whose beginnings are the same are the same; the store may say so."""
    marks = {image.mark for image in images}
    if len(marks) == 1 and marks != {""}:
        return True
    return len({content_digest(root, image) for image in images}) == 1


def _of_scenes(stack: Stack, alike: Likeness) -> Iterator[str]:
    likeness = alike(spread(stack.images))
    alike.forget()
    if likeness is not None and likeness < ONE_SCENE:
        yield (
            "the first, the middle and the last frame show several scenes; if they are several "
            "stacks, --gap, --every or --group cut them"
        )
