"""Pipes move bytes from socket to socket, are used again empty, and are done without where the kernel gives none."""

from __future__ import annotations

import os
import resource
import socket
from collections.abc import Iterator

import pytest

from changeover.relay.io.pipes import IDLE, POSSIBLE, Pipe, Pipes

pytestmark = pytest.mark.skipif(not POSSIBLE, reason="this kernel has no splice or tee")


@pytest.fixture
def pipes() -> Iterator[Pipes]:
    found = Pipes()
    yield found
    found.close()


def taken(pipes: Pipes) -> Pipe:
    pipe = pipes.get()
    assert pipe is not None
    return pipe


def test_bytes_go_from_one_socket_to_another_by_way_of_a_copy(pipes: Pipes) -> None:
    (inward, client), (outward, server) = socket.socketpair(), socket.socketpair()
    with inward, client, outward, server:
        first, copy = taken(pipes), taken(pipes)
        client.send(b"hello")
        assert first.fill(inward.fileno(), 100) == first.size == 5
        assert first.copy_to(copy) == copy.size == 5
        assert copy.pour(outward.fileno()) == 5
        assert (server.recv(100), copy.size) == (b"hello", 0)
        assert (first.read(), first.size) == (b"hello", 0)
        pipes.put(first)
        pipes.put(copy)


def test_an_empty_socket_blocks_and_a_closed_one_ends(pipes: Pipes) -> None:
    ours, theirs = socket.socketpair()
    with ours:
        ours.setblocking(False)
        pipe = taken(pipes)
        with pytest.raises(BlockingIOError):
            pipe.fill(ours.fileno(), 100)
        theirs.close()
        assert pipe.fill(ours.fileno(), 100) == 0
        pipes.put(pipe)


def test_a_pipe_that_was_returned_is_used_again_and_is_empty(pipes: Pipes) -> None:
    pipe = taken(pipes)
    pipe.size += os.write(pipe.w, b"left over")
    pipe.narrow = True
    pipes.put(pipe)
    again = taken(pipes)
    assert again is pipe
    assert (again.size, again.narrow) == (0, False)
    assert pipes.open == 1
    pipes.put(again)


def test_bytes_at_the_head_are_dropped_and_the_rest_stays(pipes: Pipes) -> None:
    pipe = taken(pipes)
    pipe.size += os.write(pipe.w, b"headrest")
    pipes.drop(pipe, 4)
    assert (pipe.size, pipe.read()) == (4, b"rest")
    pipes.put(pipe)


def test_more_idle_pipes_than_are_kept_are_closed(pipes: Pipes) -> None:
    number = IDLE + 1
    made = [pipe for pipe in (pipes.get() for _ in range(number)) if pipe is not None]
    for pipe in made:
        pipes.put(pipe)
    assert pipes.open == min(len(made), IDLE)


def test_without_descriptors_there_is_no_pipe_and_the_refusal_is_counted(pipes: Pipes) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest = os.dup(0)
    os.close(lowest)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, hard))
    try:
        assert pipes.get() is None
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert (pipes.refused, pipes.open) == (1, 0)
