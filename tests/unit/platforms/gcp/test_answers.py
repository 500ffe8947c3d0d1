"""An answer of an agent in another form is no answer: nothing counts as empty, ready or lame duck by it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.unit.doctor import healthy

from changeover.doctor.examine import examine
from changeover.doctor.facts import AgentAnswer
from changeover.hops import registry
from changeover.kit import http
from changeover.model.connections import Connections
from changeover.model.instance import Address, Instance
from changeover.model.platform import AgentSettings
from changeover.platforms.gcp import agents as asking
from changeover.platforms.gcp.agents import Agents
from changeover.platforms.gcp.answers import connections_of, document, in_flight_of
from changeover.platforms.gcp.hop import AgentHop, RoutingAgentHop
from changeover.ports import Unknown

VM = Instance("edge-v2-3", "edge", "v2", Address("10.0.0.7", 443), Address("10.0.0.7", 9180))
STATUS = {"format": 1, "name": VM.name, "ready": True, "lame_duck": False, "reason": None, "unknown": None}
COUNTS = {"requests": 1, "connections": 1, "uploads": []}

GARBAGE = [
    b"",
    b"garbage",
    b"[]",
    b"null",
    b"3",
    b'"x"',
    b"\xff\xfe",
    b"[" * 100_000,
    b'{"time": NaN}',
    b'{"time": 1e999}',
]
OTHER_FORMS: dict[str, list[Any]] = {
    "format": ["x", None, [], 1.5, True],
    "ready": ["yes", 1, None],
    "lame_duck": ["no", 0, None],
    "in_flight": ["x", 3, []],
    "witnesses": ["x", 3],
    "members": ["x", [1]],
    "time": ["noon", True],
    "metadata": [3],
    "kind": [["app"]],
    "unknown": [False],
    "error": [{}],
}


@pytest.mark.parametrize("content", GARBAGE)
def test_what_is_no_json_object_is_refused(content: bytes) -> None:
    with pytest.raises(ValueError, match=r"JSON|form of"):
        document(content)


@pytest.mark.parametrize(("key", "value"), [(key, value) for key, values in OTHER_FORMS.items() for value in values])
def test_a_value_of_another_type_is_refused_by_its_key(key: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"another form of `{key}`"):
        document(json.dumps({**STATUS, key: value}).encode())


@pytest.mark.parametrize(
    "counts",
    [
        {},
        {**COUNTS, "requests": "3"},
        {**COUNTS, "requests": -1},
        {**COUNTS, "requests": True},
        {**COUNTS, "connections": None},
        {**COUNTS, "connections": 0.5},
        {**COUNTS, "uploads": None},
        {**COUNTS, "uploads": ["a"]},
        {**COUNTS, "uploads": [{"received": "a", "expected": None, "seconds": 1}]},
        {**COUNTS, "uploads": [{"received": 1, "expected": "b", "seconds": 1}]},
        {**COUNTS, "uploads": [{"received": 1, "expected": None}]},
    ],
)
def test_a_count_of_another_form_is_unknown(counts: Any) -> None:
    with pytest.raises(Unknown, match="another form of what is in flight"):
        in_flight_of("vm", {**STATUS, "in_flight": counts})


def test_a_status_without_a_count_is_unknown_and_not_that_nothing_counts() -> None:
    with pytest.raises(Unknown, match="in_flight"):
        in_flight_of("vm", STATUS)
    assert in_flight_of("vm", {**STATUS, "in_flight": None}) is None


def test_connections_of_another_form_are_no_connections() -> None:
    good = {"connections": [], "others": {"curl": 1}, "waiting": 0, "one_process": False}
    one = {"quiet": 2.0, "answered": True, "age": None}
    assert connections_of({"witnesses": {"kernel": good}}) == Connections((), {"curl": 1}, 0, False)
    for other in (
        3,
        {**good, "others": 3},
        {**good, "others": {"curl": "many"}},
        {**good, "waiting": "x"},
        {**good, "one_process": 1},
        {**good, "connections": [{**one, "quiet": "a"}]},
        {**good, "connections": [{**one, "answered": 1}]},
    ):
        assert connections_of({"witnesses": {"kernel": other}}) is None


def test_what_the_real_status_has_is_read() -> None:
    text = (Path(__file__).parents[4] / "docs/agent.md").read_text(encoding="utf-8")
    shown = text.partition("```json\n")[2].partition("```")[0]
    found = in_flight_of("vm", document(shown.encode()))
    assert found is not None
    assert (found.requests, found.connections) == (1, 3)
    assert connections_of(document(shown.encode())) is not None


def test_doctor_reads_any_status_that_is_let_through() -> None:
    least = document(json.dumps({"name": "web-v1-1"}).encode())
    found = {one.check for one in examine(healthy.facts(agents={"web-v1-1": AgentAnswer(least, 1000.0)}))}
    assert {"agent-of-another-kind", "clocks-apart"} <= found


# -- agents that answer in other ways ----------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def _time_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    """For each step of an answer, on a machine that does other things."""
    monkeypatch.setattr(asking, "TIMEOUT", 20.0)


Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def agent(serve: Serve) -> AsyncIterator[tuple[Agents, Instance]]:
    async def one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"\r\n\r\n")
            await serve(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(one, "127.0.0.1", 0)
    try:
        async with http.client() as client:
            at = Address(*server.sockets[0].getsockname()[:2])
            yield Agents(client, AgentSettings()), replace(VM, control=at)
    finally:
        server.close()


def every_question(serve: Serve, folder: Path, timeout: float) -> dict[str, str]:
    """The question -> how the controller takes the answer. Fails where an error is not Unknown."""
    file = folder / "endpoints.json"
    file.write_text("{}")

    async def run() -> dict[str, str]:
        found = {}
        async with agent(serve) as (agents, vm):
            hop = AgentHop(registry.known_hops()["nginx"], agents)
            envoy = RoutingAgentHop(
                registry.known_hops()["envoy"], agents, {"runtime": file}, lambda *_: pytest.fail("asked")
            )
            found["ready"] = await hop.not_ready(vm, timeout)
            found["ready, and lists its members"] = await envoy.not_ready(vm, timeout)
            questions: dict[str, Callable[[], Awaitable[Any]]] = {
                "in flight": lambda: agents.status(vm, timeout),
                "lame duck": lambda: agents.lame_duck(vm, True),
                "members": lambda: agents.members(vm, "runtime"),
            }
            for name, ask in questions.items():
                with pytest.raises(Unknown) as error:
                    await ask()
                found[name] = str(error.value)
        return found

    return asyncio.run(run())


def answered(content: bytes) -> Serve:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(content), content))
        await writer.drain()

    return serve


@pytest.mark.parametrize("content", [b"garbage", b"[]", json.dumps({**STATUS, "format": "x"}).encode()])
def test_garbage_makes_nothing_ready_and_confirms_nothing(content: bytes, tmp_path: Path) -> None:
    found = every_question(answered(content), tmp_path, 20.0)
    assert all("was answered with" in text for text in found.values()), found


def test_an_answer_that_never_ends_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "WHOLE", 0.025)  # half a second, and 20 for each step

    async def trickle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            writer.write(b" ")
            await writer.drain()
            await asyncio.sleep(0.02)

    found = every_question(trickle, tmp_path, 20.0)
    assert all(text.endswith("its answer does not end") for text in found.values()), found


def test_an_answer_that_is_too_long_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "MOST_BYTES", 100_000)
    monkeypatch.setattr("changeover.platforms.gcp.answers.MOST_BYTES", 100_000)

    async def flood(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            writer.write(b" " * 65536)
            await writer.drain()

    found = every_question(flood, tmp_path, 20.0)
    assert all("more than" in text for text in found.values()), found


def test_an_agent_that_hangs_is_named_with_the_time_that_it_had(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asking, "TIMEOUT", 0.2)

    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    found = every_question(hang, tmp_path, 0.2)
    assert all(text.endswith(" within 0.2 s") for text in found.values()), found


def test_a_token_of_any_characters_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENT_TOKEN", "é-token-of-the-agents")
    sent: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await answered(json.dumps({**STATUS, "in_flight": None}).encode())(reader, writer)

    async def run() -> None:
        async def one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            sent.append(await reader.readuntil(b"\r\n\r\n"))
            await serve(reader, writer)
            writer.close()

        server = await asyncio.start_server(one, "127.0.0.1", 0)
        async with server, http.client(timeout=20.0) as client:
            vm = replace(VM, control=Address(*server.sockets[0].getsockname()[:2]))
            await Agents(client, AgentSettings(token_env="AGENT_TOKEN")).status(vm, 20.0)

    asyncio.run(run())
    assert "Bearer é-token-of-the-agents".encode() in sent[0]
