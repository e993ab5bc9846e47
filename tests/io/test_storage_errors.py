"""What the stores raise becomes one line, and says whom it concerns."""

import sys
import uuid
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import fsspec
import pytest

from conftest import archive_away, deny
from dfp_batch.errors import (
    ConfigError,
    ObjectAccessError,
    ObjectMissingError,
    StorageAccessError,
    StorageError,
)
from dfp_batch.io.storage import exists, list_files, read_bytes, write_bytes
from store_parts import DENIED, FAULTS, READERS, WRITERS, serving, text_of, touch


@pytest.mark.parametrize("use", [*READERS, exists, list_files])
def test_a_missing_bucket_is_the_readers_own_matter(s3_url, use):
    with pytest.raises(ObjectAccessError, match=r"s3://no-such-.*: the bucket does not exist$"):
        use("s3://no-such-bucket/deep/a.png")


@pytest.mark.parametrize("use", WRITERS)
def test_a_missing_bucket_is_no_place_to_write_to(s3_url, use):
    with pytest.raises(StorageAccessError, match=r"cannot write: the bucket does not exist$"):
        use("s3://no-such-bucket/deep/a.png")


@pytest.fixture
def denied(s3_url):
    """URL of an object that nobody may read or replace."""
    url = f"{s3_url}/{uuid.uuid4().hex}/a.png"
    write_bytes(url, b"pixels")
    write_bytes(url.replace("a.png", "b.png"), b"pixels")
    deny(url)
    return url


@pytest.mark.parametrize("use", [*READERS, exists])
def test_a_denied_object_is_the_readers_own_matter(denied, use):
    with pytest.raises(ObjectAccessError) as error:
        use(denied)
    assert text_of(error) == f"{denied}: cannot read: 403, no permission"
    use(denied.replace("a.png", "b.png"))


@pytest.mark.parametrize("use", WRITERS)
def test_a_denied_write_concerns_everybody(denied, use):
    with pytest.raises(StorageAccessError) as error:
        use(denied)
    assert text_of(error) == f"{denied}: cannot write: 403, no permission"


@pytest.mark.parametrize("use", [read_bytes, touch])
def test_an_archived_object_is_the_readers_own_matter(s3_url, use):
    url = f"{s3_url}/{uuid.uuid4().hex}"
    write_bytes(url, b"pixels")
    archive_away(url)
    with pytest.raises(ObjectAccessError) as error:
        use(url)
    assert text_of(error) == f"{url}: cannot read: archived (restore it first)"


@pytest.mark.parametrize("use", READERS)
def test_a_bucket_is_no_file(s3_url, use):
    with pytest.raises(
        ObjectMissingError, match=f"^{s3_url}: cannot read: is a bucket, not a file"
    ):
        use(s3_url)
    with pytest.raises(StorageAccessError, match="cannot write: is a bucket, not a file"):
        write_bytes(s3_url, b"1")


@pytest.mark.parametrize("use", READERS)
def test_local_paths_that_cannot_be_read_are_the_readers_own_matter(tmp_path, use):
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "dangling").symlink_to("none")
    (tmp_path / "file").write_bytes(b"")
    for name, expected, reason in [
        ("loop", ObjectAccessError, "Too many levels of symbolic links"),
        ("x" * 300, ObjectAccessError, "File name too long"),
        ("dangling", ObjectMissingError, "nothing is there"),
        ("file/a.png", ObjectMissingError, "a file stands where a folder is expected"),
        (".", ObjectMissingError, "Is a directory"),
    ]:
        with pytest.raises(expected) as error:
            use(f"{tmp_path}/{name}")
        assert error.type is expected
        assert error.value.category == "input"
        assert text_of(error) == f"{tmp_path}/{name}: cannot read: {reason}"


@pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="needs Linux")
def test_a_disk_that_fails_is_worth_another_try():
    with pytest.raises(StorageError, match=r"^/proc/self/mem: cannot read: ") as error:
        touch("/proc/self/mem")
    assert error.type is StorageError


