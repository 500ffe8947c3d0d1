from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

from tests.probe_plans import example_plan

from changeover.probe.http.client import Connection, ProbeTarget
from changeover.probe.http.exchange import HttpRequest
from changeover.probe.records.ledger import Ledger
from changeover.probe.records.row import LedgerRow
from changeover.probe.session import CheckResult, Session


def test_a_request_whose_time_ran_out_while_it_waited_is_lost_without_being_sent(tmp_path: Path) -> None:
    async def go() -> LedgerRow:
        plan = example_plan("http://127.0.0.1:9", timeout=2.0)  # nothing listens there, and no request is sent
        target = await ProbeTarget.resolve(plan.url, plan.tls)
        with Ledger(tmp_path / "ledger.jsonl") as ledger, Connection(target) as connection:
            session = Session(plan, target, ledger, asyncio.Event())
            return await session.send(
                "get",
                HttpRequest("GET", "/hello"),
                connection,
                lambda _: CheckResult(),
                due=session.clock.now() - 2.5,
            )

    row = asyncio.run(go())
    assert (row.outcome, row.reason, row.connection) == ("lost", "timeout before sending", "none")
    assert 2.5 <= row.latency < 3


def test_waiting_for_a_time_ends_with_the_run(tmp_path: Path) -> None:
    async def go() -> list[bool]:
        plan = example_plan("http://127.0.0.1:9")
        with Ledger(tmp_path / "ledger.jsonl") as ledger:
            stop = asyncio.Event()
            session = Session(plan, await ProbeTarget.resolve(plan.url, plan.tls), ledger, stop)
            now = session.clock.now()
            reached = [await session.until(now - 1), await session.until(now + 0.01)]
            asyncio.get_running_loop().call_soon(stop.set)
            return [*reached, await session.until(now + 3600), await session.until(now - 1)]

    assert asyncio.run(go()) == [True, True, False, False]


def test_a_probe_that_is_behind_its_schedule_catches_up_and_counts_each_late_response_as_lost(tmp_path: Path) -> None:
    async def go() -> list[LedgerRow]:
        ended = asyncio.Event()

        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await asyncio.sleep(0.3)  # a connect that takes longer than what is left of the first request's timeout
            with contextlib.suppress(asyncio.IncompleteReadError):
                while await reader.readuntil(b"\r\n\r\n"):
                    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
            writer.close()
            await writer.wait_closed()
            ended.set()

        async with await asyncio.start_server(answer, "127.0.0.1") as server:
            port = server.sockets[0].getsockname()[1]
            plan = example_plan(f"http://127.0.0.1:{port}", timeout=60.0)
            target = await ProbeTarget.resolve(plan.url, plan.tls)
            with Ledger(tmp_path / "ledger.jsonl") as ledger, Connection(target) as connection:
                session = Session(plan, target, ledger, asyncio.Event())
                request = HttpRequest("GET", "/hello")
                now = session.clock.now()
                due = (now - 59.9, now)
                rows = [await session.send("get", request, connection, lambda _: CheckResult(), due=at) for at in due]
            await ended.wait()
            return rows

    late, next_one = asyncio.run(go())
    assert (late.outcome, late.reason, late.status) == ("lost", "response after the timeout", 200)
    assert (next_one.outcome, next_one.connection) == ("ok", "keep-alive")
