"""A response whose upload is deleted meanwhile, and clients that disconnect, under every server of docs/uploads.md."""

from __future__ import annotations

import http.client
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

import pytest
from tests.process.asgi_servers import COMMANDS, PATIENCE, Serving, serving

PART = 4_000_000
PARTS = 5
UNRELATED = 4
"""Descriptors that a server opens once, at the first request or error of a kind."""


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Serving]]:
    with ExitStack() as stack:
        folder = tmp_path_factory.mktemp("servers")
        yield {name: stack.enter_context(serving(name, folder / str(i))) for i, name in enumerate(COMMANDS)}


def ask(port: int, method: str, path: str, body: bytes = b"", **fields: object) -> http.client.HTTPResponse:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    headers = {name.replace("_", "-"): str(value) for name, value in fields.items()}
    connection.request(method, path, body, {"X-User": "alice", "Connection": "close", **headers})
    with connection.getresponse() as response:
        response.read()
        return response


def large_upload(port: int) -> str:
    """The path of a complete upload in several segments, larger than what kernels buffer."""
    place: str = ask(port, "POST", "/files/", upload_complete="?0").headers["location"]
    for number in range(PARTS):
        more = {"upload_offset": number * PART, "content_type": "application/partial-upload"}
        is_last = number == PARTS - 1
        got = ask(port, "PATCH", place, bytes(PART), upload_complete=f"?{int(is_last)}", **more)
        assert got.status == (201 if is_last else 204)
    return place


@contextmanager
def reading(port: int, place: str) -> Iterator[socket.socket]:
    """A client that has read the beginning of the content, and whose kernel takes little more."""
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.settimeout(PATIENCE)
        client.connect(("127.0.0.1", port))
        client.sendall(f"GET {place}/content HTTP/1.1\r\nHost: x\r\nX-User: alice\r\n\r\n".encode())
        assert client.recv(12) == b"HTTP/1.1 200"
        yield client


def rest_of(client: socket.socket) -> int:
    """Bytes until the server closes or resets the connection. Raises TimeoutError."""
    count = 0
    with suppress(ConnectionError):
        while data := client.recv(1_000_000):
            count += len(data)
    return count


def settles(server: Serving, descriptors: int) -> None:
    """At most that many are open soon."""
    until = time.monotonic() + PATIENCE
    while server.descriptors() > descriptors:
        assert time.monotonic() < until
        time.sleep(0.02)


@pytest.mark.parametrize("name", COMMANDS)
def test_a_response_whose_upload_is_deleted_ends_and_leaks_nothing(servers: dict[str, Serving], name: str) -> None:
    server = servers[name]
    descriptors = server.descriptors() + UNRELATED
    for _ in range(UNRELATED + 1):
        place = large_upload(server.port)
        with reading(server.port, place) as client:
            assert ask(server.port, "DELETE", place).status == 204
            assert 0 < rest_of(client) < PART * PARTS
    settles(server, descriptors)


@pytest.mark.parametrize("name", COMMANDS)
def test_clients_that_disconnect_leak_nothing(servers: dict[str, Serving], name: str) -> None:
    server = servers[name]
    place = large_upload(server.port)
    descriptors = server.descriptors() + UNRELATED
    for _ in range(UNRELATED + 1):
        with reading(server.port, place):
            pass
    settles(server, descriptors)
