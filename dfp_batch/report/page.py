"""The page: one HTML file with everything in it, that asks no network for anything.

Its parts stand in ``page/``. Its modules become one script, a function each in the order of
``MODULES``, since a page that is opened as a file may not load modules.
A policy in the page lets the browser run these scripts only, by their hashes, whatever an id or an
error message holds; text gets into the page as JSON and as text nodes, never as markup.
"""

import base64
import hashlib
import html
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

from dfp_batch.report.data import ReportData

PAGE = Path(__file__).with_name("page")
MODULES = ("elements", "format", "state", "data", "marks", "charts", "overview", "table", "viewer",
           "panels", "item", "main")  # fmt: skip
LIBRARY = "openseadragon.min.js"
Mode = Literal["file", "serve"]

_IMPORT = re.compile(r'^import (\{[^}]*\}) from "\./(\w+)\.js";$', re.MULTILINE)
_EXPORT = re.compile(r"^export ((?:async )?\w+) (\w+)", re.MULTILINE)


@dataclass(frozen=True)
class Content:
    """What is told to the page.

    Attributes:
        data: Of the run.
        details: Of items whose pictures are in the page, by id.
        mode: "serve" if a server answers for everything else, "file" if only the run directory is
            beside the page.
        marks: "accepted" or "rejected", by id.
        token: That the server asks for with every mark.
    """

    data: ReportData
    details: Mapping[str, Any]
    mode: Mode = "file"
    marks: Mapping[str, str] | None = None
    token: str = ""


def render(content: Content) -> str:
    """The whole page."""
    data = content.data
    name = data.run.rstrip("/").rpartition("/")[2]
    scripts = [_library(), script()]
    told = {**asdict(data), "details": content.details, "mode": content.mode,
            "marks": content.marks or {}, "token": content.token}  # fmt: skip
    notes = "".join(f"<p class=note>{html.escape(note)}</p>" for note in data.notes)
    parts = {
        "policy": _policy(scripts, content.mode),
        "title": html.escape(f"{name} \u2013 dfp-batch"),
        "name": html.escape(name),
        "headline": html.escape(data.headline),
        "notes": notes,
        "style": (PAGE / "style.css").read_text(),
        "data": _json(told),
        "library": scripts[0],
        "script": scripts[1],
    }
    template = (PAGE / "index.html").read_text()
    return re.sub(r"\{\{(\w+)\}\}", lambda found: parts[found[1]], template)


@cache
def script() -> str:
    """The modules of the page as one script."""
    return "const modules = {};\n" + "\n".join(map(_as_function, MODULES))


def _as_function(name: str) -> str:
    """A module as a function that is called at once, and gives what the module exports."""
    text = (PAGE / f"{name}.js").read_text()
    exported = ", ".join(found[2] for found in _EXPORT.finditer(text))
    body = _EXPORT.sub(r"\1 \2", _IMPORT.sub(r"const \1 = modules.\2;", text))
    return f"modules.{name} = (() => {{\n{body}return {{ {exported} }};\n}})();"


@cache
def _library() -> str:
    return (PAGE / LIBRARY).read_text()


def _policy(scripts: list[str], mode: Mode) -> str:
    """What the browser may load: nothing from elsewhere."""
    digests = (hashlib.sha256(text.encode()).digest() for text in scripts)
    hashes = " ".join(f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests)
    images = "'self' data: blob: file:" if mode == "file" else "'self' data: blob:"
    connect = "'none'" if mode == "file" else "'self'"
    return (
        f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; img-src {images}; "
        f"connect-src {connect}; base-uri 'none'; form-action 'none'"
    )


def _json(value: Any) -> str:  # noqa: ANN401 - whatever JSON holds
    """JSON that no HTML parser takes for the end of its element, or for a comment."""
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
