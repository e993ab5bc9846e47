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
_PLAIN = re.compile(r"^```\n(.*?)^```", re.MULTILINE | re.DOTALL)
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
        return shlex.split(self.text, comments=True)


def shown(path):
    """Commands in the blocks of a page, in their order."""
    blocks = _SHELL.findall(path.read_text())
    lines = [line for block in blocks for line in block.splitlines() if line.strip()]
    return [Command(path.relative_to(ROOT).as_posix(), line) for line in lines]


def mentioned(path):
    """Commands of ours within sentences, tables and blocks that are not said to be of a shell."""
    text, name = path.read_text(), path.relative_to(ROOT).as_posix()
    lines = [line for block in _PLAIN.findall(text) for line in block.splitlines()]
    blocks = [line for line in lines if line.startswith("dfp-batch ")]
    return [Command(name, found) for found in (*_IN_LINE.findall(text), *blocks)]
