"""Whose the connections to an instance are; the instance is a socket of this process, its peers are small processes."""

from __future__ import annotations

import os
import pwd
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from math import inf

import pytest

from changeover.kit import tcp
from changeover.model.connections import Connections
from changeover.model.instance import Address, Instance
from changeover.platforms.local.peers import Peers

CLIENT = """
import os, socket, sys
held = socket.create_connection((sys.argv[1], int(sys.argv[2])))
held.send(sys.argv[3].encode())
print(flush=True)
sys.stdin.read()
"""


class Served:
    """An instance of this process, and clients that are processes of their own."""

    def __init__(self, open_until: ExitStack) -> None:
        self._open = open_until
        self.listener = open_until.enter_context(socket.create_server(("127.0.0.1", 0)))
        address = Address("127.0.0.1", self.listener.getsockname()[1])
        self.instance = Instance("web-v1-1", "web", "v1", address, address, pid=os.getpid(), born=0)

    def client(self, sends: str = "") -> int:
        """The pid of a session leader that is connected and accepted."""
        host, port = self.instance.address.host, self.instance.address.port
        process = subprocess.Popen(
            [sys.executable, "-c", CLIENT, host, str(port), sends],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        self._open.enter_context(process)
        self._open.callback(process.kill)
        assert process.stdout is not None
        process.stdout.readline()
        accepted, _ = self.listener.accept()
        self._open.enter_context(accepted)
        if sends:
            accepted.recv(100)
        return process.pid


@pytest.fixture
def served() -> Iterator[Served]:
    with ExitStack() as open_until:
        yield Served(open_until)


def until(look: Callable[[], Connections | None], holds: Callable[[Connections], bool]) -> Connections:
    deadline = time.monotonic() + 10
    while not (seen := look()) or not holds(seen):
        assert time.monotonic() < deadline, seen
    return seen


def test_a_connection_of_a_router_is_told_from_one_of_another_process(served: Served) -> None:
    router, other = served.client(), served.client("GET /")
    peers = Peers()
    for _ in range(2):  # found, then remembered
        seen = until(lambda: peers.of(served.instance, {router}), lambda seen: seen.waiting == 1)
        assert len(seen.routers) == 1
        user = pwd.getpwuid(os.getuid()).pw_name
        (who,) = seen.others
        assert who.endswith(f"(pid {other}, user {user})")


def test_a_connection_of_an_unknown_process_counts_as_one_of_a_router(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its sockets cannot be read, and a router has the same user."""
    router, _ = served.client(), served.client()
    monkeypatch.setattr(tcp, "owners", lambda ends: {end.inode: tcp.Owner("alice") for end in ends})
    seen = Peers().of(served.instance, {router})
    assert seen is not None
    assert (len(seen.routers), dict(seen.others)) == (2, {})


def test_a_user_of_whom_no_router_is_holds_no_connection_of_a_router(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    served.client()
    monkeypatch.setattr(tcp, "owners", lambda ends: {end.inode: tcp.Owner("mallory") for end in ends})
    seen = Peers().of(served.instance, set())
    assert seen is not None
    assert dict(seen.others) == {"a process of user mallory": 1}


def test_a_router_that_may_not_be_looked_into_makes_every_connection_count(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    router = served.client()
    monkeypatch.setattr(tcp, "inodes_of", lambda pids: None)
    seen = Peers().of(served.instance, {router})
    assert seen is not None
    assert len(seen.routers) == 1
    assert not seen.one_process


def test_where_routers_are_outside_of_the_chain_every_process_may_be_one(served: Served) -> None:
    served.client()
    seen = Peers().of(served.instance, None)
    assert seen is not None
    assert (len(seen.routers), dict(seen.others)) == (1, {})


def test_the_connections_of_the_process_that_asks_are_left_out(served: Served) -> None:
    for routers in (None, {os.getpid()}):
        with socket.create_connection((served.instance.address.host, served.instance.address.port)):
            assert Peers().of(served.instance, routers) == Connections((), one_process=True)


def test_a_connection_that_its_client_closed_is_in_flight_no_more(served: Served) -> None:
    with socket.create_connection((served.instance.address.host, served.instance.address.port)) as gone:
        accepted, _ = served.listener.accept()
        gone.send(b"GET /")
    with accepted:
        assert Peers().of(served.instance, None) == Connections((), one_process=True)


def test_a_listener_that_two_processes_share_is_not_served_by_one(served: Served) -> None:
    router = served.client()
    seen = Peers().of(served.instance, {router})
    assert seen is not None
    assert seen.one_process
    command = [sys.executable, "-c", "import sys; print(flush=True); sys.stdin.read()"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, pass_fds=[served.listener.fileno()]) as worker:
        assert worker.stdout is not None
        worker.stdout.readline()
        seen = Peers().of(served.instance, {router})
        worker.kill()
    assert seen is not None
    assert not seen.one_process


def test_a_connection_is_as_old_as_the_look_that_found_it(served: Served) -> None:
    peers = Peers()
    served.client()
    first = peers.of(served.instance, None)
    assert first is not None
    assert [one.age for one in first.routers] == [inf]
    served.client()
    for ages in ([0.0, inf], [1e-9, inf]):
        seen = peers.of(served.instance, None)
        assert seen is not None
        assert all(age >= least for age, least in zip(sorted(one.age for one in seen.routers), ages, strict=True))


def test_a_kernel_that_does_not_answer_is_no_witness(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(port: int, host: str) -> tuple[list[tcp.End], dict[int, tcp.End]]:
        raise PermissionError

    monkeypatch.setattr(tcp, "connections", refuse)
    assert Peers().of(served.instance, set()) is None
