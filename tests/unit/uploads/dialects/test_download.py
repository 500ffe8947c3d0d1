"""`GET` and `HEAD` of the content: ranges, conditions, and fields that are safe whatever the client stated."""

from __future__ import annotations

import base64
from email.message import Message
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.uploads.serving import Got, Instance

from changeover.uploads import FileStore, Limits
from changeover.uploads.dialects.download import disposition

BODY = b"0123456789"


async def uploaded(instance: Instance, body: bytes = BODY, **headers: str) -> str:
    got = await instance.got("POST", "/", body, **headers)
    return f"/{got.id}/content"


@pytest.mark.parametrize(
    ("asked", "status", "expected", "content_range"),
    [
        ("bytes=0-3", 206, b"0123", "bytes 0-3/10"),
        ("bytes=4-", 206, b"456789", "bytes 4-9/10"),
        ("bytes=9-9", 206, b"9", "bytes 9-9/10"),
        ("bytes=5-100", 206, b"56789", "bytes 5-9/10"),
        ("bytes=-3", 206, b"789", "bytes 7-9/10"),
        ("bytes=-100", 206, BODY, "bytes 0-9/10"),
        ("Bytes = 1-2", 206, b"12", "bytes 1-2/10"),
        ("bytes=10-", 416, None, "bytes */10"),
        ("bytes=99-100", 416, None, "bytes */10"),
        ("bytes=-0", 416, None, "bytes */10"),
        ("bytes=3-1", 200, BODY, None),
        ("bytes=0-1,3-4", 200, BODY, None),
        ("bytes=-", 200, BODY, None),
        ("lines=0-1", 200, BODY, None),
        ("bytes=" + "9" * 40 + "-", 200, BODY, None),
    ],
)
async def test_a_range_is_served(
    instance: Instance, asked: str, status: int, expected: bytes | None, content_range: str | None
) -> None:
    got = await instance.got("GET", await uploaded(instance), range=asked)
    assert (got.status, got.headers.get("content-range")) == (status, content_range)
    if expected is not None:
        assert got.body == expected
        assert got.headers["content-length"] == str(len(expected))
    assert got.headers["accept-ranges"] == "bytes"


async def test_an_empty_upload_has_no_range(instance: Instance) -> None:
    path = await uploaded(instance, b"")
    assert (await instance.got("GET", path, range="bytes=0-")).status == 416
    assert (await instance.got("GET", path)).body == b""


async def test_ranges_join_across_segments(store: FileStore) -> None:
    instance = Instance(store)
    begun = await instance.got("POST", "/", b"abc", upload_complete="?0")
    append = {"upload_offset": "3", "upload_complete": "?1", "content_type": "application/partial-upload"}
    await instance.got("PATCH", f"/{begun.id}", b"defgh", **append)
    assert (await instance.got("GET", f"/{begun.id}/content", range="bytes=1-5")).body == b"bcdef"


async def test_a_head_has_the_fields_of_the_whole_and_no_bytes(instance: Instance) -> None:
    path = await uploaded(instance)
    whole = await instance.got("GET", path)
    for headers in ({}, {"range": "bytes=0-3"}):
        head = await instance.got("HEAD", path, **headers)
        assert (head.status, head.headers, head.body) == (200, whole.headers, b"")


async def test_conditions_compare_the_etag(instance: Instance) -> None:
    path = await uploaded(instance)
    tag = (await instance.got("HEAD", path)).headers["etag"]
    unchanged = await instance.got("GET", path, if_none_match=f'"x", W/{tag}')
    assert (unchanged.status, unchanged.headers["etag"], unchanged.body) == (304, tag, b"")
    assert (await instance.got("GET", path, if_none_match="*")).status == 304
    assert (await instance.got("GET", path, if_none_match='"x"')).status == 200
    assert (await instance.got("GET", path, if_match='"x"')).status == 412
    assert (await instance.got("GET", path, if_match=f'"x", {tag}')).status == 200
    assert (await instance.got("GET", path, range="bytes=0-3", if_range=tag)).status == 206
    for other in ('"x"', f"W/{tag}", "Wed, 21 Oct 2015 07:28:00 GMT"):
        whole = await instance.got("GET", path, range="bytes=0-3", if_range=other)
        assert (whole.status, whole.body) == (200, BODY)


