"""Forms of browsers: the handler gets the file, whichever way the form arrives."""

from __future__ import annotations

import pytest
from tests.unit.uploads.protocols.test_form import TYPE, body, part
from tests.unit.uploads.serving import Instance, content

from changeover.uploads import CompletedUpload, FileStore, Limits, Response

FILE = bytes(range(256)) * 300
FORM = body(part("album", b"summer"), part("file", FILE, "köln.png", "Content-Type: image/png"), part("note", b"hi"))
APPEND = {"content_type": "application/partial-upload"}


async def sent(instance: Instance, way: str, form: bytes = FORM) -> tuple[int, str]:
    """The status of the last response, and the id of the upload."""
    if way == "plain":
        got = await instance.got("POST", "/", form, content_type=TYPE)
        return got.status, got.headers.get("location", "").rpartition("/")[2]
    if way == "ietf whole":
        got = await instance.got("POST", "/", form, content_type=TYPE, upload_complete="?1")
        return got.status, got.headers.get("location", "").rpartition("/")[2]
    begun = await instance.got("POST", "/", content_type=TYPE, upload_complete="?0")  # as the relay sends it
    for start in range(0, len(form), 10_001):
        piece = form[start : start + 10_001]
        last = "?1" if start + len(piece) == len(form) else "?0"
        got = await instance.got(
            "PATCH", f"/{begun.id}", piece, upload_offset=str(start), upload_complete=last, **APPEND
        )
    return got.status, begun.id


WAYS = ["plain", "ietf whole", "ietf segments"]


@pytest.mark.parametrize("way", WAYS)
async def test_the_handler_gets_the_file_with_name_type_and_fields(store: FileStore, way: str) -> None:
    seen: list[bytes] = []

    async def handler(upload: CompletedUpload) -> Response:
        seen.append(b"".join([piece async for piece in upload.pieces()]))
        seen.append(b"".join([piece async for piece in upload.pieces(76_000)]))
        return Response(200)

    instance = Instance(store, handler)
    status, id = await sent(instance, way)
    (upload,) = instance.finished
    assert (status, upload.size, upload.filename, upload.content_type) == (200, len(FILE), "köln.png", "image/png")
    assert upload.metadata == {"album": "summer", "note": "hi", "filename": "köln.png", "filetype": "image/png"}
    assert upload.headers["content-type"] == "image/png"
    assert seen == [FILE, FILE[76_000:]]
    assert await content(instance, id) == FILE


@pytest.mark.parametrize("way", WAYS)
async def test_the_file_is_found_again_after_the_handler_failed(store: FileStore, way: str) -> None:
    async def fails_once(upload: CompletedUpload) -> Response:
        if upload.attempt == 1:
            raise OSError("the database is away")
        return Response(200, (), str(upload.size).encode())

    instance = Instance(store, fails_once)
    status, id = await sent(instance, way)
    assert status == 503
    await Instance(store, fails_once).app.collect()
    for upload in instance.finished:
        assert upload.size == len(FILE)
    got = await instance.got("HEAD", f"/{id}/content") if id else None
    assert got is None or got.headers["content-length"] == str(len(FILE))


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("form", [FORM[:-10], body(part("a", b"1")), b"hello"], ids=["cut", "no file", "no form"])
async def test_a_form_that_cannot_be_read_is_refused_and_leaves_nothing(
    store: FileStore, way: str, form: bytes
) -> None:
    instance = Instance(store)
    status, _ = await sent(instance, way, form)
    assert status == 400
    assert instance.finished == []
    assert [each async for each in store.ids()] == []


async def test_a_form_is_refused_at_its_first_byte_too_many(store: FileStore) -> None:
    instance = Instance(store, limits=Limits(max_form_size=5))
    assert (await sent(instance, "plain"))[0] == 400
    instance = Instance(store, limits=Limits(max_form_fields=1))
    assert (await sent(instance, "plain"))[0] == 400


@pytest.mark.parametrize("headers", [{}, {"upload_complete": "?0"}])
async def test_a_form_without_boundary_is_refused_before_it_is_created(
    store: FileStore, headers: dict[str, str]
) -> None:
    got = await Instance(store).got("POST", "/", content_type="Multipart/Form-Data", **headers)
    assert got.status == 400
    assert [each async for each in store.ids()] == []


@pytest.mark.parametrize(
    ("path", "headers"),
    [("/", {"tus_resumable": "1.0.0", "upload_length": "5"}), ("/?parts", {}), ("/?uploadType=resumable", {})],
)
async def test_other_dialects_take_a_body_of_that_type_as_it_is(
    store: FileStore, path: str, headers: dict[str, str]
) -> None:
    got = await Instance(store).got("POST", path, content_type="multipart/form-data", **headers)
    assert got.status in (200, 201)


async def test_a_field_may_be_named_like_the_description_of_the_file(store: FileStore) -> None:
    instance = Instance(store)
    form = body(part("filename", b"mine"), part("file", b"x", "a.png"))
    assert (await sent(instance, "plain", form))[0] == 200
    (upload,) = instance.finished
    assert (upload.metadata["filename"], upload.filename) == ("mine", "a.png")
