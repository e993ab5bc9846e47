"""What the page tells of an item beside its row: frames, registration, pictures, their colours."""

from collections.abc import Callable
from typing import Any

from dfp_batch.report import colours
from dfp_batch.report.pictures import ItemPictures

TITLES = {
    "result": "Result",
    "decision": "Decision",
    "confidence": "Confidence",
    "reference": "Reference",
    "difference": "Difference",
}
Shown = Callable[[str], dict[str, Any]]


def details(pictures: ItemPictures, names: list[str], shown: Shown) -> dict[str, Any]:
    """One item, for JSON.

    Args:
        pictures: Of the item.
        names: Of the pictures to be shown.
        shown: How the page gets at one: ``{"src": ...}``, ``{"tiles": ...}`` or
            ``{"problem": text}``.
    """
    found = pictures.registration
    return {
        "width": found.get("width_px"),
        "height": found.get("height_px"),
        "window": pictures.window,
        "reference": found.get("reference"),
        "n_frames": pictures.n_frames,
        "frames": _frames(pictures),
        "pictures": [
            {"id": name, "title": title(name), **_legend(name, pictures), **shown(name)}
            for name in names
        ],
    }


def title(name: str) -> str:
    """Of a picture, for people, who count frames from 1."""
    return TITLES.get(name) or f"Frame {int(name.rpartition('-')[2]) + 1}"


def _frames(pictures: ItemPictures) -> list[dict[str, Any]]:
    registered = pictures.registration.get("frames", [])
    sources = pictures.pair.sources
    names = ("source", "flag", "warp", "gains", "score_before", "score_after")
    if registered:
        return [{name: frame.get(name) for name in names} for frame in registered]
    return [{"source": source} for source in sources]


def _legend(name: str, pictures: ItemPictures) -> dict[str, Any]:
    count = pictures.n_frames
    if name == "decision":
        ends = ["frame 1", f"frame {count}"]
        return {"legend": {"colours": colours.frame_legend(count), "ends": ends}}
    if name == "confidence":
        ends = ["in focus nowhere", "certain"]
        return {"legend": {"colours": colours.confidence_legend(), "ends": ends}}
    if name == "difference":
        ends = ["none", f"{colours.FULL_DIFFERENCE:.0%} of white and more"]
        return {"legend": {"colours": colours.difference_legend(), "ends": ends}}
    return {}
