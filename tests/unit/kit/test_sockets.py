"""Free ports, and who is connected to one; on the loopback interface, within this process."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from changeover.kit.sockets import at_unix_socket, can_listen, cannot_listen, free_port, open_connections

HOST = "127.0.0.1"


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server((HOST, free_port(HOST))) as found:
        yield found


def test_a_free_port_can_be_listened_on_and_is_none_that_outgoing_connections_take() -> None:
    port = free_port(HOST)
    assert can_listen(HOST, port)
    assert 20000 <= port < 32000


def test_a_port_that_was_given_already_is_not_given_again() -> None:
    with pytest.raises(OSError, match=r"no free port on 127\.0\.0\.1 between 20000 and 32000"):
        free_port(HOST, range(65536))


def test_a_port_that_somebody_listens_on_is_not_free(listener: socket.socket) -> None:
    port = listener.getsockname()[1]
    assert not can_listen(HOST, port)
    assert cannot_listen(HOST, port) == "Address already in use"


def test_an_address_of_another_machine_cannot_be_listened_on() -> None:
    assert cannot_listen("192.0.2.1", 20000) == "Cannot assign requested address"


def test_connections_count_from_the_handshake_on_until_they_are_closed(listener: socket.socket) -> None:
    port = listener.getsockname()[1]
    assert open_connections(port) == 0
    with socket.create_connection((HOST, port)) as client:
        assert open_connections(port) == 1  # also while nobody has accepted it
        accepted, _ = listener.accept()
        assert open_connections(port) == 1
        client.shutdown(socket.SHUT_WR)
        assert open_connections(port) == 1  # it still waits for its answer
        accepted.close()
        assert open_connections(port) == 0


def test_only_the_side_that_serves_is_counted(listener: socket.socket) -> None:
    # A port of its own: one that the kernel gave away might be the local port of somebody else's connection too.
    own = free_port(HOST)
    with socket.create_connection((HOST, listener.getsockname()[1]), source_address=(HOST, own)):
        assert open_connections(own) == 1  # that socket's own address
        assert open_connections(listener.getsockname()[1]) == 1


def test_a_port_whose_number_ends_alike_is_another(listener: socket.socket) -> None:
    port = listener.getsockname()[1]
    with socket.create_connection((HOST, port)):
        assert open_connections(port & 0xFFF) == 0


def test_connections_to_a_unix_socket_count_from_connect_on_until_they_are_closed(tmp_path: Path) -> None:
    path = str(tmp_path / "a socket")
    assert at_unix_socket(path) is None
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path)
        server.listen()
        assert at_unix_socket(path) == 0
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(path)
            assert at_unix_socket(path) == 1  # nobody has accepted it
            accepted, _ = server.accept()
            assert at_unix_socket(path) == 1
        with accepted:
            assert at_unix_socket(path) == 1  # its request may still be served
        assert at_unix_socket(path) == 0
    assert at_unix_socket(path) is None
