"""What is wrong with the columns of one row of a manifest, in words; nothing if all is well."""

import re
from collections import Counter
from collections.abc import Sequence

from dfp_batch.io.codec.names import STACK_ENDINGS, STACK_NAME
from dfp_batch.io.urls import without_version

MIN_SOURCES = 2
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_REFERENCE_SOURCES = 2
_STACKS = ", ".join(f".{ending}" for ending in STACK_ENDINGS)
_MOST_PAGES = 2**32  # a TIFF cannot hold more; what a file holds is not known before it is opened


def source_problems(sources: Sequence[str]) -> list[str]:
    """Of the URLs of the sources."""
    problems = []
    if len(sources) < MIN_SOURCES and not _in_one_file(sources):
        urls = "1 URL" if len(sources) == 1 else f"{len(sources)} URLs"
        needed = f"at least {MIN_SOURCES} are needed, or 1 file that holds the stack ({_STACKS})"
        problems.append(f"sources holds {urls}, {needed}")
    if len(set(sources)) < len(sources):
        repeated = [url for url, count in Counter(sources).items() if url and count > 1]
        problems += [f"sources holds {url} more than once" for url in repeated]
    return problems


def reference_problems(urls: Sequence[str]) -> list[str]:
    """Of the sharp sources."""
    if len(urls) == _REFERENCE_SOURCES:
        return []
    return [f"reference_sources must be exactly {_REFERENCE_SOURCES} URLs, got {len(urls)}"]


def mask_problems(masks: Sequence[str], sources: Sequence[str]) -> list[str]:
    """Of the masks, as far as the number of sources is known."""
    if _in_one_file(sources):
        few = f"masks must be {MIN_SOURCES} or more URLs, one for each page, got {len(masks)}"
        return [few] if len(masks) < MIN_SOURCES else []
    if len(masks) == len(sources) or not sources:
        return []
    return [f"masks must be {len(sources)} URLs, one for each source, got {len(masks)}"]


def frame_problems(frame: int | None, sources: Sequence[str]) -> list[str]:
    """Of the index of the reference frame, as far as the number of sources is known."""
    known = len(sources) >= MIN_SOURCES
    if frame is None or 0 <= frame < (len(sources) if known else _MOST_PAGES):
        return []
    last = f"{len(sources) - 1}, the index of a source" if known else "the last page"
    return [f"reference_frame must be from 0 to {last}, got {frame}"]


def camera_problems(camera: str | None) -> list[str]:
    """Of the camera, whose name is shown."""
    return ["camera must not hold control characters"] if CONTROL.search(camera or "") else []


def _in_one_file(sources: Sequence[str]) -> bool:
    """Whether this is a stack in one file: how many sources it holds is not known yet."""
    if len(sources) != 1:
        return False
    return not sources[0] or STACK_NAME.fullmatch(without_version(sources[0])) is not None
