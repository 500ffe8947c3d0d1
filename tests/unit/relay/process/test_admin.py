"""The admin address of a relay: alive, ready, what is in flight, and metrics; and nothing else."""

from __future__ import annotations

import asyncio
import json

import pytest
from tests.process.relayed import relaying

from changeover.relay.process.admin import COUNTER_HELP, AdminServer

ADDRESS = ("127.0.0.1", 9)


def asked(text: str, *, ready: bool = True) -> tuple[int, str]:
    """The status and the content that a request gets."""

    async def go() -> bytes:
        async with relaying(ADDRESS) as relayed:
            admin = AdminServer(relayed.server, lambda: ready)
            server = await asyncio.start_server(admin.serve, "127.0.0.1", 0)
            async with server, asyncio.timeout(5):
                reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
                writer.write(text.encode())
                writer.write_eof()
                received = await reader.read()
                writer.close()
                return received

    head, _, content = asyncio.run(go()).decode().partition("\r\n\r\n")
    return (int(head.split()[1]) if head else 0), content


def get(path: str, *, ready: bool = True) -> tuple[int, str]:
    return asked(f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n", ready=ready)


def test_a_relay_in_lame_duck_is_alive_and_not_ready() -> None:
    assert get("/livez", ready=False) == (200, '{"status": "alive"}')
    assert get("/readyz", ready=False) == (503, '{"status": "draining"}')
    assert get("/readyz") == (200, '{"status": "ready"}')


def test_what_is_in_flight_is_one_object() -> None:
    status, content = get("/inflight")
    assert (status, json.loads(content)) == (200, {"requests": 0, "connections": 0, "uploads": []})


def test_each_counter_has_its_help_and_its_sample() -> None:
    status, content = get("/metrics")
    assert status == 200
    for name, text in COUNTER_HELP.items():
        assert f"# HELP changeover_relay_{name}_total {text}" in content
        assert f"changeover_relay_{name}_total 0.0" in content
    assert "changeover_relay_requests_in_flight 0.0" in content


@pytest.mark.parametrize(
    ("text", "status"),
    [
        ("POST /livez HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n", 405),
        ("GET /nowhere HTTP/1.1\r\nHost: a\r\n\r\n", 404),
        ("GET /livez HTTP/1.1\r\n\r\n", 400),
        ("GET /livez HTTP/1.1\r\nHost: a", 0),
    ],
)
def test_anything_else_is_refused(text: str, status: int) -> None:
    assert asked(text)[0] == status
