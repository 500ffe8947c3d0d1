"""Fields that follow a body, under every server that docs/uploads.md names: none of them becomes a header."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from http.client import HTTPResponse
from typing import Any

import pytest
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import DataReceived, StreamEnded
from tests.process.asgi_servers import COMMANDS, PATIENCE, Serving, serving

CHUNKED = b"POST /files/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n"
ALICE = b"X-User: alice\r\n"
TRAILERS = {
    "none": b"",
    "another owner": b"X-User: bob\r\n",
    "another owner, three times": b"x-user: bob\r\nX-User: bob\r\nX-USER: \r\n",
    "tus": b"Tus-Resumable: 1.0.0\r\nUpload-Length: 5\r\nUpload-Metadata: filename aGVsbG8=\r\n",
    "tus, concatenation": b"Tus-Resumable: 1.0.0\r\nUpload-Concat: partial\r\n",
    "IETF": b"Upload-Complete: ?0\r\nUpload-Draft-Interop-Version: 8\r\n",
    "an offset": b"Upload-Offset: 3\r\n",
    "Content-Range": b"Content-Range: bytes 0-4/10\r\n",
    "a digest that differs": b"Content-Digest: sha-256=:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=:\r\n",
    "a digest of the whole that differs": b"Repr-Digest: sha-256=:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=:\r\n",
    "a type": b"Content-Type: text/html\r\nContent-Disposition: attachment; filename=evil\r\n",
    "another method": b"X-HTTP-Method-Override: DELETE\r\n",
    "a key": b'Idempotency-Key: "a"\r\n',
    "another host and proxy": b"Host: evil\r\nX-Forwarded-Host: evil\r\nForwarded: host=evil\r\nOrigin: http://evil\r\n",
}
MAY_BE_REFUSED = {"another host and proxy"}
"""RFC 9112, section 7.1.2: a server may refuse trailers that frame or direct a message."""


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Serving]]:
    """All servers at once: each of them takes a second to start."""
    with ExitStack() as stack:
        folder = tmp_path_factory.mktemp("servers")
        yield {name: stack.enter_context(serving(name, folder / str(i))) for i, name in enumerate(COMMANDS)}


def posted(port: int, fields: bytes, trailers: bytes, *, at_once: bool) -> tuple[int, dict[str, Any]]:
    """The status and what the handler got. Not at once: the trailers follow when the application reads the body."""
    head = CHUNKED + fields
    end = b"5\r\nhello\r\n0\r\n" + trailers + b"\r\n"
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as client:
        if at_once:
            client.sendall(head + b"\r\n" + end)
        else:
            client.sendall(head + b"Expect: 100-continue\r\n\r\n")
            assert client.recv(12, socket.MSG_PEEK) == b"HTTP/1.1 100"
            client.sendall(end)
        with HTTPResponse(client, method="POST") as response:
            response.begin()
            content = response.read()
            seen = json.loads(content) if response.status == 201 else {}
            return response.status, {key: value for key, value in seen.items() if key not in ("id", "content")}


@pytest.mark.parametrize("server", COMMANDS)
def test_a_trailer_changes_nothing(servers: dict[str, Serving], server: str) -> None:
    for at_once in (True, False):
        expected = posted(servers[server].port, ALICE, b"", at_once=at_once)
        assert expected[0] == 201
        assert expected[1].get("owner") in ("alice", None)  # `receive` has no owners
        for name, trailers in TRAILERS.items():
            got = posted(servers[server].port, ALICE, trailers, at_once=at_once)
            assert got == expected or (name in MAY_BE_REFUSED and got[0] == 400), (name, at_once)


@pytest.mark.parametrize("server", [name for name in COMMANDS if name != "changeover receive"])
def test_an_owner_in_a_trailer_is_no_owner(servers: dict[str, Serving], server: str) -> None:
    assert posted(servers[server].port, b"", b"X-User: bob\r\n", at_once=True)[0] == 403


def posted_by_http2(port: int, trailers: list[tuple[str, str]]) -> dict[str, Any]:
    """What the handler got."""
    session = H2Connection(H2Configuration(client_side=True))
    session.initiate_connection()
    pseudo = [(":method", "POST"), (":path", "/files/"), (":scheme", "http"), (":authority", "x")]
    session.send_headers(1, [*pseudo, ("x-user", "alice")])
    session.send_data(1, b"hello")
    session.send_headers(1, trailers, end_stream=True)
    content = b""
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as client:
        while True:
            client.sendall(session.data_to_send())
            for event in session.receive_data(client.recv(65536)):
                if isinstance(event, DataReceived):
                    content += event.data
                if isinstance(event, StreamEnded):
                    seen: dict[str, Any] = json.loads(content)
                    return seen


@pytest.mark.parametrize("server", ["granian", "hypercorn"])
def test_a_trailer_of_http2_changes_nothing(servers: dict[str, Serving], server: str) -> None:
    seen = posted_by_http2(servers[server].port, [("x-user", "bob"), ("tus-resumable", "1.0.0")])
    assert (seen["owner"], seen["size"]) == ("alice", 5)


FLOODS = {
    "fields of one name": CHUNKED + ALICE + b"X-User: bob\r\n" * 160_000 + b"\r\n5\r\nhello\r\n0\r\n\r\n",
    "one long field": CHUNKED + ALICE + b"X: " + b"x" * 2_000_000 + b"\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    "trailers of one name": CHUNKED + ALICE + b"\r\n5\r\nhello\r\n0\r\n" + b"X-User: bob\r\n" * 600_000 + b"\r\n",
}


@pytest.mark.parametrize("server", COMMANDS)
def test_megabytes_of_fields_are_refused_or_dropped_and_hold_up_no_other_client(
    servers: dict[str, Serving], server: str
) -> None:
    """Joined one by one, they cost minutes."""
    for name, flood in FLOODS.items():
        with socket.create_connection(("127.0.0.1", servers[server].port), timeout=PATIENCE) as client:
            with suppress(ConnectionError):  # refused before its end
                client.sendall(flood)
            assert posted(servers[server].port, ALICE, b"", at_once=True)[0] == 201
            with suppress(ConnectionError):
                status = client.recv(12)
                assert status in (b"", b"HTTP/1.1 400", b"HTTP/1.1 431", b"HTTP/1.1 499") or (
                    name.startswith("trailers") and status == b"HTTP/1.1 201"
                )
