"""Object storage on a free port: moto for S3, and a double of our own for Google, both with faults on demand.

gcp-storage-emulator, the usual stand-in, does not look at `ifGenerationMatch` at all: with it a store that fences
nobody would pass. `Google` here is strict instead. It knows the few calls of the XML API that obstore makes, enforces
generations, and answers 501 to everything else, which no store takes for an answer.

Both stand behind `Service`, which puts one change after the other: moto looks at If-Match and writes in two steps.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import socket
import threading
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, unquote
from xml.sax.saxutils import escape

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from tests.unit.uploads.bucket_stores import BUCKET
from werkzeug.serving import make_server

PAGE = 3
"""Entries in one page of a listing of `Google`."""

Environ = dict[str, Any]
Start = Callable[..., Any]
App = Callable[[Environ, Start], Iterable[bytes]]


@dataclass
class Fault:
    """What happens to requests of that method whose path contains that text, `times` times."""

    method: str
    path: str = ""
    status: int = 0
    """Answered instead of what the service says; 0: no answer, the connection ends."""
    code: str = "Fault"
    after: int = 0
    """Requests that it lets pass before."""
    times: int = 1_000_000
    done: bool = False
    """The service does what it is asked, and only then it fails."""
    then: Callable[[], object] = lambda: None
    """Called before it fails."""
    held: threading.Event | None = None
    """Waited for before the service gets the request."""
    passed: threading.Event = field(default_factory=threading.Event)
    """Set when it has dealt with one."""


class Service:
    """A WSGI application on a port of its own, until `close`."""

    def __init__(self, app: App) -> None:
        logging.getLogger("werkzeug").setLevel(logging.CRITICAL)
        self.faults: list[Fault] = []
        self.asked: list[str] = []
        self._app = app
        self._one_at_a_time = threading.Lock()
        self._server = make_server("127.0.0.1", 0, self._answer, threaded=True)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def make_bucket(self, name: str) -> None:
        """In S3; obstore cannot."""
        with urllib.request.urlopen(urllib.request.Request(f"{self.url}/{name}", method="PUT")) as made:
            assert made.status == 200

    @contextlib.contextmanager
    def failing(self, *faults: Fault) -> Iterator[None]:
        self.faults.extend(faults)
        try:
            yield
        finally:
            self.faults.clear()
            for fault in faults:
                if fault.held is not None:
                    fault.held.set()

    def _answer(self, environ: Environ, start: Start) -> Iterable[bytes]:
        environ["wsgi.input"] = _Whole(environ)
        self.asked.append(f"{environ['REQUEST_METHOD']} {environ['PATH_INFO']}")
        if (fault := self._fault(environ)) is None:
            return self._pass_on(environ, start)
        try:
            if fault.held is not None:
                fault.held.wait(30)
            if fault.done:
                self._pass_on(environ, lambda *_: None)
            fault.then()
        finally:
            fault.passed.set()
        if not fault.status:
            environ["werkzeug.socket"].shutdown(socket.SHUT_RDWR)
            return _say(start, 500, "Gone")
        return _say(start, fault.status, fault.code)

    def _fault(self, environ: Environ) -> Fault | None:
        for fault in self.faults:
            if fault.method in ("*", environ["REQUEST_METHOD"]) and fault.path in environ["PATH_INFO"] and fault.times:
                if fault.after:
                    fault.after -= 1
                    continue
                fault.times -= 1
                return fault
        return None

    def _pass_on(self, environ: Environ, start: Start) -> Iterable[bytes]:
        with self._one_at_a_time:
            return list(self._app(environ, start))


class _Whole:
    """The body of a request, read to its end before anything else happens."""

    def __init__(self, environ: Environ) -> None:
        self._body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))

    def read(self, size: int = -1) -> bytes:
        size = len(self._body) if size is None or size < 0 else size
        taken, self._body = self._body[:size], self._body[size:]
        return bytes(taken)


def _say(start: Start, status: int, code: str, message: str = "as the test wanted it") -> Iterable[bytes]:
    body = f'<?xml version="1.0"?><Error><Code>{code}</Code><Message>{message}</Message></Error>'.encode()
    start(f"{status} {code}", [("Content-Type", "application/xml"), ("Content-Length", str(len(body)))])
    return [body]


def amazon() -> Service:
    """S3, by moto, with a bucket."""
    service = Service(DomainDispatcherApplication(create_backend_app))
    service.make_bucket(BUCKET)
    return service


def google() -> Service:
    """The double of Google Cloud Storage, with a bucket."""
    return Service(Google())


@dataclass(frozen=True)
class _Object:
    content: bytes
    generation: int

    @property
    def headers(self) -> list[tuple[str, str]]:
        return [
            ("ETag", f'"{hashlib.md5(self.content).hexdigest()}"'),
            ("x-goog-generation", str(self.generation)),
            ("Last-Modified", "Mon, 02 Mar 2026 10:00:00 GMT"),
        ]


class Google:
    """What obstore uses of Google's XML API, and nothing beyond that."""

    def __init__(self) -> None:
        self._objects: dict[str, _Object] = {}
        self._generation = 1_700_000_000_000_000

    def __call__(self, environ: Environ, start: Start) -> Iterable[bytes]:
        bucket, _, key = environ["PATH_INFO"].lstrip("/").partition("/")
        if bucket != BUCKET:
            return _say(start, 404, "NoSuchBucket", "The specified bucket does not exist.")
        query = {name: values[0] for name, values in parse_qs(environ["QUERY_STRING"]).items()}
        conditions = {name: value for name, value in environ.items() if name.startswith(("HTTP_X_GOOG_IF", "HTTP_IF_"))}
        match environ["REQUEST_METHOD"], bool(key):
            case "GET", False if query.get("list-type") == "2" and not conditions:
                return self._list(query, start)
            case "GET", True if not query and not conditions:
                return self._get(key, environ.get("HTTP_RANGE"), start)
            case "PUT", True if not query and set(conditions) <= {"HTTP_X_GOOG_IF_GENERATION_MATCH"}:
                return self._put(key, environ, start)
            case "DELETE", True if not query and not conditions:
                return self._delete(key, start)
        return _say(start, 501, "NotImplemented", f"{environ['REQUEST_METHOD']} {environ['REQUEST_URI']} {conditions}")

    def _put(self, key: str, environ: Environ, start: Start) -> Iterable[bytes]:
        expected = environ.get("HTTP_X_GOOG_IF_GENERATION_MATCH")
        there = self._objects.get(key)
        if expected is not None and int(expected) != (there.generation if there else 0):
            return _say(start, 412, "PreconditionFailed")
        self._generation += 1
        made = self._objects[key] = _Object(environ["wsgi.input"].read(), self._generation)
        start("200 OK", [*made.headers, ("Content-Length", "0")])
        return []

    def _get(self, key: str, wanted: str | None, start: Start) -> Iterable[bytes]:
        if (there := self._objects.get(key)) is None:
            return _say(start, 404, "NoSuchKey", "The specified key does not exist.")
        if wanted is None:
            start("200 OK", [*there.headers, ("Content-Length", str(len(there.content)))])
            return [there.content]
        first, last = (int(number) for number in wanted.removeprefix("bytes=").split("-"))
        piece = there.content[first : last + 1]
        if not piece:
            return _say(start, 416, "InvalidRange")
        place = f"bytes {first}-{first + len(piece) - 1}/{len(there.content)}"
        start("206 Part", [*there.headers, ("Content-Length", str(len(piece))), ("Content-Range", place)])
        return [piece]

    def _delete(self, key: str, start: Start) -> Iterable[bytes]:
        if self._objects.pop(key, None) is None:
            return _say(start, 404, "NoSuchKey", "The specified key does not exist.")
        start("204 Gone", [])
        return []

    def _list(self, query: dict[str, str], start: Start) -> Iterable[bytes]:
        if unknown := set(query) - {"list-type", "prefix", "delimiter", "continuation-token"}:
            return _say(start, 501, "NotImplemented", f"a listing by {unknown}")
        prefix, delimiter = query.get("prefix", ""), query.get("delimiter", "")
        entries: set[str] = set()
        for key in self._objects:
            if key.startswith(prefix):
                head, found, _ = key[len(prefix) :].partition(delimiter) if delimiter else (key[len(prefix) :], "", "")
                entries.add(prefix + head + found)
        rest = sorted(entry for entry in entries if entry > unquote(query.get("continuation-token", "")))
        page, more = rest[:PAGE], rest[PAGE:]
        listing = "".join(self._entry(entry) for entry in page)
        if more:
            listing += f"<NextContinuationToken>{escape(page[-1])}</NextContinuationToken>"
        listing = f"<ListBucketResult><IsTruncated>{str(bool(more)).lower()}</IsTruncated>{listing}</ListBucketResult>"
        start("200 OK", [("Content-Type", "application/xml"), ("Content-Length", str(len(listing.encode())))])
        return [listing.encode()]

    def _entry(self, entry: str) -> str:
        if (there := self._objects.get(entry)) is None:
            return f"<CommonPrefixes><Prefix>{escape(entry)}</Prefix></CommonPrefixes>"
        return (
            f"<Contents><Key>{escape(entry)}</Key><Size>{len(there.content)}</Size>"
            f"<LastModified>2026-03-02T10:00:00.000Z</LastModified><Generation>{there.generation}</Generation></Contents>"
        )
