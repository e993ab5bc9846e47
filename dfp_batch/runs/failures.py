"""Why pairs of a run have failed: one group per cause, and the command that comes next."""

import re
import shlex
from collections.abc import Iterable
from dataclasses import dataclass, field

import pyarrow.compute as pc
from rich.console import Console

from dfp_batch.runs.attempts import read_attempts, visible
from dfp_batch.runs.manifest import Pair
from dfp_batch.runs.run_directory import read_header, read_pairs

SHOWN_IDS = 5
_SHORTEST_NAME = 3  # "a" stands in many a sentence
_PLACE = re.compile(r"(?:[a-z][a-z0-9+.-]*://|(?<![\w/])/)[^\s'\"]*[^\s'\":;,.)]", re.IGNORECASE)
_IN_WORD = re.compile(r"\w")
_QUOTED = re.compile(r"'[^']*'|\"[^\"]*\"")
_NUMBER = re.compile(r"\b(?:0x)?[0-9a-f]{8,}\b|\d+(?:\.\d+)?(?:e[+-]?\d+)?", re.IGNORECASE)
_FIRST = {
    "input": "put the files in order, then",
    "transient": "once the store and the machines are well again:",
    "resource": "with more memory for each pair, e.g. a larger --gpus-per-pair:",
    "crash": "look at the files and at the worker's log, then",
    "timeout": "look whether the machines were too busy, then",
}


@dataclass
class Group:
    """Pairs that failed for one cause.

    Attributes:
        category: Of the error.
        quarantined: Whether they are left alone by ``submit``.
        message: Of the latest of them.
        pair_ids: In the order of the run.
    """

    category: str
    quarantined: bool
    message: str
    pair_ids: list[str] = field(default_factory=list)

    def next_step(self, url: str) -> str:
        """What to do, with the whole command."""
        return " ".join(self.advice_and_command(url))

    def advice_and_command(self, url: str) -> tuple[str, str]:
        """What to do before, and the whole command."""
        options = f"--category {self.category}" + (" --quarantined" if self.quarantined else "")
        first = _FIRST.get(self.category, "once that is mended:")
        return first, f"dfp-batch retry {shlex.quote(url)} {options}"


def failures(url: str) -> list[Group]:
    """Failed and quarantined pairs, grouped by category and message; the largest group first.

    Messages that differ only in names, places and numbers belong together.

    Raises:
        ConfigError: if there is no run.
        LedgerError: if it is damaged.
    """
    read_header(url)
    rows = visible(read_attempts(url, ("category", "error_message", "finished_at")))
    rows = rows.filter(pc.not_equal(rows["status"], "ok")).sort_by([("finished_at", "descending")])
    if not rows.num_rows:
        return []
    named = set(rows["pair_id"].to_pylist())
    pairs = {
        pair.pair_id: (number, pair)
        for number, pair in enumerate(read_pairs(url))
        if pair.pair_id in named
    }
    groups: dict[tuple[str, bool, str], Group] = {}
    columns = ["pair_id", "status", "category", "error_message"]
    for pair_id, status, category, text in zip(
        *(rows[name].to_pylist() for name in columns), strict=True
    ):
        if pair_id not in pairs:
            continue
        message, is_quarantined = text or "", status == "quarantined"
        key = (category, is_quarantined, without_names(message, pairs[pair_id][1]))
        group = groups.setdefault(key, Group(category, is_quarantined, message))
        group.pair_ids.append(pair_id)
    for group in groups.values():
        group.pair_ids.sort(key=lambda pair_id: pairs[pair_id][0])
    return sorted(groups.values(), key=lambda group: -len(group.pair_ids))


def without_names(message: str, pair: Pair) -> str:
    """A message with what is particular to one pair left out: names, places, numbers."""
    for name in sorted(_names(pair), key=len, reverse=True):
        if len(name) >= _SHORTEST_NAME and name in message:
            message = _without_name(message, name)
    message = _QUOTED.sub("*", _PLACE.sub("*", message))
    return _NUMBER.sub("#", message)


def _without_name(text: str, name: str) -> str:
    """A text with a name left out where it is a whole word; a pattern for each would cost more."""
    kept, at = [], 0
    while (found := text.find(name, at)) >= 0:
        end = found + len(name)
        is_part = _IN_WORD.match(text[end : end + 1]) or _IN_WORD.match(
            text[max(0, found - 1) : found]
        )
        kept += [text[at:found], name if is_part else "*"]
        at = end
    return "".join([*kept, text[at:]])


def _names(pair: Pair) -> Iterable[str]:
    urls = [*pair.sources, *(pair.reference_sources or ()), *(pair.masks or ())]
    urls += [pair.reference] if pair.reference else []
    return {pair.pair_id, *urls, *(url.rpartition("/")[2] for url in urls)}


def print_failures(console: Console, url: str, groups: list[Group]) -> None:
    """For people: how many, why, which, and what to do next."""
    for group in groups:
        count = len(group.pair_ids)
        kind = f"{group.category}, quarantined" if group.quarantined else group.category
        more = f" and {count - SHOWN_IDS} more" if count > SHOWN_IDS else ""
        lines = [
            f"{count} {'pair' if count == 1 else 'pairs'}: {kind}",
            f"    {group.message}",
            f"    {', '.join(group.pair_ids[:SHOWN_IDS])}{more}",
            f"    next: {group.next_step(url)}",
        ]
        console.print("\n".join(lines), soft_wrap=True, highlight=False, markup=False)
