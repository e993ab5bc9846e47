"""The page in a real browser: Chromium without a window.

All but the first test are slow. A machine without the browser fails, and is told what to install.
"""

import json
import shutil
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from dfp_batch.engine.retry import rejected_pairs
from dfp_batch.io import storage
from dfp_batch.report.data import summary
from dfp_batch.report.facts import Cause, RunFacts
from dfp_batch.report.page import Content, render
from dfp_batch.report.writing import write_report
from dfp_batch.runs.attempts import SCHEMA
from report_parts import NASTY, START, served, small_run

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
PHONE, DESK = {"width": 390, "height": 844}, {"width": 1280, "height": 860}
ROWS = "#table tbody tr[tabindex]"


@pytest.fixture(scope="module")
def chromium():
    """A browser, closed at the end of the module: Playwright's loop must not outlive it."""
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None:
        pytest.fail("these tests need Chromium: apt-get install chromium")
    try:
        from playwright.sync_api import sync_playwright  # noqa: PLC0415 - only for those who ask
    except ImportError:
        pytest.fail("these tests need Playwright: pip install playwright axe-playwright-python")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


class Opened:
    """A page that is looked at, and what it complains of and asks for."""

    def __init__(self, browser, url, **options):
        self.complaints, self.asked = [], []
        self.context = browser.new_context(**{"viewport": DESK, **options})
        self.page = self.context.new_page()
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("console", self._said)
        self.page.on("dialog", lambda dialog: self.complaints.append(f"dialog: {dialog.message}"))
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.goto(url)

    def _said(self, message):
        if message.type in ("error", "warning"):
            self.complaints.append(message.text)

    def ids(self):
        """Of the items in the table, in their order."""
        return self.page.locator(f"{ROWS} th a").all_text_contents()

    def text(self, selector):
        return self.page.locator(selector).first.inner_text()


@pytest.fixture
def look(chromium):
    """Open pages; at the end none may have complained."""
    opened = []

    def open_page(url, **options):
        opened.append(Opened(chromium, str(url), **options))
        return opened[-1]

    yield open_page
    complaints = [one for page in opened for one in page.complaints]
    for one in opened:
        one.context.close()
    assert complaints == []


@pytest.fixture
def url(tmp_path):
    return small_run(tmp_path)


@pytest.fixture
def page_url(url):
    return Path(write_report(url)).as_uri()


def test_the_page_opens_as_a_file_and_asks_nobody(look, page_url):
    shown = look(page_url)
    assert shown.text("h1").startswith("3 of 4 items are done")
    assert shown.ids()[0] == "broken"
    assert len(shown.ids()) == 4
    assert shown.page.locator("#causes code").inner_text().startswith("dfp-batch retry")
    assert all(one.startswith(("file:", "data:")) for one in shown.asked)


@pytest.mark.slow
def test_search_filters_and_order_stand_in_the_address(look, page_url):
    shown = look(page_url)
    page = shown.page
    page.fill("#search", "item")
    assert shown.ids() == ["item 0", "item 1"]
    page.select_option("#choose-sort", "number")
    page.click("#direction")
    page.click("#direction")
    assert shown.ids() == ["item 1", "item 0"]
    page.fill("#search", "S3_A.PNG")
    assert shown.ids() == ["broken"], "messages are searched, too"
    page.fill("#search", "")
    page.select_option("#choose-status", "ok")
    assert len(shown.ids()) == 3
    page.reload()
    assert page.input_value("#choose-status") == "ok"
    assert "status=ok" in page.url
    page.select_option("#choose-status", "pending")
    assert "No item is like that" in shown.text("#table")


@pytest.mark.slow
def test_an_item_shows_its_stack_registration_maps_and_command(look, page_url):
    shown = look(page_url)
    page = shown.page
    page.click("text='item 0'")
    page.wait_for_selector(".divider:not([hidden])")
    assert page.input_value("#under") == "frame-0"
    page.keyboard.press("ArrowDown")
    assert page.input_value("#under") == "frame-1"
    assert page.get_attribute("#frame", "aria-valuetext") == "Frame 2"
    page.check("#arrows")
    assert page.locator(".arrows line").count() > 20
    assert "longest 2.2 px" in shown.text("#arrows-text")
    page.select_option("#map", "decision")
    assert shown.text("#legend").split("\n")[0] == "frame 1"
    panels = shown.text("#panels")
    for told in (
        "2.2 px, 0.00°",
        "Loss 2 → 1 in 10 iterations",
        "prepare 1.00 s",
        "--pair 'item 0'",
    ):
        assert told in panels
    label = page.get_attribute("#panels svg:has(.curve)", "aria-label")
    assert label == "Loss from 2 to 1 in 10 iterations"
    page.keyboard.press("Escape")
    assert page.locator("#item[open]").count() == 0


