import hashlib
import sys
import uuid
from dataclasses import replace
from io import BytesIO

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dfp_batch.errors import ManifestError, StorageAccessError
from dfp_batch.manifest import (
    Pair,
    build_manifest,
    folder_name,
    manifest_sha256,
    parquet_source,
    read_manifest,
    write_manifest,
)
from dfp_batch.storage import join, read_bytes, write_bytes

URL = "memory://lot/manifest.parquet"


def put(url=URL, **columns) -> str:
    buffer = BytesIO()
    pq.write_table(pa.table(columns), buffer)
    write_bytes(url, buffer.getvalue())
    return url


def refusal(url=URL) -> str:
    with pytest.raises(ManifestError) as caught:
        read_manifest(url)
    text = str(caught.value)
    assert "\n" not in text
    assert text.startswith(f"{url}: ")
    return text.removeprefix(f"{url}: ")


def at(*names: str) -> tuple[str, ...]:
    return tuple(f"memory://lot/{name}" for name in names)


def test_a_full_row():
    put(
        pair_id=["c-0043"],
        sources=[["img/a.png", "s3://other/b.png", "/x/c.png"]],
        reference=["truth.png"],
        reference_sources=[["img/ra.png", "img/rb.png"]],
        masks=[["m/a.png", "m/b.png", "m/c.png"]],
        photographer=["ignored"],
    )
    assert read_manifest(URL) == [
        Pair(
            "c-0043",
            ("memory://lot/img/a.png", "s3://other/b.png", "/x/c.png"),
            "memory://lot/truth.png",
            at("img/ra.png", "img/rb.png"),
            at("m/a.png", "m/b.png", "m/c.png"),
        )
    ]


def test_rows_keep_their_order_and_may_lack_references():
    put(pair_id=["b", "a"], sources=[["1", "2"], ["3", "4"]], reference=[None, "5"])
    assert read_manifest(URL) == [Pair("b", at("1", "2")), Pair("a", at("3", "4"), at("5")[0])]


def test_local_urls_start_at_the_manifest(tmp_path, monkeypatch):
    put(str(tmp_path / "lot" / "m.parquet"), pair_id=["p"], sources=[["a.png", "../b.png"]])
    monkeypatch.chdir(tmp_path)
    [pair] = read_manifest("lot/m.parquet")
    assert pair.sources == (str(tmp_path / "lot" / "a.png"), str(tmp_path / "b.png"))


def test_the_short_form_with_ids():
    put(pair_id=["p"], foreground=["a"], background=["b"])
    assert read_manifest(URL) == [Pair("p", at("a", "b"))]


@pytest.mark.parametrize(
    ("foreground", "pair_id"),
    [
        ("img/lytro_09_A.jpg", "lytro_09"),
        ("img/lytro-09-a.tar.png", "lytro-09-a.tar"),
        ("s3://x/shot-a.png", "shot"),
        ("plain.png", "plain"),
        ("_A.png", "_A"),
        ("extra_B.png", "extra_B"),
    ],
)
def test_the_short_form_takes_ids_from_the_foreground(foreground, pair_id):
    put(foreground=[foreground], background=["b"])
    assert read_manifest(URL)[0].pair_id == pair_id


def test_ids_taken_from_the_foreground_must_differ_too():
    put(foreground=["1/x_A.png", "2/x_A.png"], background=["1/x_B.png", "2/x_B.png"])
    assert refusal() == (
        "manifest row 1 (pair_id 'x'): the same pair_id as row 0; each pair needs its own"
    )


LISTS = pa.list_(pa.string())
TYPES = [
    (pa.large_string(), pa.large_list(pa.large_string())),
    (pa.string_view(), pa.list_(pa.string_view())),
    (pa.dictionary(pa.int32(), pa.string()), pa.list_(pa.string(), 2)),
    (pa.string(), pa.list_(pa.dictionary(pa.int8(), pa.string()))),
]


@pytest.mark.parametrize(("text", "texts"), TYPES)
def test_every_arrow_type_of_strings_is_read(text, texts):
    ids = pa.array(["p", "q"]).cast(text)
    sources = pa.array([["a", "b"], ["c", "d"]], LISTS if pa.types.is_dictionary(text) else texts)
    put(pair_id=ids, sources=sources, reference=pa.nulls(2))
    assert read_manifest(URL) == [Pair("p", at("a", "b")), Pair("q", at("c", "d"))]


