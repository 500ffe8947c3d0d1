"""The example application as a process of its own, asked over real connections."""

from __future__ import annotations

import hashlib
import http.client
import json
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from changeover.kit.pattern import pattern

PROGRAM = """
import resource, sys
from pathlib import Path
from changeover.example_app.config import AppConfig
from changeover.example_app.server import run
instance, shared, lame_duck, largest_file = sys.argv[1:]
if largest_file:  # the kernel then refuses to write more to a file, which is how a full disk looks from here
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(largest_file), int(largest_file)))
run(AppConfig("127.0.0.1", 0, instance, "v1", Path(shared), Path(lame_duck)))
"""


class App:
    """One running instance and a client for it."""

    def __init__(self, process: subprocess.Popen[str], shared: Path, lame_duck_file: Path) -> None:
        assert process.stderr is not None
        self.started = process.stderr.readline()
        match = re.search(r"listening on (\S+):(\d+)$", self.started)
        assert match, self.started + process.stderr.read()
        self.process = process
        self.address = (match[1], int(match[2]))
        self.shared = shared
        self.lame_duck_file = lame_duck_file
        self.client = httpx.Client(base_url=f"http://{match[1]}:{match[2]}", trust_env=False, timeout=10)

    def get(self, path: str) -> httpx.Response:
        return self.client.get(path)

    def post(self, body: bytes, **headers: str) -> httpx.Response:
        return self.client.post("/upload", content=body, headers=headers)

    def inflight(self) -> dict[str, Any]:
        with Raw(self) as control:  # the client's pool would lend a connection that has carried other requests
            answer: dict[str, Any] = json.loads(control.ask("/inflight")[2])
            return answer

    def files(self) -> list[str]:
        """Everything in the shared folder, by the name of the folder it lies in."""
        return sorted(path.parent.name for path in self.shared.rglob("*") if path.is_file())


