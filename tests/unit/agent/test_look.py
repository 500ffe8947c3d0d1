"""What the agent counts: the software, and the kernel, which ends with the machine."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import Any

import pytest

from changeover.agent.look import Software
from changeover.hops.questions import Questions
from changeover.kit.direct_http import DirectClient
from changeover.model.instance import Address, InFlight, Instance


@pytest.mark.parametrize("own", [InFlight(0, 0), None])
def test_the_end_of_a_response_that_is_under_way_holds_the_machine(own: InFlight | None) -> None:
    async def count(client: Any, instance: Instance, at: str) -> InFlight | None:
        return own

    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = Address(*listener.getsockname())
        software = Software(Instance("vm-1", "", "", address, address), Questions("", count), DirectClient(), "")
        with socket.create_connection(listener.getsockname()) as client:
            server, _ = listener.accept()
            with server, contextlib.suppress(BlockingIOError):
                server.setblocking(False)
                while True:
                    server.send(b"x" * 65536)
            counts = asyncio.run(software.counts())
            assert counts.highest.connections == 1, "the software has closed the connection"
            while client.recv(1 << 20):
                pass

    async def until_delivered() -> None:
        async with asyncio.timeout(40):
            while (await software.counts()).highest.connections:
                await asyncio.sleep(0.01)

    asyncio.run(until_delivered())
