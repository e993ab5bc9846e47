"""Files that are read in any order."""

import os
import uuid
from http.server import BaseHTTPRequestHandler
from unittest.mock import Mock

import pytest
from fsspec.implementations.memory import MemoryFile

from dfp_batch.errors import ObjectMissingError, StorageError
from dfp_batch.io.seekable import open_seekable
from dfp_batch.io.storage import store_of, write_bytes
from dfp_batch.io.urls import join
from store_parts import DENIED, FAULTS, serving, text_of


def counted(size) -> bytes:
    """Bytes of which no range looks like another."""
    return b"".join(number.to_bytes(4, "big") for number in range(size // 4))


def test_a_file_is_read_in_any_order(folder):
    data = counted(2_000_000)
    write_bytes(join(folder, "a b#1%20é.tif"), data)
    with open_seekable(join(folder, "a b#1%20é.tif")) as file:
        assert file.seek(-8, os.SEEK_END) == len(data) - 8
        assert file.read() == data[-8:]
        assert file.read(1) == b""
        file.seek(1_000_001)
        assert file.read(600_000) == data[1_000_001:1_600_001]
        assert file.tell() == 1_600_001
        file.seek(-600_000, os.SEEK_CUR)
        assert file.read(4) == data[1_000_001:1_000_005]
        file.seek(0)
        assert file.read() == data
    assert file.closed


def test_places_that_no_file_has_are_no_failure_of_the_store(folder):
    write_bytes(join(folder, "a"), b"0123456789")
    with open_seekable(join(folder, "a")) as file:
        file.seek(2**62)
        assert file.read(4) == b""
        with pytest.raises(ValueError, match="negative seek"):
            file.seek(-11, os.SEEK_END)
        file.seek(8)
        assert file.read(4) == b"89"


def test_of_a_known_size_nothing_else_is_asked(folder, monkeypatch):
    write_bytes(join(folder, "a"), b"0123456789")
    fs, _ = store_of(join(folder, "a"))
    if not folder.startswith("/"):
        monkeypatch.setattr(type(fs), "info", Mock(side_effect=AssertionError))
    with open_seekable(join(folder, "a"), 10, 4) as file:
        assert file.read(3) == b"012"
        assert file.seek(-2, os.SEEK_END) == 8
        assert (file.read(), file.read(1)) == (b"89", b"")


def test_the_same_bytes_of_an_object_of_a_known_size_are_fetched_once(s3_url, monkeypatch):
    url = f"{s3_url}/{uuid.uuid4().hex}/a"
    write_bytes(url, counted(300_000))
    fs, _ = store_of(url)
    cat_file = Mock(side_effect=fs.cat_file)
    monkeypatch.setattr(fs, "cat_file", cat_file)
    with open_seekable(url, 300_000, 1000) as file:
        for _ in range(3):
            file.seek(0, os.SEEK_END)
            file.seek(0)
            assert file.read(900) == counted(900)
        file.seek(500)
        assert file.read(900) == counted(1400)[500:]
    assert cat_file.call_count == 2


def test_a_file_may_be_open_twice(folder):
    write_bytes(join(folder, "a"), b"abcdef")
    with open_seekable(join(folder, "a")) as one, open_seekable(join(folder, "a")) as other:
        assert (one.read(2), other.read(3), one.read(2)) == (b"ab", b"abc", b"cd")


def test_an_empty_file_is_open_and_empty(folder):
    write_bytes(join(folder, "a"), b"")
    with open_seekable(join(folder, "a")) as file:
        assert file.read() == b""


class _Ranges(BaseHTTPRequestHandler):
    """A store that holds ``data`` under every name, and notes which ranges are asked for."""

    def do_HEAD(self):
        self._answer(200, self.data)

    def do_GET(self):
        start, end = map(int, self.headers["Range"].removeprefix("bytes=").split("-"))
        self.ranges.append((start, end + 1))
        self._answer(206, self.data[start : end + 1])

    def _answer(self, status, body):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("ETag", '"1"')
        self.send_header("Last-Modified", "Thu, 01 Jan 2026 00:00:00 GMT")
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def log_message(self, *arguments):
        pass


def test_only_what_is_read_is_fetched(fresh_s3, s3_url):
    data, ranges = counted(3_000_000), []
    with serving(type("Ranges", (_Ranges,), {"data": data, "ranges": ranges})) as server:
        fresh_s3.setenv("AWS_ENDPOINT_URL", server)
        with open_seekable(f"{s3_url}/a") as file:
            for place in (0, 8, 100_000):
                file.seek(place)
                assert file.read(16) == data[place : place + 16]
            file.seek(1_000_000)
            assert file.read(900_000) == data[1_000_000:1_900_000]
    assert ranges[0] == (0, 262_144)
    assert min(start for start, _ in ranges[1:]) == 1_000_000
    assert max(end for _, end in ranges) <= 1_900_000 + 262_144
    assert len(ranges) <= 3


def test_opening_what_is_not_there(folder):
    url = join(folder, "none.tif")
    with pytest.raises(ObjectMissingError) as error:
        open_seekable(url)
    assert text_of(error) == f"{url}: cannot read: nothing is there"


def test_a_file_that_changes_while_it_is_read_is_worth_another_try(s3_url):
    url = f"{s3_url}/{uuid.uuid4().hex}"
    write_bytes(url, bytes(600_000))
    with open_seekable(url) as file:
        file.read(1)
        write_bytes(url, bytes(700_000))
        file.seek(500_000)
        with pytest.raises(StorageError, match="cannot read: ") as error:
            file.read(1)
    assert error.type is StorageError
    assert text_of(error).startswith(f"{url}: cannot read: ")


@pytest.mark.parametrize(("fault", "expected", "reason"), FAULTS)
def test_each_fault_of_a_later_read_has_its_error(monkeypatch, fault, expected, reason):
    expected = DENIED["read"] if expected is DENIED else expected
    write_bytes("memory://run/a", bytes(600_000))
    with open_seekable("memory://run/a") as file:
        file.read(1)
        file.seek(500_000)
        with monkeypatch.context() as patch, pytest.raises(expected) as error:
            patch.setattr(MemoryFile, "read", Mock(side_effect=fault))
            file.read(1)
        assert error.type is expected
        assert text_of(error) == f"memory://run/a: cannot read: {reason}"
        with pytest.raises(expected):
            file.read(1)
