"""GETs at a constant rate over kept TLS connections, evenly spaced, from one thread.

A request is due when the schedule says, whatever the responses do, and its latency counts from then: a server that
holds up requests cannot hide that. Tools that pace each connection by itself send a burst and measure its queue.
Refuses a response that is not 200, and a connection that is closed before its response.
"""

from __future__ import annotations

import select
import socket
import ssl
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Self

import httptools

PATIENCE = 10.0
"""Seconds without any response until a run has failed."""


@dataclass
class Sent:
    """Seconds from when each request was due.

    Until its response: `kept` over a connection that was open, `opened` with a handshake before it. Until it was sent
    although a connection was free: `late`, the error of the load itself.
    """

    kept: list[float] = field(default_factory=list)
    opened: list[float] = field(default_factory=list)
    late: list[float] = field(default_factory=list)


class Load:
    """`clients` connections to each edge, which stay open; `warm` opens them."""

    def __init__(self, edges: Sequence[str], path: str, clients: int) -> None:
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        self._poll = select.epoll()
        # In turn, so that neither an edge nor a connection gets more than its share.
        self._clients = [_Client(edge, path, context, self._poll) for _ in range(clients) for edge in edges]
        self._free = deque[_Client]()
        self._busy: dict[int, _Client] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for client in self._clients:
            client.close()
        self._poll.close()

    def warm(self, rate: float, seconds: float) -> None:
        """Send as `run` does, and open the connections one by one: those of real clients do not end all at once."""
        for client in self._clients:
            self._free.appendleft(client)
            self.run(rate, seconds / len(self._clients))

    def run(self, rate: float, seconds: float) -> Sent:
        """Send `rate` requests a second, at least one, and wait for every response."""
        sent, due = Sent(), deque[float]()
        number, total = 0, max(1, round(rate * seconds))
        began = heard = time.perf_counter()
        while number < total or due or self._busy:
            now = time.perf_counter()
            while number < total and (at := began + number / rate) <= now:
                number += 1
                due.append(at)
                if self._free:
                    sent.late.append(now - at)
            while due and self._free:
                client = self._free.popleft()
                client.begin(due.popleft(), sent)
                self._busy[client.fd] = client
            if now - heard > PATIENCE:
                raise OSError(f"no response for {PATIENCE:.0f} s")
            # epoll_wait(2) rounds its timeout up to a millisecond, and select(2) does not.
            wait = began + number / rate - time.perf_counter() if number < total else PATIENCE
            if select.select([self._poll.fileno()], (), (), max(0.0, wait))[0]:
                for fd, _ in self._poll.poll(0):
                    if fd not in self._busy:
                        raise OSError("a connection was closed while it carried no request")
                    if self._busy[fd].answered():
                        self._free.append(self._busy.pop(fd))
                        heard = now
        return sent


class _Client:
    """One connection after the other, with one request at a time."""

    def __init__(self, edge: str, path: str, context: ssl.SSLContext, poll: select.epoll) -> None:
        host, _, port = edge.rpartition(":")
        self._place = (host, int(port))
        self._request = f"GET {path} HTTP/1.1\r\nHost: {edge}\r\n\r\n".encode()
        self._context, self._poll = context, poll
        self._tls: ssl.SSLSocket | None = None
        self._handshaken = False
        self.fd = -1

    def begin(self, due: float, sent: Sent) -> None:
        self._due, self._complete = due, False
        self._into = sent.kept if self._tls else sent.opened
        self._parser = httptools.HttpResponseParser(self)
        if self._tls:
            self._tls.send(self._request)
            return
        connection = socket.create_connection(self._place)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.setblocking(False)
        self._tls = self._context.wrap_socket(connection, do_handshake_on_connect=False)
        self._handshaken, self.fd = False, self._tls.fileno()
        self._poll.register(self.fd, select.EPOLLIN)
        self._shake_hands()

    def _shake_hands(self) -> None:
        assert self._tls
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            return
        self._handshaken = True
        self._tls.send(self._request)

    def answered(self) -> bool:
        """Takes in what has arrived; whether that ended the request."""
        assert self._tls
        if not self._handshaken:
            self._shake_hands()
            return False
        while (
            not self._complete
        ):  # a TLS record at a time, and epoll does not know of those that were read with another
            try:
                data = self._tls.recv(65536)
            except ssl.SSLWantReadError:
                return False
            if not data:
                raise OSError("a connection was closed before the response")
            self._parser.feed_data(data)
        self._into.append(time.perf_counter() - self._due)
        if not self._keeps:
            self.close()
        return True

    def on_message_complete(self) -> None:
        if (status := self._parser.get_status_code()) != 200:
            raise OSError(f"a request was answered with {status}")
        self._complete, self._keeps = True, self._parser.should_keep_alive()

    def close(self) -> None:
        if self._tls:
            self._tls.close()
            self._tls = None
