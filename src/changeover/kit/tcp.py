"""The TCP connections of a port as the kernel sees them: which are open, since when each is idle, and whose they are.

It asks sock_diag(7), which answers every user, and /proc for the process at the other end. It reads no payload. An
answer that the kernel refuses is an OSError; it is never an empty list.
"""

from __future__ import annotations

import os
import pwd
import socket
import struct
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address
from pathlib import Path

_ESTABLISHED, _SYN_RECV, _CLOSE_WAIT = 1, 3, 8
_OPEN = (_ESTABLISHED, _SYN_RECV, _CLOSE_WAIT)
"""States in which the other end may still send, or expect bytes."""
_CLOSED_HERE = (4, 9, 11)
"""FIN_WAIT1, LAST_ACK and CLOSING: the process has closed its end, and the other end has not acknowledged that."""
_LISTEN, _TIME_WAIT = 10, 6
_FOUND = [state for state in range(1, 12) if state not in (_LISTEN, _TIME_WAIT)]
_FAMILIES = (socket.AF_INET, socket.AF_INET6)

# linux/netlink.h, linux/sock_diag.h, linux/inet_diag.h
_NETLINK_SOCK_DIAG = 4
_SOCK_DIAG_BY_FAMILY = 20
_REQUEST_DUMP = 0x301
_ERROR, _DONE = 2, 3
_INFO = 2
_BYTECODE = 1
_JUMP, _FROM_AT_LEAST, _FROM_AT_MOST, _TO_AT_LEAST, _TO_AT_MOST = 1, 2, 3, 4, 5
_OPERATION = struct.Struct("=BBH")
_MESSAGE = struct.Struct("=IHHII")
_REQUEST = struct.Struct("=BBBBI48x")
_ATTRIBUTE = struct.Struct("=HH")
_SOCKET = struct.Struct("=BBBB")
_PORTS = struct.Struct(">HH")
_COUNTS = struct.Struct("=IIIII")
_TIMES = struct.Struct("=44xIIII")
_SEGMENTS = struct.Struct("=152xII")

EVERY_ADDRESS = ("", "0.0.0.0", "::", "127.0.0.1", "::1")
"""Hosts that stand for every address of this machine: a server may listen at more than the one it is asked at."""
_DELAYED_ACK = 0.25
"""Seconds within which an end acknowledges what it got (TCP_DELACK_MAX is 0.2 s): a later acknowledgement is a
keep-alive probe."""


@dataclass(frozen=True)
class Traffic:
    """When bytes last passed one end of a connection, in seconds before now, in steps of the kernel's clock (1-10 ms).

    Before any byte, both are the age of the connection.
    """

    sent: float
    received: float
    acknowledged: float
    """When the other end last sent anything, an acknowledgement without bytes included."""
    any_sent: bool
    any_received: bool


@dataclass(frozen=True)
class End:
    """One end of a connection. `inode` is 0 when no process holds it any more."""

    host: str
    other_host: str
    port: int
    other_port: int
    state: int
    unread: int
    """Bytes that its process has not read."""
    unacknowledged: int
    """Bytes sent that the other end has not acknowledged."""
    uid: int
    inode: int
    traffic: Traffic | None
    """None where the kernel does not report it."""

    @property
    def quiet(self) -> float:
        """Seconds since a byte last passed; 0 while bytes are under way, or where the kernel does not report it."""
        seen = self.traffic
        if seen is None or self.unread or self.unacknowledged or self.state != _ESTABLISHED:
            return 0.0
        return min(seen.sent, seen.received)

    @property
    def answered(self) -> bool | None:
        """Whether this end sent the last byte, or none has come from the other end; None if that is not clear.

        The kernel does not know requests. This is also true of an answer that pauses after its first bytes, such as
        server-sent events, and of a body that does not come after `100 Continue`.
        """
        seen = self.traffic
        if seen is None:
            return None
        if not (seen.any_received and seen.any_sent):
            return not seen.any_received
        if seen.sent != seen.received:
            return seen.sent < seen.received
        # Both in one step of the clock: an acknowledgement that came alone, and later, is one of an answer.
        return True if 0 < seen.received - seen.acknowledged < _DELAYED_ACK else None


