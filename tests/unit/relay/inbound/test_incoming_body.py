"""The body of a request off its connection: the same content for every framing and every cut, and nothing beyond it."""

from __future__ import annotations

import asyncio
import itertools
import os
import socket
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from changeover.http1.chunked import BadChunk, Chunks
from changeover.http1.head import read_request
from changeover.relay.inbound.incoming_body import LARGE, SMALL, SPLICED, ClientGone, IncomingBody
from changeover.relay.io.body_buffer import BodyBuffer, BufferBudget
from changeover.relay.io.epoll import Epoll, Waker
from changeover.relay.io.pipes import Pipes

MB = 1_000_000
NEXT = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


async def taken(framing: bytes, inbox: bytes, pieces: list[bytes]) -> tuple[bytes, bytes]:
    """The content of a body, and what follows it. Raises ClientGone, BadChunk."""
    epoll, pipes = Epoll(), Pipes()
    ours, theirs = socket.socketpair()
    waker = Waker()
    channel = epoll.channel(ours, waker)
    buffer = BodyBuffer(pipes, BufferBudget(100 * MB, MB, 100 * MB))
    head = read_request(b"POST / HTTP/1.1\r\nHost: a\r\n" + framing + b"\r\n\r\n")
    body = IncomingBody(channel, head, inbox)
    sending = asyncio.ensure_future(asyncio.to_thread(_send, theirs, pieces))
    content = b""

    def collect() -> bytes:
        blocks = buffer.segment(100 * MB)
        for block in blocks:
            block.to_memory(pipes)
        taken = b"".join(bytes(piece) for block in blocks for piece in block.pieces)
        buffer.drop(len(taken))
        return taken

    try:
        while not body.ended:
            waker.clear()
            if buffer.room() <= 0:
                content += collect()
            if not body.take(buffer):
                await waker.wait()
        await sending
        after = body.inbox + (channel.recv(MB) or b"" if channel.may_read else b"")
        content += collect()
        assert body.received == len(content)
        return content, after
    finally:
        channel.close()
        await asyncio.wait([sending])
        sending.exception()
        buffer.close()
        pipes.close()
        epoll.close()


def _send(sock: socket.socket, pieces: list[bytes]) -> None:
    with sock:
        for piece in pieces:
            sock.sendall(piece)


def in_chunks(content: bytes, size: int) -> bytes:
    pieces = [content[place : place + size] for place in range(0, len(content), size)]
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


@settings(max_examples=25)
@given(
    st.sampled_from([0, 1, 100, 70_000, 1_500_000, 5_000_000]),
    st.sampled_from([0, 7, SMALL, SPLICED, 20_000, 65_536, LARGE, 400_000]),
    st.lists(st.integers(0, 2_000_000), max_size=4),
    st.integers(0, 40),
)
def test_the_content_is_the_same_however_it_is_framed_and_cut(
    size: int, chunk: int, cuts: list[int], with_head: int
) -> None:
    content = bytes(range(256)) * (size // 256) + bytes(size % 256)
    framing = b"Transfer-Encoding: chunked" if chunk else b"Content-Length: %d" % size
    if chunk and size // chunk > 20_000:
        chunk = 20_000
    stream = (in_chunks(content, chunk) if chunk else content) + NEXT
    places = sorted({0, *(min(cut, len(stream)) for cut in cuts), len(stream)})
    pieces = [stream[begin:end] for begin, end in itertools.pairwise(places)]
    inbox, pieces[0] = pieces[0][:with_head], pieces[0][with_head:]
    assert asyncio.run(taken(framing, inbox, pieces)) == (content, NEXT)


@pytest.mark.parametrize(
    ("framing", "stream"), [(b"Content-Length: 5", b"hell"), (b"Transfer-Encoding: chunked", b"5\r\nh")]
)
def test_a_body_that_breaks_off_is_not_whole(framing: bytes, stream: bytes) -> None:
    with pytest.raises(ClientGone):
        asyncio.run(taken(framing, b"", [stream]))


def test_malformed_chunks_are_refused() -> None:
    with pytest.raises(BadChunk):
        asyncio.run(taken(b"Transfer-Encoding: chunked", b"", [b"5\r\nhello!\r\n0\r\n\r\n"]))


def spliced(monkeypatch: pytest.MonkeyPatch) -> list[int | None]:
    """What each call that splices the contents of uniform chunks returns."""
    counts: list[int | None] = []
    receive = BodyBuffer.receive_chunks

    def counting(self: BodyBuffer, *given: Any) -> tuple[int | None, int, bytes]:
        seen = receive(self, *given)
        counts.append(seen[0])
        return seen

    monkeypatch.setattr(BodyBuffer, "receive_chunks", counting)
    return counts


@pytest.mark.parametrize("size", [SPLICED, SPLICED + 1, 65_536, LARGE - 1])
def test_most_of_a_body_in_uniform_chunks_never_enters_the_process(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    counts = spliced(monkeypatch)
    content = os.urandom(8 * MB)
    assert asyncio.run(taken(b"Transfer-Encoding: chunked", b"", [in_chunks(content, size) + NEXT])) == (content, NEXT)
    assert sum(count or 0 for count in counts) > 4 * MB


@pytest.mark.parametrize(
    "other",
    [
        b"5\r\nhello\r\n",
        b"4000;ext=1\r\n%b\r\n" % bytes(SPLICED),
        b"1\r\nx\r\n" * 9,
        b"04000\r\n%b\r\n" % bytes(SPLICED),
    ],
    ids=["smaller", "an extension", "many", "a zero"],
)
def test_a_chunk_of_another_form_among_uniform_ones_is_decoded(other: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    counts = spliced(monkeypatch)
    uniform = in_chunks(os.urandom(4 * MB), SPLICED)[: -len(b"0\r\n\r\n")]
    stream = uniform + other + uniform + other + b"0\r\nX: trailer\r\n\r\n"
    content, used = Chunks().feed(stream)
    assert used == len(stream)
    expected = b"".join(content)
    assert asyncio.run(taken(b"Transfer-Encoding: chunked", b"", [stream + NEXT])) == (expected, NEXT)
    assert sum(count or 0 for count in counts) > 2 * MB


@pytest.mark.parametrize("bad", [b"\r\n4000\n", b"\r\nzzzz\r\n", b"\n4000\r\n", b"x\r\n4000\r\n"])
def test_malformed_lines_among_uniform_chunks_are_refused(bad: bytes) -> None:
    uniform = in_chunks(bytes(4 * MB), SPLICED)[: -len(b"\r\n0\r\n\r\n")]
    with pytest.raises(BadChunk):
        asyncio.run(taken(b"Transfer-Encoding: chunked", b"", [uniform + bad + uniform]))


def test_uniform_chunks_that_break_off_are_not_whole() -> None:
    stream = in_chunks(bytes(4 * MB), SPLICED)
    for end in (-5, -6, -8, -9000):
        with pytest.raises(ClientGone):
            asyncio.run(taken(b"Transfer-Encoding: chunked", b"", [stream[:end]]))


def test_without_pipes_uniform_chunks_are_read_into_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    counts = spliced(monkeypatch)
    monkeypatch.setattr(Pipes, "get", lambda _: None)
    content = os.urandom(4 * MB)
    assert asyncio.run(taken(b"Transfer-Encoding: chunked", b"", [in_chunks(content, SPLICED) + NEXT])) == (
        content,
        NEXT,
    )
    assert counts
    assert set(counts) == {-1}