@pytest.mark.slow
def test_the_slider_between_two_pictures_moves_by_key_and_pointer(look, page_url):
    page = look(f"{page_url}#item=item+0").page
    divider = page.locator(".divider")
    divider.focus()
    page.keyboard.press("ArrowRight")
    assert divider.get_attribute("aria-valuenow") == "52"
    page.keyboard.press("Home")
    assert divider.get_attribute("aria-valuenow") == "0"
    page.keyboard.press("End")
    box, view = divider.bounding_box(), page.locator("#view").bounding_box()
    page.mouse.move(box["x"] + 10, box["y"] + 20)
    page.mouse.down()
    page.mouse.move(view["x"] + view["width"] / 4, view["y"] + 40)
    page.mouse.up()
    assert divider.get_attribute("aria-valuenow") == "25"


@pytest.mark.slow
def test_the_full_result_lies_beside_the_page_and_the_small_one_in_it(look, page_url, tmp_path):
    shown = look(f"{page_url}#item=item+0")
    shown.page.wait_for_selector(".divider:not([hidden])")
    assert any(one.endswith("/outputs/item%200/fused.png") for one in shown.asked)
    alone = tmp_path / "elsewhere.html"
    shutil.copy(tmp_path / "run/report.html", alone)
    shown = look(f"{alone.as_uri()}#item=item+0")
    shown.page.wait_for_selector(".divider:not([hidden])")
    assert shown.complaints.pop() == "Failed to load resource: net::ERR_FILE_NOT_FOUND"


@pytest.mark.slow
def test_marks_of_a_file_are_saved_as_one_that_retry_takes(look, page_url, url):
    shown = look(page_url)
    page = shown.page
    page.click("text='item 0'")
    page.keyboard.press("r")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("a")
    assert page.locator("#verdict button[aria-pressed=true]").inner_text().startswith("Accept")
    page.keyboard.press("Escape")
    assert "1 accepted, 1 rejected" in shown.text("#marked")
    page.select_option("#choose-mark", "rejected")
    assert shown.ids() == ["item 0"]
    with page.expect_download() as saved:
        page.click("text=Save marks.json")
    storage.write_bytes(f"{url}/marks.json", Path(saved.value.path()).read_bytes())
    assert rejected_pairs(url) == ("item 0",)


@pytest.mark.slow
def test_a_server_shows_full_pictures_and_keeps_marks_in_the_run(look, url):
    with served(url) as place:
        shown = look(place)
        page = shown.page
        page.locator(ROWS).nth(1).focus()
        item = shown.ids()[1]
        with page.expect_response("**/marks"):
            page.keyboard.press("r")
        assert rejected_pairs(url) == (item,)
        with page.expect_response("**/tiles/result/**") as tile:
            page.keyboard.press("Enter")
        assert tile.value.ok
        page.reload()
        assert page.locator("#verdict button[aria-pressed=true]").inner_text().startswith("Reject")
        shown.context.close()


@pytest.mark.slow
def test_names_with_markup_are_text(look, page_url):
    shown = look(page_url)
    assert NASTY[9:] in shown.ids()
    shown.page.click("text='" + NASTY[9:] + "'")
    shown.page.wait_for_selector(".divider:not([hidden])")
    assert shown.text("#item-title") == NASTY[9:]
    assert shown.page.locator("img[src=x]").count() == 0


@pytest.mark.slow
def test_previews_that_are_gone_are_said_to_be(look, url):
    page_path = Path(write_report(url))
    text = page_path.read_text()
    start = text.index('"details":')
    end = text.index('"mode":')
    page_path.write_text(text[:start] + '"details":{},' + text[end:])  # as of a large run
    storage.delete(f"{url}/outputs/item 0/preview.jpg")
    shown = look(page_path.as_uri())
    shown.page.locator(".none", has_text="no preview").wait_for()
    shown.page.click("text='item 1'")
    assert "dfp-batch serve" in shown.text("#panels")
    shown.complaints.remove("Failed to load resource: net::ERR_FILE_NOT_FOUND")


