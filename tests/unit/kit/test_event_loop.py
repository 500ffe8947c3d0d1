from __future__ import annotations

import asyncio
import sys

import pytest

from changeover.kit import event_loop


def loop_of_a_server() -> str:
    seen: list[str] = []

    async def server() -> None:
        seen.append(type(asyncio.get_running_loop()).__module__)

    event_loop.run(server())
    return seen[0]


def test_a_server_runs_on_uvloop_where_it_is_installed() -> None:
    assert loop_of_a_server() == "uvloop"


def test_a_server_runs_on_asyncio_where_uvloop_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "uvloop", None)
    assert loop_of_a_server() == "asyncio.unix_events"
