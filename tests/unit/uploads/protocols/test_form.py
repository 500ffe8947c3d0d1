"""`multipart/form-data`: the place of the file, the fields, and what is refused."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from changeover.uploads.protocols.errors import MalformedField
from changeover.uploads.protocols.form import Form, FormLimits, FormReader

BOUNDARY = b"----WebKitFormBoundaryABC"
TYPE = f"multipart/form-data; boundary={BOUNDARY.decode()}"
LIMITS = FormLimits(fields=3, size=1000)


def part(name: str, value: bytes, filename: str | None = None, *more: str) -> bytes:
    disposition = f'Content-Disposition: form-data; name="{name}"'
    if filename is not None:
        disposition += f'; filename="{filename}"'
    lines = "".join(f"{line}\r\n" for line in (disposition, *more))
    return b"--" + BOUNDARY + b"\r\n" + lines.encode() + b"\r\n" + value + b"\r\n"


def body(*parts: bytes) -> bytes:
    return b"".join(parts) + b"--" + BOUNDARY + b"--\r\n"


def read(whole: bytes, sizes: list[int] | None = None, limits: FormLimits = LIMITS) -> Form:
    reader = FormReader(TYPE, limits)
    for size in sizes or []:
        reader.feed(whole[:size])
        whole = whole[size:]
    reader.feed(whole)
    return reader.finish()


NASTY = [
    b"",
    b"\r\n",
    b"\n",
    b"\r",
    b"-",
    b"--",
    b"--" + BOUNDARY[:-1],
    b"\r\n--" + BOUNDARY + b"x",
    b"\x00",
    b"name\r\n\r\n",
]


@given(
    file=st.lists(st.sampled_from(NASTY) | st.binary(max_size=20), max_size=10).map(b"".join),
    sizes=st.lists(st.integers(1, 60), max_size=30),
    first=st.booleans(),
)
def test_the_file_is_found_however_the_body_is_cut(file: bytes, sizes: list[int], first: bool) -> None:
    if b"--" + BOUNDARY + b"\r\n" in file or b"--" + BOUNDARY + b"--" in file:
        return
    unchosen = part("other", b"", "", "Content-Type: application/octet-stream")
    upload = part("file", file, "a.png", "Content-Type: image/png")
    whole = body(*([upload, unchosen] if first else [unchosen, part("a", b"1\r\n2"), upload, part("b", "ü".encode())]))
    form = read(whole, sizes)
    assert whole[form.start : form.start + form.size] == file
    assert (form.name, form.filename, form.content_type) == ("file", "a.png", "image/png")
    assert form.fields == ({} if first else {"a": "1\r\n2", "b": "ü"})


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        ("köln.png", "köln.png"),
        ("a%22b%0D%0Ac.png", 'a"b\r\nc.png'),
        ("50%25.png", "50%25.png"),  # browsers escape three characters and no others
        ("照片.jpg", "照片.jpg"),
    ],
)
def test_a_name_is_read_as_browsers_write_it(sent: str, expected: str) -> None:
    assert read(body(part("file", b"x", sent))).filename == expected


def test_a_chosen_file_may_be_empty() -> None:
    assert read(body(part("file", b"", "empty.txt"))).size == 0


@pytest.mark.parametrize(
    ("whole", "reason"),
    [
        (body(part("a", b"1")), "no file"),
        (body(part("file", b"", "")), "no file"),
        (body(part("a", b"1", "a"), part("b", b"2", "b")), "more than one file"),
        (body(part("a", b"1", "a"), part("b", b"", "b")), "more than one file"),
        (body(part("x", b"1"), part("x", b"2"), part("f", b"1", "a")), "more than one field 'x'"),
        (body(*[part(f"x{n}", b"") for n in range(4)], part("f", b"1", "a")), "more than 3 fields"),
        (body(part("x", bytes(1001)), part("f", b"1", "a")), "more than 1000 bytes"),
        (body(part("x" * 1001, b""), part("f", b"1", "a")), "more than 1000 bytes"),
        (body(part("f", b"1", "a"))[:-4], "before its last boundary"),
        (part("f", b"1", "a"), "before its last boundary"),
        (b"", "before its last boundary"),
        (b"hello", "malformed"),
        (body(part("f", b"eA==", "a", "Content-Transfer-Encoding: base64")), "transfer encoding base64"),
        (body(part("f", b"1", "a", "X: " + "y" * 20_000)), "malformed"),
        (body(part("f", b"1", "a", *[f"X-{n}: 1" for n in range(100)])), "malformed"),
        (b"--" + BOUNDARY + b"\r\nX: 1\r\n\r\nhello\r\n--" + BOUNDARY + b"--", "Content-Disposition"),
    ],
)
def test_a_form_that_would_lose_something_is_refused(whole: bytes, reason: str) -> None:
    with pytest.raises(MalformedField, match=reason):
        read(whole)


@pytest.mark.parametrize("kind", ["multipart/form-data", "multipart/form-data; boundary=", TYPE + "x" * 70])
def test_a_type_without_a_boundary_is_refused(kind: str) -> None:
    with pytest.raises(MalformedField, match="boundary"):
        FormReader(kind, LIMITS)


@pytest.mark.parametrize(
    "kind", [TYPE.replace("=", '="') + '"', TYPE.replace("form-data; b", "form-data;charset=utf-8;B")]
)
def test_the_boundary_may_be_quoted_and_among_other_parameters(kind: str) -> None:
    reader = FormReader(kind, LIMITS)
    reader.feed(body(part("f", b"1", "a")))
    assert reader.finish().size == 1


@given(st.binary(max_size=200), st.integers(0, 200))
def test_whatever_arrives_is_read_or_refused(noise: bytes, at: int) -> None:
    whole = body(part("a", b"1"), part("f", b"hello", "a.png"))
    with contextlib.suppress(MalformedField):
        read(whole[:at] + noise + whole[at:])