class _Answer(BaseHTTPRequestHandler):
    """A store that refuses every request with ``status`` and ``code``, as S3 does."""

    status, code = 400, "ExpiredToken"

    def do_GET(self):
        body = f"<Error><Code>{self.code}</Code><Message>Renew it.</Message></Error>".encode()
        self.send_response(self.status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":  # which has no body, and cannot say why
            self.wfile.write(body)

    do_HEAD = do_PUT = do_GET  # noqa: N815

    def log_message(self, *arguments):
        pass


@pytest.fixture
def refusing_s3(fresh_s3, s3_url):
    """A store that answers as the test sets it, in place of the usual one."""
    answer = type("Answer", (_Answer,), {})
    with serving(answer) as server:
        fresh_s3.setenv("AWS_ENDPOINT_URL", server)
        yield answer


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (400, "ExpiredToken"),
        (400, "InvalidToken"),
        (403, "InvalidAccessKeyId"),
        (403, "SignatureDoesNotMatch"),
        (403, "RequestTimeTooSkewed"),
    ],
)
def test_credentials_that_do_not_count_concern_everybody(refusing_s3, s3_url, status, code):
    refusing_s3.status, refusing_s3.code = status, code
    for use in (*READERS, exists, list_files, WRITERS[0]):
        with pytest.raises(StorageAccessError, match=f"^{s3_url}/a.png: cannot .*: Renew it.$"):
            use(f"{s3_url}/a.png")


@pytest.mark.parametrize(
    ("status", "code", "reason"),
    [
        (403, "AccessDenied", "403, no permission"),
        (403, "AllAccessDisabled", "403, no permission"),
        (403, "SomethingNew", "403, no permission"),
        (400, "AuthorizationHeaderMalformed", "Renew it."),
        (400, "KeyTooLongError", "Renew it."),
        (405, "MethodNotAllowed", "this version is a mark of deletion"),
    ],
)
def test_what_is_wrong_with_one_object_does_not(refusing_s3, s3_url, status, code, reason):
    refusing_s3.status, refusing_s3.code = status, code
    for use in READERS:
        with pytest.raises(ObjectAccessError) as error:
            use(f"{s3_url}/a.png")
        assert text_of(error) == f"{s3_url}/a.png: cannot read: {reason}"


def test_missing_credentials_are_no_access(fresh_s3, s3_url, tmp_path):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        fresh_s3.delenv(name)
    fresh_s3.setenv("AWS_EC2_METADATA_DISABLED", "true")
    fresh_s3.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    fresh_s3.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    with pytest.raises(StorageAccessError) as error:
        read_bytes(f"{s3_url}/a.png")
    assert text_of(error) == (
        f"{s3_url}/a.png: cannot read: Unable to locate credentials; --anonymous reads a public "
        "bucket without"
    )


def test_a_store_that_does_not_answer_is_worth_another_try(fresh_s3, s3_url):
    fresh_s3.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(StorageError, match="cannot read: Could not connect") as error:
        read_bytes(f"{s3_url}/a.png")
    assert error.type is StorageError


@pytest.mark.parametrize(("fault", "expected", "reason"), FAULTS)
def test_each_fault_has_its_error(monkeypatch, fault, expected, reason):
    def fail(self, path, data, mode="overwrite"):
        raise fault

    monkeypatch.setattr(fsspec.get_filesystem_class("memory"), "pipe_file", fail)
    expected = DENIED["write"] if expected is DENIED else expected
    with pytest.raises(expected) as error:
        write_bytes("memory://run/a", b"1")
    assert error.type is expected
    assert text_of(error) == f"memory://run/a: cannot write: {reason}"
    assert error.value.__cause__ is fault


def test_a_bug_is_not_a_storage_error(monkeypatch):
    monkeypatch.setattr(fsspec.get_filesystem_class("memory"), "cat_file", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        read_bytes("memory://run/a")


@pytest.mark.parametrize(("protocol", "driver"), [("gs", "gcsfs"), ("abfs", "adlfs")])
def test_a_missing_driver_says_what_to_install(monkeypatch, protocol, driver):
    monkeypatch.setitem(sys.modules, driver, None)
    with pytest.raises(ConfigError) as error:
        read_bytes(f"{protocol}://lot/a.png")
    assert text_of(error) == (
        f"{protocol}://lot/a.png: {protocol}:// needs the package {driver}; pip install {driver}"
    )
