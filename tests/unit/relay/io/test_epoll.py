"""A channel remembers whether its socket is ready, and one task waits for any number of sockets."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable

import pytest

from changeover.relay.io.epoll import Channel, Epoll, Waker

PATIENCE = 5.0


def with_channel(story: Callable[[Channel, Waker, socket.socket], Awaitable[None]]) -> None:
    async def go() -> None:
        epoll = Epoll()
        ours, theirs = socket.socketpair()
        waker = Waker()
        channel = epoll.channel(ours, waker)
        try:
            async with asyncio.timeout(PATIENCE):
                await story(channel, waker, theirs)
        finally:
            channel.close()
            theirs.close()
            epoll.close()

    asyncio.run(go())


def test_bytes_are_there_after_the_wait_and_none_are_before() -> None:
    async def story(channel: Channel, waker: Waker, peer: socket.socket) -> None:
        assert channel.recv(10) is None
        assert not channel.may_read
        waker.clear()
        peer.send(b"hello")
        await waker.wait()
        assert channel.recv(10) == b"hello"

    with_channel(story)


def test_less_than_was_asked_for_means_that_nothing_more_is_here() -> None:
    async def story(channel: Channel, waker: Waker, peer: socket.socket) -> None:
        peer.send(b"hello")
        assert channel.recv(5) == b"hello"
        assert channel.may_read  # a full read says nothing of what follows
        peer.send(b"abc")
        assert channel.recv(5) == b"abc"
        assert channel.recv(5) is None
        room = memoryview(bytearray(8))
        channel.may_read = True
        assert channel.recv_into(room) is None
        peer.send(b"more")
        channel.may_read = True
        assert channel.recv_into(room) == 4
        assert not channel.may_read

    with_channel(story)


def test_the_end_of_the_peer_is_seen_after_the_bytes_that_it_sent_before() -> None:
    async def story(channel: Channel, waker: Waker, peer: socket.socket) -> None:
        channel.recv(1)
        waker.clear()
        peer.send(b"last")
        peer.shutdown(socket.SHUT_WR)
        while not channel.ended:
            waker.clear()
            await waker.wait()
        assert channel.recv(100) == b"last"
        assert channel.recv(100) == b""

    with_channel(story)


def test_a_full_socket_takes_nothing_until_the_peer_has_read() -> None:
    async def story(channel: Channel, waker: Waker, peer: socket.socket) -> None:
        while channel.send(bytes(65536)):
            pass
        assert channel.send(b"x") == 0
        while not channel.send(b"x"):
            waker.clear()
            assert peer.recv(1 << 20)
            await waker.wait()

    with_channel(story)


def test_a_wake_up_between_clear_and_wait_is_not_lost() -> None:
    async def go() -> None:
        waker = Waker()
        waker.clear()
        waker.wake()
        await asyncio.wait_for(waker.wait(), PATIENCE)

    asyncio.run(go())


def test_look_finds_that_nothing_is_left_after_a_splice() -> None:
    async def story(channel: Channel, waker: Waker, peer: socket.socket) -> None:
        def looked() -> bool:
            channel.may_read = True
            channel.look()
            return channel.may_read

        assert not looked()
        peer.send(b"x")
        assert looked()

    with_channel(story)


def test_a_reset_reaches_the_peer_in_place_of_an_end() -> None:
    async def go() -> None:
        epoll = Epoll()
        with socket.create_server(("127.0.0.1", 0)) as listener, socket.socket() as peer:
            peer.connect(listener.getsockname())
            ours, _ = listener.accept()
            channel = epoll.channel(ours, Waker())
            channel.close(reset=True)
            channel.close()  # a second close is none
            with pytest.raises(ConnectionResetError):
                peer.recv(1)
        epoll.close()

    asyncio.run(go())


def test_a_wait_with_an_action_ends_when_the_action_says_so_and_not_before() -> None:
    async def story(channel: Channel, waker: Waker, peer: socket.socket) -> None:
        received: list[bytes] = []

        def take() -> bool:
            received.append(channel.recv(10) or b"")
            return received[-1] == b"last"

        waker.clear()
        assert channel.recv(10) is None
        waiting = asyncio.ensure_future(waker.wait(take))
        for each in (b"first", b"last"):
            await asyncio.sleep(0)
            assert not waiting.done()
            peer.send(each)
            while received[-1:] != [each]:
                await asyncio.sleep(0)
        await waiting
        assert received == [b"first", b"last"]

    with_channel(story)


def test_an_action_that_fails_ends_the_wait_with_its_error() -> None:
    async def story(_: Channel, waker: Waker, __: socket.socket) -> None:
        waker.clear()
        waiting = asyncio.ensure_future(waker.wait(lambda: bool(1 / 0)))
        await asyncio.sleep(0)
        waker.wake()
        with pytest.raises(ZeroDivisionError):
            await waiting
        waker.wake()  # nobody waits: it is remembered
        await waker.wait(lambda: False)

    with_channel(story)


def test_a_task_can_be_woken_whatever_its_action_says() -> None:
    async def story(_: Channel, waker: Waker, __: socket.socket) -> None:
        waker.clear()
        waiting = asyncio.ensure_future(waker.wait(lambda: False))
        await asyncio.sleep(0)
        waker.wake()
        await asyncio.sleep(0)
        assert not waiting.done()
        waker.wake_task()
        await waiting

    with_channel(story)
