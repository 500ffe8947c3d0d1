"""An HTTP/2 client that does what RFC 9113 asks of it when a server goes away, and no more than that.

httpx is no such client: it gives up the requests that were on their way when GOAWAY comes, answered or not. Here they
are waited for; only requests above the last stream that the server names, which it never looked at, are sent again.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from hpack import Decoder, Encoder
from hyperframe import frame as h2

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


@dataclass
class Answer:
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""


class Client:
    """One connection at a time, kept for as long as the server keeps it. Any break is an error."""

    def __init__(self, url: str, context: ssl.SSLContext, timeout: float) -> None:
        context.set_alpn_protocols(["h2"])
        self._url = urlsplit(url)
        self._context = context
        self._timeout = timeout
        self._connection: _Connection | None = None
        self.connections = 0
        self.refused = 0
        """Requests that a server going away had not looked at."""

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        if self._connection is not None:
            self._connection.close()

    def get(self, paths: Sequence[str]) -> list[Answer]:
        """GET them all at the same time."""
        answers: list[Answer] = []
        while len(answers) < len(paths):
            if self._connection is None:
                self._connection = self._connect()
                self.connections += 1
            got = self._connection.get(paths[len(answers) :])
            if self._connection.last_stream is not None:
                self._connection.close()
                self._connection = None
            answers += got
            self.refused += len(paths) - len(answers)
        return answers

    def _connect(self) -> _Connection:
        host, port = self._url.hostname, self._url.port
        assert host
        raw = socket.create_connection((host, port or 443), self._timeout)
        return _Connection(self._context.wrap_socket(raw, server_hostname=host), self._url.netloc)


class _Connection:
    def __init__(self, socket: ssl.SSLSocket, authority: str) -> None:
        assert socket.selected_alpn_protocol() == "h2"
        self._socket = socket
        self._authority = authority
        self._encoder, self._decoder = Encoder(), Decoder()
        self._next = 1
        self._open: dict[int, Answer] = {}
        self.last_stream: int | None = None
        """The last stream that the server answers, once it has said that it goes away."""
        self._socket.sendall(_PREFACE + h2.SettingsFrame(0).serialize())

    def close(self) -> None:
        self._socket.close()

    def get(self, paths: Sequence[str]) -> list[Answer]:
        """The answers to as many of them as the server looks at, in order."""
        asked = {}
        text = b""
        for path in paths:
            head = h2.HeadersFrame(self._next, flags=["END_HEADERS", "END_STREAM"])
            head.data = self._encoder.encode(
                [(":method", "GET"), (":scheme", "https"), (":authority", self._authority), (":path", path)]
            )
            text += head.serialize()
            asked[self._next] = Answer()
            self._next += 2
        self._open = dict(asked)
        self._socket.sendall(text)
        while any(self.last_stream is None or stream <= self.last_stream for stream in self._open):
            self._take(self._read())
        return [answer for stream, answer in asked.items() if stream not in self._open]

    def _read(self) -> h2.Frame:
        found, length = h2.Frame.parse_frame_header(memoryview(self._exactly(9)))
        found.parse_body(memoryview(self._exactly(length)))
        return found

    def _exactly(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            more = self._socket.recv(size - len(data))
            if not more:
                raise ConnectionError(f"closed with {len(self._open)} answers to come")
            data += more
        return data

    def _take(self, got: h2.Frame) -> None:
        match got:
            case h2.HeadersFrame():
                assert "END_HEADERS" in got.flags
                headers = {str(name): str(value) for name, value in self._decoder.decode(got.data)}
                answer = self._open[got.stream_id]
                answer.status, answer.headers = int(headers[":status"]), headers
            case h2.DataFrame():
                self._open[got.stream_id].body += got.data
                if got.flow_controlled_length:
                    self._socket.sendall(h2.WindowUpdateFrame(0, got.flow_controlled_length).serialize())
            case h2.SettingsFrame() if "ACK" not in got.flags:
                self._socket.sendall(h2.SettingsFrame(0, flags=["ACK"]).serialize())
            case h2.PingFrame() if "ACK" not in got.flags:
                self._socket.sendall(h2.PingFrame(0, got.opaque_data, flags=["ACK"]).serialize())
            case h2.GoAwayFrame():
                assert got.error_code == 0
                self.last_stream = got.last_stream_id
            case h2.RstStreamFrame():
                raise ConnectionError(f"stream {got.stream_id} was reset with error {got.error_code}")
        if isinstance(got, h2.HeadersFrame | h2.DataFrame) and "END_STREAM" in got.flags:
            del self._open[got.stream_id]
