"""The page as text: whole, alone, and safe whatever a run holds."""

import json
import re
from html import unescape

import pytest

from dfp_batch.report.page import LIBRARY, MODULES, PAGE, Content, render, script
from dfp_batch.report.recorded_run import RecordedRun
from dfp_batch.report.writing import write_report
from report_parts import NASTY, small_run


def told(page):
    """The data in a page."""
    text = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    return json.loads(text[1])


@pytest.fixture
def page(tmp_path):
    url = small_run(tmp_path)
    assert write_report(url) == f"{url}/report.html"
    return (tmp_path / "run/report.html").read_text()


def test_nothing_of_a_run_is_markup(page):
    assert NASTY not in page
    assert "<img" not in page
    assert page.count("<script") == page.count("</script>") == 3
    columns = told(page)["columns"]
    assert NASTY[9:] in columns["pair_id"]
    assert columns["error_message"][0].endswith(NASTY)


def test_it_asks_no_network_for_anything(page):
    policy = unescape(re.search(r'Content-Security-Policy" content="([^"]*)"', page)[1])
    assert "default-src 'none'" in policy
    assert "connect-src 'none'" in policy
    assert "unsafe-inline" not in policy.partition("style-src")[0]
    assert not re.search(r'(?:src|href)="?(?:https?:)?//', page)


def test_a_small_run_has_its_pictures_in_it(page):
    details = told(page)["details"]
    assert len(details) == 4
    own = details["item 0"]
    ids = ["result", "decision", "confidence", "reference", "difference", "frame-0", "frame-1"]
    assert [one["id"] for one in own["pictures"]] == ids
    assert all(one["src"].startswith("data:image/webp;base64,") for one in own["pictures"])
    assert own["frames"][1]["warp"][0] == [1, 0, 2]
    assert own["pictures"][1]["legend"]["ends"] == ["frame 1", "frame 2"]


def test_what_failed_shows_the_frames_that_can_be_read(page):
    pictures = told(page)["details"]["broken"]["pictures"]
    assert [one["title"] for one in pictures] == ["Frame 1", "Frame 2"]


def test_failures_come_with_their_command(page, tmp_path):
    (cause,) = told(page)["causes"]
    assert cause["command"] == f"dfp-batch retry {tmp_path}/run --category input"
    assert (cause["count"], cause["pair_ids"]) == (1, ["broken"])


def test_all_modules_are_in_the_script():
    assert {path.stem for path in PAGE.glob("*.js")} - {LIBRARY.removesuffix(".js")} == {*MODULES}
    assert "import {" not in script()
    assert not re.search(r"^export ", script(), re.MULTILINE)
    assert "</script" not in script() + (PAGE / LIBRARY).read_text()
    for module, text in ((name, (PAGE / f"{name}.js").read_text()) for name in MODULES):
        used = re.findall(r'from "\./(\w+)\.js"', text)
        assert all(MODULES.index(name) < MODULES.index(module) for name in used), module


def test_numbers_that_json_has_not_are_refused(tmp_path):
    data = RecordedRun.read(small_run(tmp_path)).summary()
    with pytest.raises(ValueError, match="not JSON compliant"):
        render(Content(data, {"x": float("nan")}))
