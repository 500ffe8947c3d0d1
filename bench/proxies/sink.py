"""Sink: an HTTP/1.1 server that takes uploads and throws them away, cheaply: `python sink.py PORT`, on loopback.

Takes plain POSTs and, as an application that speaks the IETF's resumable uploads would, creations, appends and
questions for the offset (draft-ietf-httpbis-resumable-upload). Every byte is copied out of the kernel, into one buffer,
as a receiver that used it would. Refuses nothing and knows no errors: what it does not expect ends it, with a traceback
in the bench's log. Only the framing is checked, and that an append begins where the last one ended.
"""

from __future__ import annotations

import select
import socket
import sys

import httptools

BUFFER = bytearray(1 << 20)
VIEW = memoryview(BUFFER)
BACKLOG = 1024
CHUNKED_HEAD = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"

offsets: dict[bytes, int] = {}
"""Path of an unfinished upload -> bytes taken."""
created = 0


class Connection:
    """One kept connection, one request at a time."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._head = b""
        self._left = 0
        self._chunks: Chunks | None = None

    def readable(self) -> bool:
        """Take in what has arrived; False when the connection has ended."""
        try:
            got = self._socket.recv_into(BUFFER)
        except ConnectionResetError:
            return False
        if not got:
            return False
        if self._left:
            self._left -= got
            assert self._left >= 0, "more than the body"
            if not self._left:
                self._answer()
        elif self._chunks:
            self._feed(VIEW[:got])
        else:
            self._head += VIEW[:got]
            end = self._head.find(b"\r\n\r\n")
            if end > 0:
                self._begin(self._head[:end], self._head[end + 4 :])
                self._head = b""
        return True

    def _begin(self, head: bytes, body: bytes) -> None:
        request, *lines = head.split(b"\r\n")
        self._method, self._path, _ = request.split(b" ")
        self._fields = {name.lower(): value.strip() for name, _, value in (line.partition(b":") for line in lines)}
        if b"transfer-encoding" in self._fields:
            self._chunks = Chunks()
            self._feed(body)
            return
        self._length = int(self._fields.get(b"content-length", 0))
        self._left = self._length - len(body)
        assert self._left >= 0, "more than the body"
        if not self._left:
            self._answer()

    def _feed(self, data: bytes | memoryview) -> None:
        assert self._chunks
        self._chunks.parser.feed_data(data)
        if self._chunks.complete:
            self._length = self._chunks.length
            self._chunks = None
            self._answer()

    def _answer(self) -> None:
        self._socket.send(answer(self._method, self._path, self._fields, self._length))


class Chunks:
    """A chunked body being counted."""

    def __init__(self) -> None:
        self.length = 0
        self.complete = False
        self.parser = httptools.HttpRequestParser(self)
        self.parser.feed_data(CHUNKED_HEAD)

    def on_body(self, data: bytes) -> None:
        self.length += len(data)

    def on_message_complete(self) -> None:
        self.complete = True


def answer(method: bytes, path: bytes, fields: dict[bytes, bytes], length: int) -> bytes:
    """The response to a complete request."""
    global created
    complete = fields.get(b"upload-complete")
    if method == b"HEAD":
        fields_sent = b"Upload-Offset: %d\r\nUpload-Complete: ?0\r\nCache-Control: no-store\r\n" % offsets[path]
        return b"HTTP/1.1 204 No Content\r\n%b\r\n" % fields_sent
    if complete is None:
        return b"HTTP/1.1 201 Created\r\nContent-Length: 3\r\n\r\nok\n"
    if method == b"POST":
        created += 1
        path = b"/files/%d" % created
        offsets[path] = length
        fields_sent = b"Location: %b\r\nUpload-Offset: %d\r\nUpload-Complete: ?0\r\n" % (path, length)
        return b"HTTP/1.1 201 Created\r\n%bContent-Length: 0\r\n\r\n" % fields_sent
    assert offsets[path] == int(fields[b"upload-offset"]), f"append at {fields}, not at {offsets[path]}"
    offsets[path] += length
    if complete == b"?0":
        return b"HTTP/1.1 204 No Content\r\nUpload-Offset: %d\r\nUpload-Complete: ?0\r\n\r\n" % offsets[path]
    fields_sent = b"Upload-Offset: %d\r\nUpload-Complete: ?1\r\n" % offsets.pop(path)
    return b"HTTP/1.1 201 Created\r\n%bContent-Length: 3\r\n\r\nok\n" % fields_sent


def main(port: int) -> None:
    listener = socket.create_server(("127.0.0.1", port), backlog=BACKLOG)
    poll = select.epoll()
    poll.register(listener.fileno(), select.EPOLLIN)
    connections: dict[int, tuple[Connection, socket.socket]] = {}
    while True:
        for fd, _ in poll.poll():
            if fd == listener.fileno():
                accepted, _ = listener.accept()
                accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                connections[accepted.fileno()] = (Connection(accepted), accepted)
                poll.register(accepted.fileno(), select.EPOLLIN)
            elif not connections[fd][0].readable():
                connections.pop(fd)[1].close()


if __name__ == "__main__":
    main(int(sys.argv[1]))