@dataclass(frozen=True)
class Owner:
    """The user of a connection's end, and its process where this user may look into it."""

    user: str
    pid: int | None = None
    command: str = ""

    def __str__(self) -> str:
        return f"{self.command} (pid {self.pid}, user {self.user})" if self.pid else f"a process of user {self.user}"


def connections(port: int, host: str = "") -> tuple[list[End], dict[int, End]]:
    """The open ends at `port`, also those that no process has accepted yet, and their other ends by their own port.

    `host`: the address that clients connect to; one of `EVERY_ADDRESS`: any. The other ends are those on this machine,
    in any state. Raises OSError.
    """
    both = [end for family in _families(port) for end in _dump(family, _FOUND, _at(port))]
    ends = [end for end in both if end.port == port and end.state in _OPEN]
    others = [end for end in both if end.other_port == port]
    if host not in EVERY_ADDRESS:
        ends = [end for end in ends if _is(end.host, host)]
        others = [end for end in others if _is(end.other_host, host)]
    return ends, {end.port: end for end in others}


def undelivered(port: int, host: str = "") -> int:
    """Connections at `port` that its process has closed, and whose last bytes the other end has not acknowledged.

    The kernel goes on sending them, up to some megabytes to a slow client. `host`: see `connections`. Raises OSError.
    """
    ends = (end for family in _families(port) for end in _dump(family, _CLOSED_HERE, _at(port)))
    own = (end for end in ends if end.port == port and (host in EVERY_ADDRESS or _is(end.host, host)))
    return sum(end.unacknowledged > 1 for end in own)  # one is the end of the connection itself


def _is(address: str, host: str) -> bool:
    """A listener for both families has IPv4 clients at `::ffff:10.0.0.2`."""
    return ip_address(address.removeprefix("::ffff:")) == ip_address(host)


def listeners(port: int) -> set[int]:
    """Inodes of the sockets that listen at `port`. Raises OSError."""
    return {end.inode for family in _FAMILIES for end in _dump(family, [_LISTEN], _at(port))}


def is_here(host: str) -> bool:
    """Whether connections from this address have their other end on this machine."""
    address = ip_address(host)
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return (mapped or address).is_loopback


def inodes_of(pids: Iterable[int]) -> set[int] | None:
    """The sockets that these processes hold; None when one of them may not be looked into."""
    found: set[int] = set()
    for pid in pids:
        try:
            found.update(_inodes(pid))
        except PermissionError:
            return None
        except OSError:
            continue  # it has ended
    return found


def holders() -> dict[int, list[int]]:
    """Inode of a socket -> the processes that hold it; of those that this user may look into."""
    found: dict[int, list[int]] = {}
    for name in os.listdir("/proc"):  # noqa: PTH208
        if name.isdigit():
            with suppress(OSError):  # of another user, or ended
                for inode in set(_inodes(int(name))):
                    found.setdefault(inode, []).append(int(name))
    return found


def owners(wanted: Iterable[End]) -> dict[int, Owner]:
    """Inode -> who holds that end."""
    missing = {end.inode: Owner(_user(end.uid)) for end in wanted if end.inode}
    named = 0
    for entry in Path("/proc").iterdir() if missing else ():
        if named == len(missing):
            break
        if not entry.name.isdigit():
            continue
        try:
            held = missing.keys() & set(_inodes(int(entry.name)))
            command = (entry / "comm").read_text(encoding="utf-8", errors="replace").strip() if held else ""
        except OSError:
            continue  # of another user, or ended
        for inode in held:
            missing[inode] = Owner(missing[inode].user, int(entry.name), command)
        named += len(held)
    return missing


