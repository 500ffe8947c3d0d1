"""What a request tells the next hop, when it asks for its body, and when it gives up a silent client."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable

import pytest

from changeover.http1.head import read_request
from changeover.relay.config import Pooling, RelayConfig, RelayTiming
from changeover.relay.inbound.incoming_body import IncomingBody
from changeover.relay.io.body_buffer import BodyBuffer, BufferBudget
from changeover.relay.io.epoll import Epoll, Waker
from changeover.relay.io.pipes import Pipes
from changeover.relay.io.spool import SpoolBudget
from changeover.relay.outbound.upstream import Upstream
from changeover.relay.paths.request import LOOP, ClientRequest, ClientTooSlow, RelayContext, RequestRefused


def with_request(
    fields: str,
    check: Callable[[ClientRequest, socket.socket], None],
    *,
    peer: bytes = b"10.0.0.1",
    silent: float = 0.0,
    leaving: bool = False,
) -> None:
    """A POST with these fields whose client sent its last byte `silent` seconds ago."""

    async def go() -> None:
        epoll, pipes, waker = Epoll(), Pipes(), Waker()
        ours, client = socket.socketpair()
        config = RelayConfig(("127.0.0.1", 9), timing=RelayTiming(body=60.0))
        budget = BufferBudget(10_000_000, 1000, 10_000_000)
        relay = RelayContext(config, Upstream("127.0.0.1", 9, epoll, Pooling()), pipes, budget, SpoolBudget(0, 0))
        channel, buffer = epoll.channel(ours, waker), BodyBuffer(pipes, budget)
        head = read_request(f"POST /upload HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\n".encode())
        now = time.monotonic() - silent
        body = IncomingBody(channel, head, b"")
        request = ClientRequest(relay, channel, waker, head, body, buffer, peer, now, now, lambda: leaving)
        try:
            with client:
                client.settimeout(5)
                check(request, client)
        finally:
            buffer.close()
            channel.close()
            pipes.close()
            epoll.close()

    asyncio.run(go())


def passed(request: ClientRequest) -> dict[str, str]:
    return {name.decode().lower(): value.decode() for name, value in request.passed_on()}


def test_the_next_hop_learns_the_relay_and_the_client_and_not_the_framing() -> None:
    def check(request: ClientRequest, _: socket.socket) -> None:
        fields = passed(request)
        assert fields["via"].startswith("1.1 changeover-")
        assert fields["x-forwarded-for"] == "10.0.0.1"
        assert not fields.keys() & {"content-length", "expect"}

    with_request("Content-Length: 5\r\nExpect: 100-continue", check)


def test_an_address_is_added_to_those_that_are_known() -> None:
    def check(request: ClientRequest, _: socket.socket) -> None:
        assert passed(request)["x-forwarded-for"] == "192.0.2.1, 10.0.0.1"

    with_request("Content-Length: 5\r\nX-Forwarded-For: 192.0.2.1", check)


def test_without_an_address_what_is_known_is_passed_on_as_it_is() -> None:
    def check(request: ClientRequest, _: socket.socket) -> None:
        assert passed(request)["x-forwarded-for"] == "192.0.2.1"

    with_request("Content-Length: 5\r\nX-Forwarded-For: 192.0.2.1", check, peer=b"")


def test_a_request_that_goes_round_in_a_loop_is_refused() -> None:
    def check(request: ClientRequest, _: socket.socket) -> None:
        with pytest.raises(RequestRefused, match="goes round in a loop") as refused:
            request.passed_on()
        assert refused.value.status == 508

    via = ", ".join(["1.1 changeover-a"] * LOOP)
    with_request(f"Content-Length: 5\r\nVia: {via}", check)


def test_a_client_that_waits_for_100_gets_it_once() -> None:
    def check(request: ClientRequest, client: socket.socket) -> None:
        request.send_continue()
        request.send_continue()
        assert client.recv(1000) == b"HTTP/1.1 100 Continue\r\n\r\n"

    with_request("Content-Length: 5\r\nExpect: 100-continue", check)


def test_a_client_that_has_begun_its_body_gets_no_100() -> None:
    def check(request: ClientRequest, client: socket.socket) -> None:
        client.send(b"he")
        request.take()
        request.send_continue()
        client.setblocking(False)
        with pytest.raises(BlockingIOError):
            client.recv(1000)

    with_request("Content-Length: 5\r\nExpect: 100-continue", check)


def test_a_silent_client_is_given_up_and_one_that_sends_is_not() -> None:
    def silent(request: ClientRequest, _: socket.socket) -> None:
        with pytest.raises(ClientTooSlow, match="the client sent no byte of the body for 61 s") as refused:
            request.take()
        assert refused.value.status == 408

    def sends(request: ClientRequest, client: socket.socket) -> None:
        client.send(b"he")
        assert request.take()
        assert not request.take()

    with_request("Content-Length: 5", silent, silent=61.0)
    with_request("Content-Length: 5", sends, silent=61.0)


@pytest.mark.parametrize(
    ("fields", "leaving", "last"),
    [("Content-Length: 0", False, False), ("Content-Length: 0", True, True), ("Connection: close", False, True)],
)
def test_the_last_request_is_one_whose_client_or_relay_leaves(fields: str, leaving: bool, last: bool) -> None:
    def check(request: ClientRequest, _: socket.socket) -> None:
        assert request.last is last

    with_request(fields, check, leaving=leaving)


def test_a_body_that_has_not_ended_makes_its_request_the_last() -> None:
    def check(request: ClientRequest, _: socket.socket) -> None:
        assert request.last

    with_request("Content-Length: 5", check)