GOOD = {
    "pair_id": "p",
    "sources": ["a", "b"],
    "reference": None,
    "reference_sources": None,
    "masks": None,
}
ROWS = {
    "one source": ({"sources": ["a"]}, "sources holds 1 URL, at least 2 are needed"),
    "no source": ({"sources": []}, "sources holds 0 URLs, at least 2 are needed"),
    "null list": ({"sources": None}, "sources is null, expected a list of URLs"),
    "null url": ({"sources": ["a", None]}, "sources[1]: URL is null"),
    "empty url": (
        {"sources": ["a", ""]},
        "sources[1]: URL is empty, expected a path or a URL",
    ),
    "same url": (
        {"sources": ["a", "b", "./a"]},
        "sources holds memory://lot/a more than once",
    ),
    "protocol": (
        {"sources": ["a", "https://host/b"]},
        "sources[1]: https://host/b: protocol must be one of file, s3, gs, gcs, az, abfs, memory, "
        "got 'https'",
    ),
    "credentials": (
        {"sources": ["a", "s3://key:word@box/b"]},
        "sources[1]: s3://***@box/b: URLs must not hold credentials; set them in the environment",
    ),
    "reference": ({"reference": ""}, "reference: URL is empty, expected a path or a URL"),
    "references": (
        {"reference_sources": ["a"]},
        "reference_sources must be exactly 2 URLs, got 1",
    ),
    "masks": (
        {"sources": ["a", "b", "c"], "masks": ["d", "e"]},
        "masks must be 3 URLs, one for each source, got 2",
    ),
    "null mask": ({"masks": ["c", None]}, "masks[1]: URL is null"),
    "masks without sources": (
        {"sources": None, "masks": ["c"]},
        "sources is null, expected a list of URLs",
    ),
    "empty id": ({"pair_id": ""}, "pair_id must be usable as a folder name, got ''"),
    "null id": ({"pair_id": None}, "pair_id is null"),
    "dot": ({"pair_id": "."}, "pair_id must be usable as a folder name, got '.'"),
    "parent": ({"pair_id": ".."}, "pair_id must be usable as a folder name, got '..'"),
    "control": ({"pair_id": "a\nb"}, "pair_id must not hold control characters"),
    "long": ({"pair_id": "x" * 201}, "pair_id must be at most 200 bytes percent-encoded, is 201"),
    "quoted": ({"pair_id": "é" * 40}, "pair_id must be at most 200 bytes percent-encoded, is 240"),
}


@pytest.mark.parametrize("case", ROWS)
def test_a_bad_row_is_refused_by_number_and_name(case):
    change, message = ROWS[case]
    rows = [{**GOOD, "pair_id": "first"}, {**GOOD, **change}]
    columns = {name: [row[name] for row in rows] for name in GOOD}
    put(**columns)
    assert refusal() == f"manifest row 1 (pair_id {rows[1]['pair_id']!r}): {message}"


def test_all_problems_are_reported_at_once():
    put(pair_id=["p", "q", "p"], sources=[["a"], ["a", "b"], ["c", "c"]])
    assert refusal() == (
        "manifest row 0 (pair_id 'p'): sources holds 1 URL, at least 2 are needed; "
        "manifest row 2 (pair_id 'p'): sources holds memory://lot/c more than once; "
        "manifest row 2 (pair_id 'p'): the same pair_id as row 0; each pair needs its own"
    )


def test_only_the_first_ten_problems_are_spelled_out():
    put(pair_id=[f"p{row}" for row in range(17)], sources=[["a"]] * 17)
    text = refusal()
    assert text.count("manifest row") == 10
    assert text.endswith("at least 2 are needed; and 7 more")


def test_ten_problems_are_all_spelled_out():
    put(pair_id=[f"p{row}" for row in range(10)], sources=[["a"]] * 10)
    assert refusal().endswith(
        "manifest row 9 (pair_id 'p9'): sources holds 1 URL, at least 2 are needed"
    )


COLUMNS = {
    "missing": (
        {"id": ["p"], "foreground": ["a"]},
        "columns must be pair_id and sources, or foreground and background; found id, foreground",
    ),
    "no id beside sources": (
        {"sources": [["a", "b"]], "foreground": ["a"], "background": ["b"]},
        "columns must be pair_id and sources, or foreground and background; "
        "found sources, foreground, background",
    ),
    "wrong types": (
        {"pair_id": [1], "sources": ["a"]},
        "column 'pair_id' must be string, found int64; "
        "column 'sources' must be list<string>, found string",
    ),
    "list of numbers": (
        {"pair_id": ["p"], "sources": [[1, 2]]},
        "column 'sources' must be list<string>, found list<element: int64>",
    ),
    "no row": (
        {"pair_id": pa.array([], pa.string()), "sources": pa.array([], LISTS)},
        "holds 0 rows, expected at least one pair; `dfp-batch manifest DIR` builds one",
    ),
}