def _inodes(pid: int) -> Iterator[int]:
    folder = f"/proc/{pid}/fd"
    for name in os.listdir(folder):  # noqa: PTH208 (a router has thousands, and pathlib takes five times as long)
        try:
            target = os.readlink(f"{folder}/{name}")  # noqa: PTH115
        except FileNotFoundError:
            continue
        if target.startswith("socket:["):
            yield int(target[8:-1])


def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _families(port: int) -> list[int]:
    """Those of its listeners: the kernel goes through its table of all connections once for each.

    An application that listens at `::` gets IPv4 connections as IPv6 ones, and their clients have IPv4 sockets.
    """
    ipv6 = any(True for _ in _dump(socket.AF_INET6, [_LISTEN], _at(port)))
    ipv4 = any(True for _ in _dump(socket.AF_INET, [_LISTEN], _at(port)))
    return [socket.AF_INET] if ipv4 and not ipv6 else list(_FAMILIES)


def _dump(family: int, states: Iterable[int], only: bytes) -> Iterator[End]:
    mask = sum(1 << state for state in states)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_SOCK_DIAG) as kernel:
        for message in _ask(kernel, family, mask, only):
            yield _end(message)


def _at(port: int) -> bytes:
    """A filter that the kernel runs: from or to this port. A test that fails at the end jumps behind the program."""
    code = b"".join(
        (
            _test(_FROM_AT_LEAST, port, 20),
            _test(_FROM_AT_MOST, port, 12),
            _OPERATION.pack(_JUMP, 4, 20),
            _test(_TO_AT_LEAST, port, 20),
            _test(_TO_AT_MOST, port, 12),
        )
    )
    return _ATTRIBUTE.pack(4 + len(code), _BYTECODE) + code


def _test(operation: int, port: int, otherwise: int) -> bytes:
    return _OPERATION.pack(operation, 8, otherwise) + _OPERATION.pack(0, 0, port)


def _ask(kernel: socket.socket, family: int, states: int, only: bytes) -> Iterator[bytes]:
    body = _REQUEST.pack(family, socket.IPPROTO_TCP, 1 << (_INFO - 1), 0, states) + only
    kernel.send(_MESSAGE.pack(_MESSAGE.size + len(body), _SOCK_DIAG_BY_FAMILY, _REQUEST_DUMP, 1, 0) + body)
    while True:
        answer, at = kernel.recv(1 << 17), 0
        while at < len(answer):
            size, kind, *_ = _MESSAGE.unpack_from(answer, at)
            payload = answer[at + _MESSAGE.size : at + size]
            if kind == _DONE:
                return
            if kind == _ERROR:
                number = -int(struct.unpack_from("=i", payload)[0])
                raise OSError(number, os.strerror(number))
            yield payload
            at += (size + 3) & ~3


def _end(message: bytes) -> End:
    family, state, _, _ = _SOCKET.unpack_from(message)
    own, other = _PORTS.unpack_from(message, 4)
    size = 4 if family == socket.AF_INET else 16
    _, unread, unacknowledged, uid, inode = _COUNTS.unpack_from(message, 52)
    return End(
        host=socket.inet_ntop(family, message[8 : 8 + size]),
        other_host=socket.inet_ntop(family, message[24 : 24 + size]),
        port=own,
        other_port=other,
        state=state,
        unread=unread,
        unacknowledged=unacknowledged,
        uid=uid,
        inode=inode,
        traffic=_traffic(message),
    )


def _traffic(message: bytes) -> Traffic | None:
    at = 72
    while at < len(message):
        size, kind = _ATTRIBUTE.unpack_from(message, at)
        if kind == _INFO and size - 4 >= _SEGMENTS.size:
            info = message[at + 4 : at + size]
            sent, _, received, acknowledged = (value / 1000 for value in _TIMES.unpack_from(info))
            segments_in, segments_out = _SEGMENTS.unpack_from(info)
            return Traffic(sent, received, acknowledged, segments_out > 0, segments_in > 0)
        at += (size + 3) & ~3
    return None
