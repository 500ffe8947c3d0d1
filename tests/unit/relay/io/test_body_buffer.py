"""What a body holds: its bytes in their order until they are acknowledged, and never more than its share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from changeover.relay.io.body_buffer import BLOCK, IN_MEMORY, Block, BodyBuffer, BufferBudget
from changeover.relay.io.pipes import Pipes

MB = 1_000_000


@pytest.fixture
def pipes() -> Iterator[Pipes]:
    one = Pipes()
    yield one
    one.close()


def content(blocks: list[Block]) -> bytes:
    return b"".join(bytes(piece) for block in blocks for piece in block.pieces)


@given(st.lists(st.integers(1, 9000), max_size=12), st.data())
def test_bytes_stay_in_their_order_until_they_are_acknowledged(sizes: list[int], data: st.DataObject) -> None:
    pipes, budget = Pipes(), BufferBudget(10 * MB, MB, 10 * MB)
    buffer, expected = BodyBuffer(pipes, budget), b""
    for number, size in enumerate(sizes):
        piece = bytes([number]) * size
        if data.draw(st.booleans()):
            buffer.add(piece)
        else:
            buffer.add_all([memoryview(piece)[:1], memoryview(piece)[1:]])
        expected += piece
        acknowledged = data.draw(st.integers(0, len(expected)))
        buffer.drop(acknowledged)
        expected = expected[acknowledged:]
        assert content(buffer.segment(10 * MB)) == expected
        assert (buffer.size, budget.held) == (len(expected), len(expected))
    buffer.close()
    assert (budget.held, budget.bodies) == (0, 0)
    pipes.close()


def test_a_segment_is_whole_blocks_and_one_in_any_case(pipes: Pipes) -> None:
    buffer = BodyBuffer(pipes, BufferBudget(100 * MB, MB, 100 * MB))
    for _ in range(3):
        buffer.add(bytes(BLOCK))
    assert [block.size for block in buffer.segment(10)] == [BLOCK]
    assert [block.size for block in buffer.segment(2 * BLOCK + 5)] == [BLOCK, BLOCK]


def test_bytes_that_come_while_a_segment_is_sent_are_not_added_to_it(pipes: Pipes) -> None:
    buffer = BodyBuffer(pipes, BufferBudget(100 * MB, MB, 100 * MB))
    buffer.add(b"first")
    sent = buffer.segment(MB)
    buffer.add(b"second")
    assert content(sent) == b"first"
    assert content(buffer.segment(MB)) == b"firstsecond"


def test_bodies_share_the_budget_evenly_between_their_bounds() -> None:
    budget = BufferBudget(100, 5, 40)
    shares = []
    for _ in range(30):
        budget.count(1)
        shares.append(budget.share)
    assert (shares[0], shares[1], shares[2], shares[9], shares[-1]) == (40, 40, 33, 10, 5)
    budget.count(-29)
    assert budget.share == 40


def test_there_is_room_within_the_share_and_within_what_all_bodies_leave(pipes: Pipes) -> None:
    budget = BufferBudget(3 * IN_MEMORY, 0, 2 * IN_MEMORY)
    one, other = BodyBuffer(pipes, budget), BodyBuffer(pipes, budget)
    assert one.room() == IN_MEMORY  # in memory; a pipe takes a larger share
    other.add(bytes(3 * IN_MEMORY - 5))
    assert (one.room(), other.room() < 0) == (5, True)
