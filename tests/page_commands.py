"""Every command that README and docs/ show, as words."""

import re
import shlex
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
# Pages that are made: of records, or long ago and true then.
MADE = ("decisions/", "results")
PAGES = [
    ROOT / "README.md",
    *sorted(
        path
        for path in DOCS.rglob("*.md")
        if not path.relative_to(DOCS).as_posix().startswith(MADE)
    ),
]
_SHELL = re.compile(r"^```sh\n(.*?)^```", re.MULTILINE | re.DOTALL)
_IN_LINE = re.compile(r"`(dfp-batch \w+ [^`]+)`")


class Command(NamedTuple):
    """A line of a page.

    Attributes:
        page: Its path from the root of the repository.
        text: The line.
    """

    page: str
    text: str

    @property
    def words(self):
        """As a shell takes them apart; what it would put in stays as it is."""
        return shlex.split(self.text)


def shown(path):
    """Commands in the blocks of a page, in their order."""
    blocks = _SHELL.findall(path.read_text())
    lines = [line for block in blocks for line in block.splitlines() if line.strip()]
    return [Command(path.relative_to(ROOT).as_posix(), line) for line in lines]


def mentioned(path):
    """Commands of ours within sentences and tables."""
    name = path.relative_to(ROOT).as_posix()
    return [Command(name, text) for text in _IN_LINE.findall(path.read_text())]