FIGURES = ("mg", "floor_mg", "psnr_db", "ei", "mga", "t_prepare_s", "ssim", "blind_gain_db")


def large_page(folder, count, failed):
    """A page of so many items, the first of them failed."""
    ids = [f"item-{number:06d}" for number in range(count)]
    bad = [number < failed for number in range(count)]
    columns = {name: pa.nulls(count, SCHEMA.field(name).type) for name in SCHEMA.names}
    columns |= {"run_id": ["r"] * count, "epoch": [1] * count, "attempt": [1] * count}
    columns |= {"pair_id": ids, "status": ["error" if one else "ok" for one in bad]}
    columns["category"] = ["input" if one else None for one in bad]
    text = "no image " * 60
    columns["error_message"] = [f"{pair_id}: {text}" for pair_id in ids[:failed]] + [None] * (
        count - failed
    )
    columns["started_at"] = columns["finished_at"] = [
        datetime.fromtimestamp(START + number, UTC) for number in range(count)
    ]
    rng = np.random.default_rng(0)
    columns |= {name: rng.normal(10, 1, count) for name in FIGURES}
    command = "dfp-batch retry RUN --category input"
    cause = Cause("input", False, failed, "no image", tuple(ids[:5]), "then", command)
    now = datetime.fromtimestamp(START + count, UTC)
    facts = RunFacts("/runs/night", pa.array(ids), "fast", 2, None, 0, (cause,), now)
    path = folder / "large.html"
    path.write_text(render(Content(summary(pa.table(columns).cast(SCHEMA), facts), {})))
    return path


@pytest.mark.slow
def test_ten_thousand_items_are_paged_searched_and_sorted(look, tmp_path):
    path = large_page(tmp_path, 10_000, failed=300)
    shown = look(path.as_uri())
    page = shown.page
    assert len(shown.ids()) == 50
    whole_ms = page.evaluate("performance.now()")
    paints_ms = page.evaluate("performance.getEntriesByType('paint').map(one => one.startTime)")
    size = path.stat().st_size / 1e6
    print(f"painted after {min(paints_ms):.0f} ms, whole after {whole_ms:.0f} ms, {size:.1f} MB")  # noqa: T201
    page.click("[aria-label='Last page']")
    assert "Page 200 of 200" in shown.text("#pages")
    page.fill("#search", "item-009999")
    assert shown.ids() == ["item-009999"]
    shown.complaints.clear()  # previews are not there


@pytest.mark.slow
def test_a_hundred_thousand_failures_open(look, tmp_path):
    shown = look(large_page(tmp_path, 100_000, failed=100_000).as_uri())
    assert shown.text("h1").startswith("0 of 100,000 items are done")
    assert "20,000 of 100,000 items are listed" in shown.text(".notes")
    assert len(shown.ids()) == 50


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("viewport", [DESK, PHONE], ids=["desk", "phone"])
@pytest.mark.parametrize("state", ["", "#item=item+0"], ids=["page", "item"])
def test_axe_finds_nothing_serious(look, page_url, scheme, viewport, state):
    from axe_playwright_python.sync_playwright import Axe  # noqa: PLC0415 - beside Playwright

    shown = look(page_url + state, color_scheme=scheme, viewport=viewport, bypass_csp=True)
    if state:
        shown.page.wait_for_selector(".divider:not([hidden])")
    found = Axe().run(shown.page).response["violations"]
    serious = [
        (one["id"], node["target"], node.get("failureSummary"))
        for one in found
        if one["impact"] in ("serious", "critical")
        for node in one["nodes"]
    ]
    assert json.dumps(serious, indent=1) == "[]"


SHIFTS = """() => new Promise((done) => {
  const told = (list) => done(list.getEntries().reduce((all, one) => all + one.value, 0));
  new PerformanceObserver(told).observe({ type: "layout-shift", buffered: true });
  requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(() => done(0), 100)));
})"""


@pytest.mark.slow
def test_nothing_jumps_while_it_loads(look, page_url):
    shown = look(page_url)
    assert shown.page.evaluate(SHIFTS) < 0.1