class Raw:
    """A connection written to byte by byte."""

    def __init__(self, app: App) -> None:
        self.socket = socket.create_connection(app.address, timeout=10)

    def __enter__(self) -> Raw:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, text: bytes) -> None:
        self.socket.sendall(text)

    def answer(self, method: str = "GET") -> tuple[int, http.client.HTTPMessage, bytes]:
        with http.client.HTTPResponse(self.socket, method=method) as response:
            response.begin()
            return response.status, response.headers, response.read()

    def ask(self, path: str) -> tuple[int, http.client.HTTPMessage, bytes]:
        self.send(b"GET %s HTTP/1.1\r\nHost: x\r\n\r\n" % path.encode())
        return self.answer()

    def begin_upload(self, size: int, body: bytes) -> None:
        self.send(b"POST /upload HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % size + body)


@contextmanager
def running(folder: Path, instance: str = "runtime-1", largest_file: int | None = None) -> Iterator[App]:
    lame_duck_file = folder / f"{instance}.lame-duck"
    limit = "" if largest_file is None else str(largest_file)
    argv = [sys.executable, "-c", PROGRAM, instance, str(folder / "shared"), str(lame_duck_file), limit]
    with subprocess.Popen(argv, stderr=subprocess.PIPE, text=True) as process:
        try:
            app = App(process, folder / "shared", lame_duck_file)
            with app.client:
                yield app
        finally:
            process.kill()


def until(done: Callable[[], bool]) -> None:
    """Wait for something another process does. The deadline is for a broken one."""
    deadline = time.monotonic() + 10
    while not done():
        assert time.monotonic() < deadline, "never happened"


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
    told = {"bytes": len(body), "sha256": hashlib.sha256(body).hexdigest(), "ref": None}
    assert record == {**told, "id": record["id"], "version": "v1", "instance": "runtime-1"}

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
    told = {"bytes": len(body), "sha256": hashlib.sha256(body).hexdigest(), "ref": "in-pieces"}
    assert record == {**told, "id": record["id"], "version": "v1", "instance": "runtime-1"}
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


def test_in_lame_duck_it_is_not_ready_and_sends_clients_away_until_the_file_is_gone(own: App) -> None:
    assert (own.get("/readyz").status_code, own.get("/readyz").json()) == (200, {"status": "ready"})
    assert "connection" not in own.get("/hello").headers

    own.lame_duck_file.touch()
    assert (own.get("/readyz").status_code, own.get("/readyz").json()) == (503, {"status": "draining"})
    assert own.get("/livez").status_code == 200
    for answer in (own.get("/hello"), own.get("/blob/5"), own.get("/nope"), own.post(b"x")):
        assert answer.headers["connection"] == "close"
    for path in ("/livez", "/readyz", "/inflight"):
        assert "connection" not in own.get(path).headers

    own.lame_duck_file.unlink()
    assert own.get("/readyz").status_code == 200
    assert "connection" not in own.get("/hello").headers


def test_in_lame_duck_a_pooled_connection_ends_with_its_next_answer(own: App) -> None:
    with Raw(own) as pooled:
        pooled.ask("/hello")
        own.lame_duck_file.touch()
        assert own.inflight()["connections"] == 1
        assert pooled.ask("/hello")[0] == 200
        assert pooled.socket.recv(1) == b""
    until(lambda: own.inflight()["connections"] == 0)


def test_a_refusal_in_lame_duck_reaches_a_client_that_is_still_sending(own: App) -> None:
    own.lame_duck_file.touch()
    with Raw(own) as raw:
        raw.send(b"POST /hello HTTP/1.1\r\nHost: x\r\nContent-Length: 2000000\r\n\r\n")
        status, headers, _ = raw.answer()
        assert (status, headers["Connection"]) == (405, None)
        raw.send(bytes(2_000_000))
        assert raw.ask("/hello")[1]["Connection"] == "close"


def test_a_slow_upload_is_counted_to_the_byte(own: App) -> None:
    with Raw(own) as raw:
        raw.begin_upload(2_000_000, bytes(700_000))
        until(lambda: [u["received"] for u in own.inflight()["uploads"]] == [700_000])
        seen = own.inflight()
        assert (seen["requests"], seen["gets"], seen["connections"]) == (1, 0, 1)
        assert seen["uploads"][0]["expected"] == 2_000_000
        assert 0 < seen["uploads"][0]["seconds"] < 10

        raw.send(bytes(1_300_000))
        assert raw.answer("POST")[0] == 201
        assert own.inflight() == {"requests": 0, "gets": 0, "uploads": [], "connections": 1}


def test_a_chunked_upload_is_counted_without_knowing_its_end(own: App) -> None:
    with Raw(own) as raw:
        raw.send(b"POST /upload HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
        until(lambda: [u["received"] for u in own.inflight()["uploads"]] == [5])
        assert own.inflight()["uploads"][0]["expected"] is None
        raw.send(b"0\r\n\r\n")
        assert raw.answer("POST")[0] == 201


def test_a_download_is_counted_until_its_last_byte_is_handed_over(own: App) -> None:
    with Raw(own) as raw:
        raw.send(b"GET /blob/50000000 HTTP/1.1\r\nHost: x\r\n\r\n")
        raw.socket.recv(1)
        assert own.inflight() == {"requests": 1, "gets": 1, "uploads": [], "connections": 1}
    until(lambda: own.inflight()["requests"] == 0)


def test_a_health_checker_does_not_hold_up_a_drain_but_a_pooled_connection_does(own: App) -> None:
    with Raw(own) as checker, Raw(own) as pooled, Raw(own) as silent:
        for path in ("/livez", "/readyz", "/inflight"):
            checker.ask(path)
        pooled.ask("/hello")
        # Silent has sent nothing, and nobody knows what it will carry.
        assert own.inflight() == {"requests": 0, "gets": 0, "uploads": [], "connections": 2}
        silent.ask("/livez")
        assert own.inflight()["connections"] == 1
        checker.ask("/hello")
        assert own.inflight()["connections"] == 2


def test_requests_queued_on_a_lost_connection_are_not_counted_for_ever(own: App) -> None:
    with Raw(own) as raw:
        raw.begin_upload(5, b"hello")
        raw.send(b"GET /blob/90000000 HTTP/1.1\r\nHost: x\r\n\r\n" + b"GET /hello HTTP/1.1\r\nHost: x\r\n\r\n" * 3)
        until(lambda: (now := own.inflight())["gets"] == 4 and not now["uploads"])
    until(lambda: own.inflight()["requests"] == 0)


def test_asked_to_stop_it_finishes_the_upload_in_flight_and_takes_nothing_new(own: App) -> None:
    with Raw(own) as raw:
        raw.begin_upload(1_000_000, bytes(400_000))
        until(lambda: own.inflight()["requests"] == 1)
        own.process.send_signal(signal.SIGTERM)
        until(lambda: refuses(own))
        raw.send(bytes(600_000))
        status, _, body = raw.answer("POST")
    assert (status, json.loads(body)["bytes"]) == (201, 1_000_000)
    assert own.process.wait(10) == 0
    assert own.process.stderr is not None
    assert own.process.stderr.read() == "runtime-1 (v1): stopped\n"


def test_an_idle_instance_stops_at_once(own: App) -> None:
    own.get("/hello")
    own.process.send_signal(signal.SIGTERM)
    assert own.process.wait(10) == 0


def test_eight_large_uploads_at_once_take_little_memory(own: App) -> None:
    size = 50_000_000
    body = pattern(0, size)
    idle = memory(own, "VmRSS")

    def upload() -> dict[str, Any]:
        connection = http.client.HTTPConnection(*own.address, timeout=30)
        connection.request("POST", "/upload", body)
        with connection.getresponse() as answer:
            record: dict[str, Any] = json.loads(answer.read())
        connection.close()
        return record

    with ThreadPoolExecutor(8) as clients:
        records = [future.result() for future in [clients.submit(upload) for _ in range(8)]]

    assert {record["sha256"] for record in records} == {hashlib.sha256(body).hexdigest()}
    assert memory(own, "VmHWM") - idle < 60_000_000


def assert_problem(answer: httpx.Response, status: int) -> None:
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["status"] == status


def memory(app: App, field: str) -> int:
    text = Path(f"/proc/{app.process.pid}/status").read_text()
    return int(re.findall(rf"{field}:\s+(\d+) kB", text)[0]) * 1024


def refuses(app: App) -> bool:
    try:
        socket.create_connection(app.address, timeout=10).close()
    except ConnectionRefusedError:
        return True
    except ConnectionResetError:  # it was queued on the listener as that closed
        return False
    return False


def test_an_address_that_cannot_be_had_is_named_without_a_traceback(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        argv = [sys.executable, "-m", "changeover.example_app", "--port", str(port), "--shared", str(tmp_path)]
        done = subprocess.run(argv, stderr=subprocess.PIPE, text=True, timeout=30, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: app: cannot listen on 127.0.0.1:{port}: Address already in use")
    assert "Traceback" not in done.stderr