@pytest.mark.parametrize("case", COLUMNS)
def test_bad_columns_are_refused(case):
    columns, message = COLUMNS[case]
    put(**columns)
    assert refusal() == message


def test_a_file_that_is_not_parquet_is_refused():
    write_bytes(URL, b"pair_id,foreground,background\n")
    text = refusal()
    assert text.startswith("is not a whole Parquet file (")
    assert text.endswith("; `dfp-batch manifest DIR` builds one")


@pytest.mark.parametrize("kept", [0, 10, -1])
def test_a_truncated_manifest_is_refused(kept):
    put(pair_id=["p"], sources=[["a", "b"]])
    write_bytes(URL, read_bytes(URL)[:kept])
    assert refusal().startswith("is not a whole Parquet file (")


def test_a_missing_manifest_is_refused():
    assert refusal("memory://none/m.parquet") == (
        "cannot read: nothing is there; expected a Parquet manifest, "
        "`dfp-batch manifest DIR` builds one"
    )


def test_arrow_reads_from_memory_of_its_own():
    data = b"PAR1" * 100
    held = sys.getrefcount(data)
    source = parquet_source(data)
    assert sys.getrefcount(data) == held
    assert source.read() == data


def test_text_that_is_not_utf8_is_refused():
    broken = pa.Array.from_buffers(
        pa.string(), 1, [None, pa.py_buffer(b"\0\0\0\0\2\0\0\0"), pa.py_buffer(b"\xff\xfe")]
    )
    put(pair_id=broken, sources=[["a", "b"]])
    assert refusal().startswith("is not a whole Parquet file (")


PAIRS = [
    Pair("b", at("1", "2")),
    Pair("a", at("3", "4", "5"), "memory://lot/6", at("7", "8")),
]
MASKED = [PAIRS[0], replace(PAIRS[1], masks=at("m3", "m4", "m5"))]


@pytest.mark.parametrize("pairs", [PAIRS, MASKED])
def test_what_was_written_is_read(pairs):
    write_manifest(URL, pairs)
    assert read_manifest(URL) == pairs


def test_the_written_schema_does_not_depend_on_the_rows():
    write_manifest(URL, PAIRS[:1])
    schema = pq.read_schema(BytesIO(read_bytes(URL)))
    assert schema.names == ["pair_id", "sources", "reference", "reference_sources", "masks"]
    assert schema.field("reference").type == pa.string()
    assert pa.types.is_list(schema.field("reference_sources").type)


def test_the_hash_is_that_of_the_content():
    write_manifest(URL, PAIRS)
    assert manifest_sha256(PAIRS) == manifest_sha256(read_manifest(URL))
    assert manifest_sha256(PAIRS) == manifest_sha256(reversed(PAIRS))
    rows = (
        b'["a", ["memory://lot/3", "memory://lot/4", "memory://lot/5"], "memory://lot/6", '
        b'["memory://lot/7", "memory://lot/8"]]\n'
        b'["b", ["memory://lot/1", "memory://lot/2"], null, null]\n'
    )
    assert manifest_sha256(PAIRS) == hashlib.sha256(rows).hexdigest()


@pytest.mark.parametrize(
    "change",
    [
        {"pair_id": "c"},
        {"sources": at("2", "1")},
        {"reference": "/x"},
        {"reference_sources": at("7", "8")},
        {"masks": at("7", "8")},
    ],
)
def test_the_hash_sees_every_field(change):
    changed = [replace(PAIRS[0], **change), PAIRS[1]]
    assert manifest_sha256(changed) != manifest_sha256(PAIRS)


@pytest.mark.parametrize(
    ("pair_id", "expected"),
    [
        ("lot 7, c-0043_A.x+y@z=1", "lot 7, c-0043_A.x+y@z=1"),
        ("a/b", "a%2Fb"),
        ("a%2Fb", "a%252Fb"),
        ("é:?*", "%C3%A9%3A%3F%2A"),
    ],
)
def test_folder_name(pair_id, expected):
    assert folder_name(pair_id) == expected


@given(st.text(), st.text())
def test_two_ids_never_share_a_folder(one, other):
    assert (folder_name(one) == folder_name(other)) == (one == other)
    assert "/" not in folder_name(one)


