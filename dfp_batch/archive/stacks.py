"""What is found in a tree: images, the stacks they make, and what is left out."""

import posixpath
from dataclasses import dataclass, field
from typing import NamedTuple


class Image(NamedTuple):
    """One file that may be an image, or a folder that is one thing.

    Attributes:
        path: From the root of the tree, with slashes between.
        size_bytes: Of its content; 0 for a folder.
        mark: As in ``io.tree.File``.
        part: What is meant of it, as in ``io.volume.Part.mark``; "" for the whole.
    """

    path: str
    size_bytes: int = 0
    mark: str = ""
    part: str = ""

    @property
    def url_path(self) -> str:
        """The path as the end of a URL."""
        return f"{self.path}{self.part}"

    @property
    def name(self) -> str:
        """In its folder."""
        return posixpath.basename(self.path)

    @property
    def folder(self) -> str:
        """Where it lies; "" is the root."""
        return posixpath.dirname(self.path)

    @property
    def stem(self) -> str:
        """The name without its ending."""
        return posixpath.splitext(self.name)[0]


class Stack(NamedTuple):
    """Images that belong together.

    Attributes:
        pair_id: Unique in the tree once it is made.
        images: In the order of focus; a single one holds the whole stack.
        name: That its images share, within their folder; "" where the folder names the stack.
    """

    pair_id: str
    images: tuple[Image, ...]
    name: str = ""

    @property
    def owner(self) -> str:
        """What took the id, for people: a file, a folder, or the first of several files."""
        first = self.images[0]
        if len(self.images) == 1:
            return first.url_path
        if not self.name:
            return f"{first.folder}/"
        return f"{posixpath.splitext(first.path)[0]}.*"


@dataclass
class Found:
    """Stacks, and for everything that is in none a line with the reason."""

    stacks: list[Stack] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)

    def leave(self, path: str, reason: str) -> None:
        """Note what is in no stack."""
        self.left_out.append(f"{path}: {reason}")

    def add(self, other: "Found") -> None:
        """Take over what was found elsewhere."""
        self.stacks += other.stacks
        self.left_out += other.left_out


def inside(folder: str, name: str) -> str:
    """The path of a name in a folder of the tree."""
    return f"{folder}/{name}" if folder else name
