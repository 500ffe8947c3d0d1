"""A notice of the machine's end arrives at once, ends when it does not hold any more, and its absence is told."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest
from tests.process.agents import MetadataServer

from changeover.agent.metadata import NOTICES, Metadata, MetadataTiming
from changeover.kit.direct_http import DirectClient

QUICK = MetadataTiming(wait=5, grace=5.0, absent=0.01, retry=0.01, rarest=0.02)
Story = Callable[[MetadataServer, Metadata, "asyncio.Queue[tuple[str, bool]]"], Awaitable[None]]


def run(
    story: Story,
    monkeypatch: pytest.MonkeyPatch,
    *,
    host: str = "",
    server: MetadataServer | None = None,
    timing: MetadataTiming = QUICK,
) -> None:
    async def go() -> None:
        there = server or MetadataServer()
        async with there.running() as address, asyncio.timeout(20):
            monkeypatch.setenv("GCE_METADATA_HOST", host or address)
            notices: asyncio.Queue[tuple[str, bool]] = asyncio.Queue()
            watched = Metadata(DirectClient(), lambda words, on: notices.put_nowait((words, on)), timing)
            running = asyncio.ensure_future(watched.watch())
            try:
                await story(there, watched, notices)
            finally:
                running.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await running

    asyncio.run(go())


async def first(notices: asyncio.Queue[tuple[str, bool]]) -> dict[str, bool]:
    """What each key says when the watch begins."""
    return dict([await notices.get() for _ in NOTICES])


async def until(holds: Callable[[], bool]) -> None:
    while not holds():
        await asyncio.sleep(0.005)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("preempted", "TRUE"),
        ("shutdown-details/stop-state", "PENDING_STOP"),
        ("shutdown-details/stop-state", "STOPPING"),
        ("maintenance-event", "TERMINATE_ON_HOST_MAINTENANCE"),
    ],
)
def test_each_notice_begins_and_ends(monkeypatch: pytest.MonkeyPatch, key: str, value: str) -> None:
    async def story(server: MetadataServer, watched: Metadata, notices: asyncio.Queue[tuple[str, bool]]) -> None:
        assert set((await first(notices)).values()) == {False}
        before = server.values.get(key)
        await server.set(key, value)
        assert await notices.get() == (NOTICES[key][1], True)
        await server.set(key, before)
        assert await notices.get() == (NOTICES[key][1], False)
        assert watched.state == "watched"

    run(story, monkeypatch)


@pytest.mark.parametrize(("key", "value"), [("maintenance-event", "MIGRATE_ON_HOST_MAINTENANCE"), ("preempted", "")])
def test_other_values_are_no_notice(monkeypatch: pytest.MonkeyPatch, key: str, value: str) -> None:
    async def story(server: MetadataServer, watched: Metadata, notices: asyncio.Queue[tuple[str, bool]]) -> None:
        await first(notices)
        asked = server.asked.count(key)
        await server.set(key, value)
        await until(lambda: server.asked.count(key) > asked)
        assert notices.empty()

    run(story, monkeypatch)


def test_a_notice_from_before_the_agent_began_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    server = MetadataServer()
    server.values["preempted"] = "TRUE"

    async def story(server: MetadataServer, watched: Metadata, notices: asyncio.Queue[tuple[str, bool]]) -> None:
        assert (await first(notices))["the VM is being preempted"] is True

    run(story, monkeypatch, server=server)


def test_a_key_without_a_change_is_asked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    async def story(server: MetadataServer, watched: Metadata, notices: asyncio.Queue[tuple[str, bool]]) -> None:
        await first(notices)
        key = "shutdown-details/stop-state"  # absent, and so asked again and again
        await until(lambda: server.asked.count(key) > 10)
        assert server.asked.count("preempted") == 2  # the first answer, and the one that waits

    run(story, monkeypatch)


def test_without_a_metadata_server_its_state_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    async def story(server: MetadataServer, watched: Metadata, notices: asyncio.Queue[tuple[str, bool]]) -> None:
        assert watched.state == "not watched: 127.0.0.1:9 has not answered yet"
        await until(lambda: "Connection refused" in watched.state)
        assert notices.empty()

    run(story, monkeypatch, host="127.0.0.1:9")


def test_another_server_in_its_place_is_not_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    server = MetadataServer()
    server.flavor = False
    server.values["preempted"] = "TRUE"

    async def story(server: MetadataServer, watched: Metadata, notices: asyncio.Queue[tuple[str, bool]]) -> None:
        await until(lambda: "is not Google's metadata server" in watched.state)
        assert notices.empty()
        server.flavor = True
        assert (await first(notices))["the VM is being preempted"] is True
        assert watched.state == "watched"

    run(story, monkeypatch, server=server)


def test_a_server_that_fails_takes_back_no_notice_and_is_soon_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """It resets what it held; what it has to say after that is found although no change happened meanwhile."""
    server = MetadataServer()

    async def go() -> None:
        notices: asyncio.Queue[tuple[str, bool]] = asyncio.Queue()
        async with asyncio.timeout(40):
            async with server.running() as address:
                monkeypatch.setenv("GCE_METADATA_HOST", address)
                watched = Metadata(DirectClient(), lambda words, on: notices.put_nowait((words, on)), QUICK)
                running = asyncio.ensure_future(watched.watch())
                await first(notices)
                await server.set("maintenance-event", "TERMINATE_ON_HOST_MAINTENANCE")
                assert await notices.get() == (NOTICES["maintenance-event"][1], True)
            await until(lambda: watched.state.startswith("not watched"))
            assert notices.empty()
            server.values["preempted"] = "TRUE"
            async with server.running(int(address.rpartition(":")[2])):
                assert await notices.get() == ("the VM is being preempted", True)
                await until(lambda: watched.state == "watched")
                assert notices.empty()
                running.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await running

    asyncio.run(go())


@pytest.mark.parametrize("failing", [{"status": "503 Service Unavailable"}, {"silent": True}])
def test_errors_and_silence_of_the_server_are_no_end_of_a_notice(
    monkeypatch: pytest.MonkeyPatch, failing: dict[str, object]
) -> None:
    server = MetadataServer()
    server.values["preempted"] = "TRUE"

    async def story(server: MetadataServer, watched: Metadata, notices: asyncio.Queue[tuple[str, bool]]) -> None:
        assert (await first(notices))["the VM is being preempted"] is True
        for name, value in failing.items():
            setattr(server, name, value)
        for key in server.values:  # ends the requests that it holds
            await server.set(key, server.values[key] + " ")
        await until(lambda: watched.state.startswith("not watched"))
        assert notices.empty()

    run(story, monkeypatch, server=server, timing=replace(QUICK, wait=1, grace=0.5))


def test_a_server_that_once_answered_is_missed_within_the_notice_of_a_preemption() -> None:
    """A preempted VM has 30 s: https://cloud.google.com/compute/docs/instances/preemptible"""
    timing = MetadataTiming()
    assert timing.wait + timing.grace + timing.absent < 30
