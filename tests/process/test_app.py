"""The responses of the example application, from a process of its own over real connections."""

from __future__ import annotations

import hashlib
import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.process.example_apps import App, Raw, assert_problem, running, until

from changeover.kit.pattern import pattern


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    with running(tmp_path_factory.mktemp("app")) as started:
        yield started


@pytest.fixture(scope="module")
def other(app: App) -> Iterator[App]:
    with running(app.shared.parent, "runtime-2") as started:
        yield started


@pytest.fixture
def own(tmp_path: Path) -> Iterator[App]:
    """An instance for one test that disturbs it."""
    with running(tmp_path) as started:
        yield started


def test_it_says_who_it_is(app: App) -> None:
    assert app.started.startswith("runtime-1 (v1): listening on 127.0.0.1:")
    assert app.get("/hello").json() == {"version": "v1", "instance": "runtime-1"}


@pytest.mark.parametrize("path", ["/hello", "/blob/3", "/nope", "/livez", "/readyz", "/inflight", "/upload/x"])
def test_every_answer_names_its_instance_and_version(app: App, path: str) -> None:
    headers = app.get(path).headers
    assert (headers["x-changeover-instance"], headers["x-changeover-version"]) == ("runtime-1", "v1")


def test_even_an_answer_to_no_http_names_its_instance(app: App) -> None:
    with Raw(app) as raw:
        raw.send(b"no http\r\n\r\n")
        status, headers, _ = raw.answer()
    assert (status, headers["X-Changeover-Instance"]) == (400, "runtime-1")


@pytest.mark.parametrize("size", [0, 1, 65_521, 65_536, 1_000_003])
def test_a_blob_is_the_pattern(app: App, size: int) -> None:
    answer = app.get(f"/blob/{size}")
    assert answer.headers["content-length"] == str(size)
    assert answer.content == pattern(0, size)


def test_the_largest_blob_begins_at_once(app: App) -> None:
    with app.client.stream("GET", "/blob/10000000000") as answer:
        assert answer.headers["content-length"] == "10000000000"
        assert next(answer.iter_bytes(1000)) == pattern(0, 1000)


def test_head_tells_the_size_of_a_blob_and_makes_none(own: App) -> None:
    answer = own.client.head("/blob/10000000000")
    assert (answer.status_code, answer.headers["content-length"]) == (200, "10000000000")
    assert own.inflight()["requests"] == 0


@pytest.mark.parametrize("size", ["x", "-1", "1.5", "10000000001", "9" * 5000, "%C2%B2"])
def test_a_blob_of_no_size_is_refused(app: App, size: str) -> None:
    assert_problem(app.get(f"/blob/{size}"), 400)


@pytest.mark.parametrize("path", ["/", "/hello/", "/blob", "/blob/1/2", "/upload/", "/docs"])
def test_an_unknown_path_is_a_problem_document(app: App, path: str) -> None:
    assert_problem(app.get(path), 404)


@pytest.mark.parametrize(("method", "path"), [("DELETE", "/hello"), ("GET", "/upload"), ("PUT", "/upload/x")])
def test_a_method_that_is_not_served_is_a_problem_document(app: App, method: str, path: str) -> None:
    answer = app.client.request(method, path)
    assert_problem(answer, 405)
    assert answer.headers["allow"]


def test_a_failure_shows_the_client_no_traceback(own: App) -> None:
    upload = own.post(b"x").json()["id"]
    (own.shared / "stored" / upload / "record.json").write_text("{")
    answer = own.get(f"/upload/{upload}")
    assert_problem(answer, 500)
    assert "Traceback" not in answer.text


def test_any_instance_tells_of_an_upload_and_gives_it_back(app: App, other: App) -> None:
    body = pattern(0, 3_000_017, b"seed")
    answer = app.post(body)
    assert answer.status_code == 201
    record = answer.json()
    expected = {"bytes": len(body), "sha256": hashlib.sha256(body).hexdigest(), "ref": None}
    assert record == {**expected, "id": record["id"], "version": "v1", "instance": "runtime-1"}

    location = answer.headers["location"]
    assert other.get(location).json() == {
        **record,
        "served_by": {"version": "v1", "instance": "runtime-2"},
    }
    content = other.get(location + "/content")
    assert content.headers["content-length"] == str(len(body))
    assert content.content == body


def test_an_empty_upload_is_an_upload(app: App) -> None:
    answer = app.post(b"")
    assert (answer.status_code, answer.json()["bytes"]) == (201, 0)
    assert app.get(answer.headers["location"] + "/content").content == b""


def test_a_chunked_upload_is_stored(app: App) -> None:
    pieces = [pattern(offset, 300_000) for offset in range(0, 2_400_000, 300_000)]
    answer = app.client.post("/upload", content=iter(pieces))
    assert "transfer-encoding" in answer.request.headers
    assert answer.status_code == 201
    assert answer.json()["sha256"] == hashlib.sha256(pattern(0, 2_400_000)).hexdigest()


