"""What the server answers, to whom, and what it refuses."""

import asyncio
import json
import re

import cv2
import numpy as np
import pytest
from aiohttp.test_utils import TestClient, TestServer

from dfp_batch.errors import ConfigError
from dfp_batch.io import storage
from dfp_batch.report.server import is_loopback, make_app, serve
from report_parts import small_run


@pytest.fixture
def url(tmp_path):
    return small_run(tmp_path)


def asked(url, *requests):
    """Answers (status, type, body) to requests: a path, or arguments of ``request``."""

    async def ask():
        async with TestClient(TestServer(make_app(url))) as client:
            found = []
            for one in requests:
                method, path, more = one if isinstance(one, tuple) else ("GET", one, {})
                if callable(more):
                    more = more(found)
                async with client.request(method, path, **more) as answer:
                    found.append((answer.status, answer.content_type, await answer.read()))
            return found

    return asyncio.run(ask())


def token_of(found):
    return re.search(rb'"token":"([\w-]+)"', found[0][2])[1].decode()


def marks(content, token=None, **headers):
    """A request that marks, with the token of the page that was asked for before."""

    def more(found):
        own = {"X-Dfp-Token": token or token_of(found), "Content-Type": "application/json"}
        return {"data": json.dumps(content), "headers": own | headers}

    return "POST", "/marks", more


def test_the_page_has_no_pictures_in_it_and_may_ask_its_server(url):
    ((status, kind, body),) = asked(url, "/")
    assert (status, kind) == (200, "text/html")
    assert b'"details":{}' in body
    assert b"connect-src &#x27;self&#x27;" in body or b"connect-src 'self'" in body


def test_pictures_come_as_tiles_and_files(url):
    paths = ("/items/0", "/items/0/preview.jpg", "/items/0/result", "/items/3/small/frame-0",
             "/items/0/tiles/result/6/0_0", "/items/0/tiles/decision/5/0_0")  # fmt: skip
    answers = asked(url, *paths)
    assert [status for status, _, _ in answers] == [200] * len(paths)
    tiles = json.loads(answers[0][2])["pictures"][0]["tiles"]
    assert tiles == {"height": 48, "width": 64, "tile": 512, "url": "items/0/tiles/result"}
    assert answers[1][2] == storage.read_bytes(f"{url}/outputs/item 0/preview.jpg")
    assert answers[2][2] == storage.read_bytes(f"{url}/outputs/item 0/fused.png")
    kinds = [kind for _, kind, _ in answers]
    assert kinds[1:] == [
        "image/jpeg",
        "application/octet-stream",
        "image/webp",
        "image/jpeg",
        "image/png",
    ]
    shapes = [cv2.imdecode(np.frombuffer(body, np.uint8), 1).shape for _, _, body in answers[3:]]
    assert shapes == [(24, 32, 3), (48, 64, 3), (24, 32, 3)]


@pytest.mark.parametrize(
    "path",
    ["/run.json", "/items/99", "/items/-1", "/items/0/run.json", "/items/0/../../run.json",
     "/items/0/small/..%2f..%2frun", "/items/0/tiles/result/6/9_0", "/items/0/small/valid",
     "/outputs/item 0/fused.png", "/%2e%2e/run.json", "/%2fetc%2fpasswd"],
)  # fmt: skip
def test_there_is_nothing_else(url, path):
    ((status, _, body),) = asked(url, path)
    assert status == 404
    assert b"run_id" not in body


def test_what_cannot_be_shown_is_one_line(url, tmp_path):
    storage.write_bytes(f"{url}/outputs/item 0/fused.png", b"half")
    storage.delete(f"{url}/outputs/item 1/preview.jpg")
    damaged, missing = asked(url, "/items/0/small/result", "/items/1/preview.jpg")
    assert (damaged[0], missing[0]) == (502, 404)
    assert b"fused.png" in damaged[2]
    assert b"\n" not in damaged[2] + missing[2]


def test_marks_are_kept_in_the_run(url):
    answers = asked(url, "/", marks({"marks": {"item 0": "rejected", "item 1": "accepted"}}),
                    marks({"marks": {"item 1": None}}), "/")  # fmt: skip
    assert [json.loads(body) for _, _, body in answers[1:3]] == [{"marks": 2}, {"marks": 1}]
    assert b'"marks":{"item 0":"rejected"}' in answers[3][2]
    kept = json.loads(storage.read_bytes(f"{url}/marks.json"))["marks"]
    assert kept == {"item 0": {"mark": "rejected", "epoch": 1, "attempt": 1}}


@pytest.mark.parametrize(
    ("request_", "status", "text"),
    [
        (marks({"marks": {"item 0": "rejected"}}, token="x"), 403, b"load it again"),
        (marks({"marks": {"item 0": "bad"}}), 400, b"must be accepted or rejected"),
        (marks({"marks": {"../x": "rejected"}}), 400, b"has no result of"),
        (marks({"others": 1}), 400, b'expected {"marks"'),
        (marks([]), 400, b'expected {"marks"'),
        (("PUT", "/marks", {}), 405, b""),
        (("GET", "/", {"headers": {"Host": "elsewhere.example"}}), 403, b"localhost only"),
    ],
)
def test_what_is_refused_changes_nothing(url, request_, status, text):
    *_, answer = asked(url, "/", request_)
    assert answer[0] == status
    assert text in answer[2]
    assert not storage.exists(f"{url}/marks.json")


def test_the_page_is_of_the_run_as_it_is_now(url):
    before, _, after = asked(url, "/", marks({"marks": {"item 0": "accepted"}}), "/")
    assert b'"marks":{}' in before[2]
    assert b'"item 0":"accepted"' in after[2]


def test_who_is_loopback():
    assert all(map(is_loopback, ("localhost", "127.0.0.1", "127.1.2.3", "::1", "[::1]")))
    assert not any(map(is_loopback, ("0.0.0.0", "192.168.1.2", "localhost.evil.example", "::")))


def test_a_place_where_nobody_can_listen_is_refused(url):
    with pytest.raises(ConfigError, match=r"cannot listen at 192\.0\.2\.1:80 .*another --port"):
        serve(url, "192.0.2.1", 80, lambda page: None)