async def named(instance: Instance, **metadata: str) -> Got:
    pairs = ",".join(f"{key} {base64.b64encode(value.encode()).decode()}" for key, value in metadata.items())
    headers = {"tus_resumable": "1.0.0", "upload_length": "0", "upload_metadata": pairs}
    got = await instance.got("POST", "/", b"", **headers)
    return await instance.got("GET", f"/{got.id}/content")


@pytest.mark.parametrize("keys", [("filename", "filetype"), ("name", "type")])
async def test_name_and_type_come_from_the_metadata(instance: Instance, keys: tuple[str, str]) -> None:
    got = await named(instance, **{keys[0]: "köln.png", keys[1]: "image/png"})
    assert got.headers["content-type"] == "image/png"
    assert got.headers["content-disposition"] == "attachment; filename=\"k_ln.png\"; filename*=UTF-8''k%C3%B6ln.png"
    assert got.headers["x-content-type-options"] == "nosniff"
    assert "sandbox" in got.headers["content-security-policy"]


@pytest.mark.parametrize("stated", ['attachment; filename="a b.txt"', "inline; filename*=UTF-8''a%20b.txt"])
async def test_name_and_type_come_from_the_headers(instance: Instance, stated: str) -> None:
    path = await uploaded(instance, content_type="text/plain; charset=utf-8", content_disposition=stated)
    got = await instance.got("GET", path)
    assert got.headers["content-type"] == "text/plain; charset=utf-8"
    assert got.headers["content-disposition"] == 'attachment; filename="a b.txt"'


@pytest.mark.parametrize(
    "stated", ["text", "text/html\r\nX: y", "a/b; c=\x00", "x/" + "y" * 200, "", "text/plain, text/html"]
)
async def test_a_type_that_is_none_is_not_repeated(instance: Instance, stated: str) -> None:
    got = await named(instance, filename="a", filetype=stated)
    assert got.headers["content-type"] == "application/octet-stream"


@pytest.mark.parametrize(
    ("stated", "expected"),
    [
        ("../../etc/passwd", "passwd"),
        ("C:\\Users\\ann\\a.txt", "a.txt"),
        (".htaccess", "htaccess"),
        ('a"b.txt', 'a"b.txt'),
        ("a\r\nSet-Cookie: x", "aSet-Cookie: x"),
        ("gpj.\u202eexe.jpg", "gpj.exe.jpg"),
        ("100%.txt", "100%.txt"),
        ("", None),
        ("..", None),
        ("a/", None),
    ],
)
def test_a_name_is_safe(stated: str, expected: str | None) -> None:
    assert _parsed(disposition(stated)) == expected


def _parsed(field: str) -> str | None:
    """As a browser reads it: `filename*` precedes `filename`."""
    _, _, extended = field.partition("filename*=UTF-8''")
    message = Message()
    message["Content-Disposition"] = field
    return unquote(extended) if extended else message.get_filename()


@given(st.text(max_size=400))
def test_any_name_gives_a_short_field_that_can_be_sent(name: str) -> None:
    field = disposition(name)
    assert field.isascii()
    assert field.isprintable()
    assert len(field) < 2000
    assert not set(_parsed(field) or "") & set("/\\\0\r\n")


async def test_metadata_that_would_not_pass_a_proxy_is_refused(store: FileStore) -> None:
    instance = Instance(store)
    fits = "name " + base64.b64encode(b"x" * 2280).decode()
    for text, status in ((fits, 201), (fits + ",more " + base64.b64encode(b"x" * 100).decode(), 413)):
        headers = {"tus_resumable": "1.0.0", "upload_length": "5", "upload_metadata": text}
        got = await instance.got("POST", "/", **headers)
        assert got.status == status
        if status == 201:
            head = await instance.got("HEAD", f"/{got.id}", tus_resumable="1.0.0")
            assert sum(len(name) + len(value) + 4 for name, value in head.headers.items()) < 3800
    concat = {"tus_resumable": "1.0.0", "upload_concat": "final;" + " ".join(["/files/" + "a" * 32] * 80)}
    assert (await instance.got("POST", "/", **concat)).status == 413
    assert (await Instance(store, limits=Limits(max_metadata=10)).got("POST", "/", **headers)).status == 413