def test_an_upload_in_pieces_is_one_like_any_other_and_stored_once(app: App, other: App) -> None:
    body = pattern(0, 3_000_017, b"pieces")
    begun = app.post(b"", **{"Upload-Complete": "?0", "X-Upload-Ref": "in-pieces"})
    assert (begun.status_code, begun.headers["location"][:7]) == (201, "/files/")
    append = {"Content-Type": "application/partial-upload", "Upload-Offset": "0", "Upload-Complete": "?0"}
    place = begun.headers["location"]
    assert other.client.patch(place, content=body[:1_000_000], headers=append).status_code == 204
    append |= {"Upload-Offset": "1000000", "Upload-Complete": "?1"}
    answer = app.client.patch(place, content=body[1_000_000:], headers=append)
    assert answer.status_code == 201
    record = answer.json()
    expected = {"bytes": len(body), "sha256": hashlib.sha256(body).hexdigest(), "ref": "in-pieces"}
    assert record == {**expected, "id": record["id"], "version": "v1", "instance": "runtime-1"}
    location = answer.headers["location"]
    assert location == f"/upload/{record['id']}"
    assert other.get(location).json() == {**record, "served_by": {"version": "v1", "instance": "runtime-2"}}
    assert other.get(location + "/content").content == body

    append["Upload-Offset"] = str(len(body))
    assert other.client.patch(place, headers=append).json() == record
    assert other.get("/uploads?ref=in-pieces").json()["ids"] == [record["id"]]


def test_a_reference_that_could_be_a_path_begins_no_upload_in_pieces(app: App) -> None:
    assert_problem(app.post(b"", **{"Upload-Complete": "?0", "X-Upload-Ref": "../up"}), 400)


def test_uploads_are_found_by_reference_whoever_took_them(app: App, other: App) -> None:
    taken = [each.post(b"x", **{"X-Upload-Ref": "a-Ref_1"}).json() for each in (app, other)]
    app.post(b"x", **{"X-Upload-Ref": "another"})
    assert [record["ref"] for record in taken] == ["a-Ref_1", "a-Ref_1"]
    ids = sorted(record["id"] for record in taken)
    assert other.get("/uploads?ref=a-Ref_1").json() == {"ref": "a-Ref_1", "ids": ids}
    assert app.get("/uploads?ref=unheard-of").json() == {"ref": "unheard-of", "ids": []}


@pytest.mark.parametrize("ref", ["", "../up", "a/b", "a b", ".", "x" * 65])
def test_a_reference_that_could_be_a_path_is_refused(app: App, ref: str) -> None:
    before = app.files()
    assert_problem(app.post(b"x", **{"X-Upload-Ref": ref}), 400)
    assert_problem(app.client.get("/uploads", params={"ref": ref}), 400)
    assert app.files() == before


@pytest.mark.parametrize(
    "upload",
    [
        "..",
        "../../incoming",
        "..%2F..%2Fetc%2Fpasswd",
        "%2e%2e",
        "%2Fetc%2Fpasswd",
        ".",
        "%00",
        "A" * 22,
        "A" * 21 + "%0A",
        "A" * 21 + "/",
        "A" * 4000,
    ],
)
def test_no_id_leaves_the_folder(app: App, upload: str) -> None:
    for path in (f"/upload/{upload}", f"/upload/{upload}/content"):
        with Raw(app) as raw:  # httpx would resolve the dots before it asks
            status, headers, body = raw.ask(path)
        assert (status, headers["content-type"]) == (404, "application/problem+json")
        assert json.loads(body)["status"] == 404


def test_a_client_that_hangs_up_leaves_nothing_behind(own: App) -> None:
    with Raw(own) as raw:
        raw.begin_upload(5_000_000, pattern(0, 3_000_000))
        until(lambda: own.files() != [])
    until(lambda: own.inflight()["requests"] == 0)
    assert own.files() == []


def test_a_full_disk_stores_nothing_and_says_so(tmp_path: Path) -> None:
    with running(tmp_path, largest_file=1_500_000) as app:
        answer = app.post(pattern(0, 3_000_000), **{"X-Upload-Ref": "full"})
        assert_problem(answer, 507)
        assert "File too large" in answer.json()["detail"]
        assert app.files() == []
        assert app.post(b"small enough", **{"X-Upload-Ref": "full"}).status_code == 201
        assert len(app.get("/uploads?ref=full").json()["ids"]) == 1


def test_an_address_that_cannot_be_had_is_named_without_a_traceback(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        argv = [sys.executable, "-m", "changeover.example_app", "--port", str(port), "--shared", str(tmp_path)]
        done = subprocess.run(argv, stderr=subprocess.PIPE, text=True, timeout=30, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: app: cannot listen on 127.0.0.1:{port}: Address already in use")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("trailer", [b"Upload-Complete: ?0", b"Tus-Resumable: 1.0.0", b"Content-Range: bytes 0-4/10"])
def test_a_trailer_does_not_change_an_upload(app: App, trailer: bytes) -> None:
    with Raw(app) as client:
        client.send(b"POST /upload HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n")
        client.send(trailer + b"\r\n\r\n")
        status, _, content = client.answer("POST")
        assert (status, json.loads(content)["bytes"]) == (201, 5)
