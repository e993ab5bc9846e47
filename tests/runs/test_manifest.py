import hashlib
import sys
from dataclasses import replace
from io import BytesIO

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dfp_batch.errors import ManifestError
from dfp_batch.io.storage import read_bytes, write_bytes
from dfp_batch.runs.manifest import (
    Pair,
    folder_name,
    manifest_sha256,
    parquet_source,
    read_manifest,
    write_manifest,
)

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
        reference_frame=[2],
        camera=["R5, f/8"],
        photographer=["ignored"],
    )
    assert read_manifest(URL) == [
        Pair(
            "c-0043",
            ("memory://lot/img/a.png", "s3://other/b.png", "/x/c.png"),
            "memory://lot/truth.png",
            at("img/ra.png", "img/rb.png"),
            at("m/a.png", "m/b.png", "m/c.png"),
            2,
            "R5, f/8",
        )
    ]


def test_rows_keep_their_order_and_may_lack_references():
    put(pair_id=["b", "a"], sources=[["1", "2"], ["3", "4"]], reference=[None, "5"])
    assert read_manifest(URL) == [Pair("b", at("1", "2")), Pair("a", at("3", "4"), at("5")[0])]


@pytest.mark.parametrize("name", ["a.tif", "a.TIFF", "a.ome.tif", "a b.OME.Tiff", "img/a.b.tif"])
def test_one_tiff_may_hold_the_whole_stack(name):
    put(pair_id=["p"], sources=[[name]], masks=[["1", "2", "3"]], reference_frame=[7])
    assert read_manifest(URL) == [
        Pair("p", at(name), masks=at("1", "2", "3"), reference_frame=7),
    ]


def test_a_version_of_a_tiff_may_hold_the_whole_stack():
    url = "s3://lot/stack.ome.tif?versionId=3.L_4"
    put(pair_id=["p"], sources=[[url]])
    assert read_manifest(URL) == [Pair("p", (url,))]


@pytest.mark.parametrize("kind", [pa.int8(), pa.uint8(), pa.int32(), pa.int64(), pa.uint64()])
def test_every_arrow_type_of_integers_is_read(kind):
    frames = pa.array([1, None], kind)
    put(pair_id=["p", "q"], sources=[["a", "b"], ["c", "d"]], reference_frame=frames)
    assert [pair.reference_frame for pair in read_manifest(URL)] == [1, None]


def test_a_camera_may_be_missing_or_empty():
    put(pair_id=["p", "q", "r"], sources=[["1", "2"]] * 3, camera=["R5", None, ""])
    assert [pair.camera for pair in read_manifest(URL)] == ["R5", None, None]


def test_a_column_of_null_reference_frames_is_read():
    put(pair_id=["p"], sources=[["a", "b"]], reference_frame=pa.nulls(1))
    assert read_manifest(URL) == [Pair("p", at("a", "b"))]


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
        ("s3://x/shot_A.png?versionId=3.L_4", "shot"),
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


FEW = "at least 2 are needed, or 1 file that holds the stack (.tif, .tiff, .nd2, .czi, .lif, .zarr)"
GOOD = {
    "pair_id": "p",
    "sources": ["a", "b"],
    "reference": None,
    "reference_sources": None,
    "masks": None,
    "reference_frame": None,
    "camera": None,
}
ROWS = {
    "one source": ({"sources": ["a.png"]}, f"sources holds 1 URL, {FEW}"),
    "no source": ({"sources": []}, f"sources holds 0 URLs, {FEW}"),
    "not the name of a TIFF": ({"sources": ["tif"]}, f"sources holds 1 URL, {FEW}"),
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
    "one mask of a stack in one file": (
        {"sources": ["a.tif"], "masks": ["c"]},
        "masks must be 2 or more URLs, one for each page, got 1",
    ),
    "reference frame": (
        {"reference_frame": 2},
        "reference_frame must be from 0 to 1, the index of a source, got 2",
    ),
    "negative reference frame": (
        {"reference_frame": -1},
        "reference_frame must be from 0 to 1, the index of a source, got -1",
    ),
    "reference frame of a stack in one file": (
        {"sources": ["a.tif"], "reference_frame": -1},
        "reference_frame must be from 0 to the last page, got -1",
    ),
    "too large for any file": (
        {"sources": ["a.tif"], "reference_frame": 2**32},
        "reference_frame must be from 0 to the last page, got 4294967296",
    ),
    "control character of a camera": (
        {"camera": "R5\x1b[31m"},
        "camera must not hold control characters",
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
        f"manifest row 0 (pair_id 'p'): sources holds 1 URL, {FEW}; "
        "manifest row 2 (pair_id 'p'): sources holds memory://lot/c more than once; "
        "manifest row 2 (pair_id 'p'): the same pair_id as row 0; each pair needs its own"
    )


def test_only_the_first_ten_problems_are_spelled_out():
    put(pair_id=[f"p{row}" for row in range(17)], sources=[["a"]] * 17)
    text = refusal()
    assert text.count("manifest row") == 10
    assert text.endswith(f"{FEW}; and 7 more")


def test_ten_problems_are_all_spelled_out():
    put(pair_id=[f"p{row}" for row in range(10)], sources=[["a"]] * 10)
    assert refusal().endswith(f"manifest row 9 (pair_id 'p9'): sources holds 1 URL, {FEW}")


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
    "a reference frame that is no integer": (
        {"pair_id": ["p"], "sources": [["a", "b"]], "reference_frame": [1.0]},
        "column 'reference_frame' must be integer, found double",
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
FRAMED = [Pair("b", at("stack.tif"), reference_frame=0), replace(MASKED[1], reference_frame=2)]


TAKEN = [replace(PAIRS[0], camera="R5"), PAIRS[1]]


@pytest.mark.parametrize("pairs", [PAIRS, MASKED, FRAMED, TAKEN])
def test_what_was_written_is_read(pairs):
    write_manifest(URL, pairs)
    assert read_manifest(URL) == pairs


def test_the_written_schema_does_not_depend_on_the_rows():
    write_manifest(URL, PAIRS[:1])
    schema = pq.read_schema(BytesIO(read_bytes(URL)))
    optional = ["reference", "reference_sources", "masks", "reference_frame", "camera"]
    assert schema.names == ["pair_id", "sources", *optional]
    assert schema.field("reference_frame").type == pa.int64()
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
        {"reference_frame": 0},
        {"camera": "R5"},
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
