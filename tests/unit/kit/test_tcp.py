"""Connections as the kernel shows them, on the loopback interface, within this process."""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

import pytest

from changeover.kit import tcp
from changeover.kit.tcp import End, Owner, Traffic


@dataclass
class Pair:
    """A connection: the server's socket, and the client's."""

    server: socket.socket
    client: socket.socket
    port: int

    @property
    def end(self) -> End:
        (found,), _ = tcp.connections(self.port)
        return found

    def until(self, answered: bool | None, *, quiet: float = 0.0) -> End:
        deadline = time.monotonic() + 10
        while not ((end := self.end).answered is answered and end.quiet >= quiet):
            assert time.monotonic() < deadline, end
        return end


@pytest.fixture(params=["127.0.0.1", "::1", "::"])
def pair(request: pytest.FixtureRequest) -> Iterator[Pair]:
    family = socket.AF_INET6 if ":" in request.param else socket.AF_INET
    both = request.param == "::"
    with socket.create_server((request.param, 0), family=family, dualstack_ipv6=both) as listener:
        port = listener.getsockname()[1]
        with socket.create_connection(("127.0.0.1" if both else request.param, port)) as client:
            server, _ = listener.accept()
            with server:
                yield Pair(server, client, port)


def test_a_connection_on_which_nothing_was_sent_waits_for_no_answer(pair: Pair) -> None:
    end = pair.until(True, quiet=0.02)
    assert tcp.is_here(end.other_host)
    assert end.other_port == pair.client.getsockname()[1]


def test_bytes_that_the_server_has_not_read_are_under_way(pair: Pair) -> None:
    pair.client.send(b"GET / HTTP/1.1")
    assert pair.until(False).quiet == 0.0


def test_a_request_waits_for_its_answer_however_long_that_takes(pair: Pair) -> None:
    pair.client.send(b"GET / HTTP/1.1")
    pair.server.recv(100)
    pair.until(False, quiet=0.05)


def test_an_answer_that_the_client_has_makes_it_idle(pair: Pair) -> None:
    pair.client.send(b"GET / HTTP/1.1")
    pair.server.recv(100)
    pair.until(False, quiet=0.03)  # later than one step of the kernel's clock
    pair.server.send(b"HTTP/1.1 204")
    pair.client.recv(100)
    pair.until(True, quiet=0.03)


TRAFFIC = Traffic(sent=9.0, received=9.0, acknowledged=9.0, any_sent=True, any_received=True)
END = End("127.0.0.1", "127.0.0.1", 1, 2, 1, 0, 0, 0, 3, TRAFFIC)


def test_an_answer_in_the_same_moment_as_its_request_could_as_well_be_the_one_before() -> None:
    assert END.answered is None
    assert END.quiet == 9.0


def test_an_acknowledgement_that_comes_alone_is_one_of_the_answer() -> None:
    assert replace(END, traffic=replace(TRAFFIC, acknowledged=8.96)).answered is True


def test_a_keep_alive_probe_acknowledges_no_answer() -> None:
    assert replace(END, traffic=replace(TRAFFIC, acknowledged=2.0)).answered is None


def test_where_the_kernel_reports_no_times_nothing_is_idle() -> None:
    end = replace(END, traffic=None)
    assert (end.answered, end.quiet) == (None, 0.0)


@pytest.mark.parametrize("change", [{"unread": 1}, {"unacknowledged": 1}, {"state": 8}])
def test_bytes_under_way_and_a_client_that_closed_its_side_are_not_quiet(change: dict[str, int]) -> None:
    assert replace(END, **change).quiet == 0.0  # type: ignore[arg-type]


def test_the_other_end_is_found_with_the_process_that_holds_it(pair: Pair) -> None:
    (other,) = tcp.connections(pair.port)[1].values()
    assert other.inode == os.fstat(pair.client.fileno()).st_ino
    assert other.inode in (tcp.inodes_of([os.getpid()]) or ())
    owner = tcp.owners([other])[other.inode]
    assert owner.pid == os.getpid()
    assert str(owner).endswith(f"(pid {os.getpid()}, user {owner.user})")


def test_a_process_that_may_not_be_looked_into_is_named_by_its_user() -> None:
    assert str(Owner("alice")) == "a process of user alice"


def test_an_end_that_its_process_closed_has_no_holder(pair: Pair) -> None:
    pair.client.close()
    assert all(other.inode == 0 for other in tcp.connections(pair.port)[1].values())
    assert pair.end.quiet == 0.0


def test_bytes_that_the_kernel_still_sends_for_a_closed_connection_are_undelivered(pair: Pair) -> None:
    host = pair.server.getsockname()[0].removeprefix("::ffff:")
    pair.server.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        while True:
            pair.server.send(b"x" * 65536)  # more than the client's kernel takes
    assert tcp.undelivered(pair.port) == 0, "the connection is open"
    pair.server.close()
    assert tcp.connections(pair.port)[0] == []
    assert tcp.undelivered(pair.port) == tcp.undelivered(pair.port, host) == 1
    assert tcp.undelivered(pair.port, "127.9.9.9") == 0
    while pair.client.recv(1 << 20):
        pass
    deadline = time.monotonic() + 40
    while tcp.undelivered(pair.port):
        assert time.monotonic() < deadline


def test_a_connection_that_closes_with_nothing_to_send_is_not_undelivered(pair: Pair) -> None:
    pair.server.close()
    assert tcp.undelivered(pair.port) == 0


@pytest.mark.parametrize(
    ("host", "here"), [("127.0.0.5", True), ("::1", True), ("::ffff:127.0.0.1", True), ("192.0.2.1", False)]
)
def test_the_loopback_addresses_are_this_machine(host: str, here: bool) -> None:
    assert tcp.is_here(host) is here


def test_a_process_that_has_ended_holds_nothing() -> None:
    assert tcp.inodes_of([2**22 + 1]) == set()


def test_two_servers_at_one_port_of_different_addresses_are_counted_apart() -> None:
    with socket.create_server(("127.1.2.3", 0)) as first:
        port = first.getsockname()[1]
        with (
            socket.create_server(("127.1.2.4", port)) as second,
            socket.create_connection(("127.1.2.3", port)),
            socket.create_connection(("127.1.2.4", port)),
            socket.create_connection(("127.1.2.4", port)),
        ):
            assert second.fileno() >= 0
            counts = {host: len(tcp.connections(port, host)[0]) for host in ("127.1.2.3", "127.1.2.4")}
            assert counts == {"127.1.2.3": 1, "127.1.2.4": 2}
            assert {len(tcp.connections(port, host)[0]) for host in tcp.EVERY_ADDRESS} == {3}


def test_a_listener_for_both_families_is_found_by_its_ipv4_address() -> None:
    with socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True) as listener:
        port = listener.getsockname()[1]
        with socket.create_connection(("127.1.2.3", port)):
            assert len(tcp.connections(port, "127.1.2.3")[0]) == 1
            assert tcp.connections(port, "127.1.2.4")[0] == []
