"""Generated requests in every dialect: whatever a client sends, it gets a status below 500.

A router counts a 5xx as broken, and a guard may undo a rollout for it. So no client may be able to provoke one.
"""

from __future__ import annotations

import asyncio
import json
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.uploads.dialects.test_bad_input import BEGIN, FINISH, IETF_APPEND, TUS, TUS_APPEND, sent
from tests.unit.uploads.serving import Instance

from changeover.uploads import FileStore

FIELDS = (
    *("upload_complete", "upload_incomplete", "upload_offset", "upload_length", "upload_draft_interop_version"),
    *("tus_resumable", "upload_defer_length", "upload_metadata", "upload_concat", "upload_checksum"),
    *("content_range", "content_length", "content_type", "content_digest", "repr_digest", "content_disposition"),
    *("x_upload_content_length", "x_upload_content_type", "x_http_method_override", "idempotency_key"),
    *("range", "if_range", "if_none_match", "if_match", "origin", "expect", "transfer_encoding"),
)
TEMPLATES = (
    *("?0", "?1", "?1;a=b", "0", "5", "-1", "1e3", "9" * 15, "9" * 18, "9" * 5000, "1.0", "1.0.0", "9", "3", "10"),
    *("final;http://[", "final;//[", "final;/files/{id}", "final;{id} {id}", "final; ", "final;\x00", "partial"),
    *("final;http://[::1]:x/files/{id}", "final;http://user@[/files/{id}", "final;" + "../" * 500 + "{id}"),
    *("sha1 ", "sha1 AAAA", "sha256 =", "crc32c AAAAAA==", "md5 AAAA", "SHA1 AAAA"),
    *("sha-256=:AAAA:", "sha-256=1", "sha-256=(" * 3000, "sha-512=::", "SHA-256=:=:", "a=:, b", '"', "((((", "@1"),
    *("bytes 0-4/5", "bytes */*", "bytes */5", "bytes 4-0/5", "bytes 0-4/*", "bytes=0-1", "bytes=5-", "bytes=-0"),
    *("filename aGVsbG8=", "filename /w==", "filename", ",,,", "a b,a b", "\xff \xff"),
    *(
        "application/partial-upload",
        "application/offset+octet-stream",
        "multipart/form-data",
        "multipart/form-data; boundary=",
    ),
    *('"key"', '"', '"' * 300, "key", "PATCH", "DELETE", "BREW", "chunked", "100-continue", "*"),
)
NAMES = st.sampled_from(FIELDS)
TEXT = st.text(st.characters(max_codepoint=255), max_size=40)
VALUES = st.one_of(st.sampled_from(TEMPLATES), TEXT)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["parts", "x"]), inner, max_size=3),
)
BODIES = st.one_of(
    st.binary(max_size=20),
    JSON.map(lambda value: json.dumps(value).encode()),
    JSON.map(lambda value: json.dumps({"parts": value}).encode()),
    st.sampled_from(
        [b"hello", b"[" * 100_000, b'{"parts":' * 20_000, b'{"parts":[' + b"1" * 5000 + b"]}", b"\xff\xfe"]
    ),
)
METHODS = st.sampled_from(["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW"])
PATHS = st.one_of(
    st.sampled_from(["", "/", "/{id}", "/{id}/", "/{id}/content", "/{id}/parts", "/{id}/parts/1", "/{id}/complete"]),
    TEXT.map(lambda text: "/{id}/" + text),
    TEXT.map(lambda text: "/" + text),
)
QUERIES = st.one_of(
    st.sampled_from(
        ["", "parts", "uploadType=resumable", "uploadType=media", "parts=%ff", "%", "&&=&", "uploadType=%00"]
    ),
    TEXT,
)
BASES = st.sampled_from(
    [{}, {"upload_complete": "?0"}, IETF_APPEND, TUS, TUS_APPEND, {**TUS_APPEND, "upload_length": "5"}]
)


async def check(dialect: str, whole: bool, requests: list[tuple[str, str, str, dict[str, str], bytes]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        instance = Instance(FileStore(Path(folder), durable=False))
        path, fields = BEGIN[dialect]
        id = (await instance.got("POST", path, **fields)).id
        for method, below, body, fields in FINISH[dialect] if whole else []:
            await instance.got(method, f"/{id}{below}", body, **fields)
        for method, path, query, fields, body in requests:
            place = path.replace("{id}", id) + (f"?{query}" if query else "")
            headers = {name: value.replace("{id}", id) for name, value in fields.items()}
            got = await instance.got(method, place, body, **headers)
            assert got.status < 500, (got, method, place, headers, body[:100])


@pytest.mark.parametrize("dialect", BEGIN)
@settings(max_examples=40, deadline=None)
@given(
    st.booleans(),
    st.lists(
        st.tuples(
            METHODS,
            PATHS,
            QUERIES,
            st.builds(lambda base, more: {**base, **more}, BASES, st.dictionaries(NAMES, VALUES, max_size=4)),
            BODIES,
        ),
        min_size=1,
        max_size=8,
    ),
)
def test_no_request_gets_a_server_error(
    dialect: str, whole: bool, requests: list[tuple[str, str, str, dict[str, str], bytes]]
) -> None:
    asyncio.run(check(dialect, whole, requests))


@pytest.mark.parametrize("name", FIELDS)
async def test_no_field_gets_a_server_error(instance: Instance, name: str) -> None:
    """Each value that resembles a valid one, in each field, beside the fields of each dialect."""
    id = (await instance.got("POST", "/", upload_complete="?0")).id
    for template in TEMPLATES:
        for method, path, base in (
            ("POST", "/", {}),
            ("POST", "/", {"upload_complete": "?1"}),
            ("POST", "/", TUS),
            ("PATCH", f"/{id}", IETF_APPEND),
            ("PATCH", f"/{id}", TUS_APPEND),
            ("PUT", f"/{id}", {}),
        ):
            headers = {**base, name: template.replace("{id}", id)}
            got = await instance.got(method, path, sent(b"hello"), **headers)
            assert got.status < 500, (got, method, path, headers)


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 100_000,
        b'{"parts":' * 100_000,
        b'{"parts":' + b"[" * 100_000,
        b'{"parts":[' + b"1" * 10_000 + b"]}",
        b"\x80",
    ],
    ids=["list", "object", "parts", "number", "text"],
)
async def test_no_list_of_parts_gets_a_server_error(instance: Instance, body: bytes) -> None:
    id = (await instance.got("POST", "/?parts")).id
    await instance.got("PUT", f"/{id}/parts/1", b"hello")
    assert (await instance.got("POST", f"/{id}/complete", body)).status == 400