@pytest.fixture(params=["file", "memory", "s3"])
def folder(request, tmp_path):
    if request.param == "file":
        return str(tmp_path)
    name = uuid.uuid4().hex
    if request.param == "memory":
        return f"memory://{name}"
    return f"{request.getfixturevalue('s3_url')}/{name}"


def fill(folder, *names):
    for name in names:
        write_bytes(join(folder, name), b"1")


def urls(folder, *names):
    return tuple(join(folder, name) for name in names)


def test_pairs_and_stacks_of_a_folder(folder):
    fill(folder, "x10_A.jpg", "x10_B.jpg", "x2_a.PNG", "x2_b.tif", "x2_C.webp")
    fill(folder, "x3/10.png", "x3/2.png", "x3/1.png", "x3/notes.txt", "x3/.hidden.png")
    fill(folder, "notes.txt", ".DS_Store", ".cache/1.png", "manifest.parquet")
    pairs, left_out = build_manifest(folder)
    assert left_out == []
    assert pairs == [
        Pair("x2", urls(folder, "x2_a.PNG", "x2_b.tif", "x2_C.webp")),
        Pair("x3", urls(folder, "x3/1.png", "x3/2.png", "x3/10.png")),
        Pair("x10", urls(folder, "x10_A.jpg", "x10_B.jpg")),
    ]
    write_manifest(join(folder, "manifest.parquet"), pairs)
    assert read_manifest(join(folder, "manifest.parquet")) == pairs


def test_the_rest_is_named_with_the_reason(folder):
    fill(folder, "ok_A.jpg", "ok_B.jpg", "stack7/1.png", "empty/notes.txt", "ok/1.png", "ok/2.png")
    fill(folder, "lytro_09_A.jpg", "alone_B.jpg", "gap_A.jpg", "gap_C.jpg", "far_D.png")
    fill(folder, "two_A.jpg", "two_A.png", "two_B.png", "panorama.jpg")
    pairs, left_out = build_manifest(folder)
    assert [pair.pair_id for pair in pairs] == ["ok"]
    assert sorted(left_out) == [
        "alone_B.jpg: no partner alone_A.*",
        "empty/: holds 0 images, at least 2 are needed",
        "far_D.png: no partner far_A.*, far_B.*, far_C.*",
        "gap_A.jpg, gap_C.jpg: no partner gap_B.*",
        "lytro_09_A.jpg: no partner lytro_09_B.*",
        "ok/: pair_id 'ok' is taken by ok_A.*, rename one",
        "panorama.jpg: the name does not end in _A, _B...",
        "stack7/: holds 1 image, at least 2 are needed",
        "two_A.jpg, two_A.png, two_B.png: 2 files are two_A, keep one",
    ]


def test_a_name_too_long_for_a_folder_is_left_out(tmp_path):
    fill(str(tmp_path), "ok_A.jpg", "ok_B.jpg", "é" * 40 + "_A.jpg", "é" * 40 + "_B.jpg")
    pairs, [reason] = build_manifest(str(tmp_path))
    assert [pair.pair_id for pair in pairs] == ["ok"]
    assert reason.endswith("pair_id must be at most 200 bytes percent-encoded, is 240")


def test_a_folder_without_pairs_is_refused(folder):
    fill(folder, "1.png", "2.png")
    with pytest.raises(ManifestError) as error:
        build_manifest(folder)
    assert str(error.value) == (
        f"{folder}: holds no pair; expected <name>_A.jpg with <name>_B.jpg..., or one subfolder "
        "of images per stack; 1.png: the name does not end in _A, _B...; "
        "2.png: the name does not end in _A, _B..."
    )


def test_a_missing_folder_is_refused(folder):
    with pytest.raises(ManifestError, match="holds no pair"):
        build_manifest(join(folder, "none"))


@pytest.mark.usefixtures("s3_url")
def test_a_missing_bucket_is_no_access():
    with pytest.raises(StorageAccessError, match="the bucket does not exist"):
        build_manifest("s3://no-such-bucket/lot")


def test_a_relative_folder_gives_absolute_urls(tmp_path, monkeypatch):
    fill(str(tmp_path / "lot"), "p_A.png", "p_B.png")
    monkeypatch.chdir(tmp_path)
    pairs, _ = build_manifest("lot")
    assert pairs == [Pair("p", urls(str(tmp_path / "lot"), "p_A.png", "p_B.png"))]
