"""The prober against servers that are broken on purpose: each fault must be counted as exactly what it is."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path

import pytest
import trustme
from tests.probe_plans import example_plan
from tests.process.probed_server import Fault, Plan, ProbedServer
from tests.process.probing import GETS, LONGEST, UPLOADS, Ran, once, probed, rows, run_probe

from changeover.model.errors import ChangeoverError
from changeover.probe.records.ledger import Ledger
from changeover.probe.records.row import LedgerRow
from changeover.probe.traffic import ProbeProgress, run
from changeover.probe.traffic_plan import TrafficPlan


@pytest.fixture(scope="module")
def edge(tmp_path_factory: pytest.TempPathFactory) -> tuple[ssl.SSLContext, Path]:
    """A server's TLS context, and the file of the CA that signed for it."""
    ca = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert("127.0.0.1").configure_cert(context)
    ca_file = tmp_path_factory.mktemp("ca") / "ca.pem"
    ca.cert_pem.write_to_path(str(ca_file))
    return context, ca_file


def test_a_good_server_is_found_good_over_tls(tmp_path: Path, edge: tuple[ssl.SSLContext, Path]) -> None:
    load = {**UPLOADS, "rate": 200.0, "uploads": 2, "ca_file": edge[1]}
    ran = probed(tmp_path, ProbedServer(tls=edge[0]), rows(4, "upload"), **load)
    assert ran.verdict.clean, ran.wrong()
    uploads = [row for row in ran.rows if row.kind == "upload"]
    assert len({row.ref for row in uploads}) == len({row.sha256 for row in uploads}) == len(uploads) >= 4
    assert ran.verdict.bytes_uploaded == 300_000 * len(uploads)
    assert ran.verdict.uploads_read_back == len(uploads)
    assert ran.verdict.counts["check"].ok == 2 * len(uploads)
    assert {row.connection for row in ran.rows if row.kind == "get"} == {"keep-alive", "fresh"}
    writer = {row.ref: row.instance for row in uploads}
    for row in ran.rows:
        if row.kind == "readback":
            assert (row.instance == writer[row.ref]) == (row.note is not None)


@pytest.mark.parametrize(
    ("fault", "outcome", "reason"),
    [
        ("reset", "lost", "reset before response"),
        ("close", "lost", "closed before response"),
        ("short", "lost", "short body"),
        ("cut", "lost", "reset during response"),
        ("flip", "corrupted", "wrong body"),
        ("refuse", "lost", "status 502"),
        ("garbage", "lost", "bad response"),
    ],
)
@pytest.mark.parametrize("page", ["GET /hello", "GET /blob"])
def test_a_broken_get_is_counted_once_and_as_what_it_was(
    tmp_path: Path, page: str, fault: Fault, outcome: str, reason: str
) -> None:
    ran = probed(tmp_path, ProbedServer(once(page, fault, at=3)), rows(12), **GETS)
    assert ran.wrong() == [("get", outcome, reason)]
    assert ran.verdict.lost == 1
    assert ran.verdict.corrupted == (outcome == "corrupted")


def test_a_server_that_is_not_there_loses_every_request(tmp_path: Path) -> None:
    async def go() -> Ran:
        async with ProbedServer() as server:
            pass
        return await run_probe(tmp_path, server.url, rows(5), **GETS)

    ran = asyncio.run(go())
    assert ran.verdict.failures_by_reason == {"connect refused": len(ran.rows)}
    assert {row.connection for row in ran.rows} == {"none"}
    assert ran.verdict.kinds_without_success == ("get",)


def test_a_certificate_of_a_stranger_is_a_tls_failure(tmp_path: Path, edge: tuple[ssl.SSLContext, Path]) -> None:
    assert set(probed(tmp_path, ProbedServer(tls=edge[0]), rows(3), **GETS).verdict.failures_by_reason) == {
        "tls failed"
    }


def test_a_balancer_with_nothing_behind_it_hangs_up_during_the_handshake(tmp_path: Path) -> None:
    async def go() -> Ran:
        listener = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
        async with listener:
            url = f"https://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
            return await run_probe(tmp_path, url, rows(3), **GETS)

    reasons = set(asyncio.run(go()).verdict.failures_by_reason)
    assert reasons
    assert reasons <= {"closed during handshake", "reset during handshake"}


def test_a_connection_that_was_closed_while_idle_is_replaced_without_a_loss(tmp_path: Path) -> None:
    server = ProbedServer(lambda *_: "hang up")
    ran = probed(tmp_path, server, rows(20), **GETS, connections=1, fresh_share=0.0)
    assert ran.verdict.clean, ran.wrong()
    assert server.connections == len(ran.rows)


def test_an_unanswered_get_is_lost_after_the_timeout_and_holds_up_nothing_else(tmp_path: Path) -> None:
    ran = probed(tmp_path, ProbedServer(once("GET /hello", "stall")), rows(20), **{**GETS, "timeout": 0.4})
    assert ran.wrong() == [("get", "lost", "timeout")]
    assert sum(row.latency >= 0.4 for row in ran.rows) == 1


def test_a_stall_is_measured_by_every_get_that_was_due_in_it(tmp_path: Path) -> None:
    server = ProbedServer()

    async def go() -> Ran:
        async with server:
            server.open.clear()
            asyncio.get_running_loop().call_later(0.5, server.open.set)
            return await run_probe(tmp_path, server.url, rows(120), **GETS, connections=2, fresh_share=0.0)

    ran = asyncio.run(go())
    assert server.connections == 2
    assert ran.verdict.clean
    # 200 a second for half a second, only two of them on the wire: half of them were due 0.25 s before the end.
    assert sum(row.finished - row.started >= 0.25 for row in ran.rows) == 2
    assert sum(row.latency >= 0.25 for row in ran.rows) >= 45


def test_a_run_against_a_server_that_never_answers_ends_and_accounts_for_every_get_due(tmp_path: Path) -> None:
    load = {**GETS, "timeout": 0.3, "connections": 2}
    ran = probed(tmp_path, ProbedServer(lambda *_: "stall"), rows(1), **load)
    # A busy machine may not even get the connection made in 0.3 s: that is a timeout too, and counted as one.
    assert set(ran.verdict.failures_by_reason) <= {"timeout", "timeout before sending", "connect timeout"}
    assert ran.verdict.lost == len(ran.rows) >= 50
    due = sorted(row.scheduled for row in ran.rows)
    assert all(after - before == pytest.approx(1 / 200, abs=1e-4) for before, after in pairwise(due))


def test_a_run_that_is_cancelled_hangs_up_everywhere_and_leaves_nothing_running(tmp_path: Path) -> None:
    async def go() -> None:
        begun = asyncio.Event()
        load = {**UPLOADS, "rate": 200.0, "upload_seconds": 60.0}
        async with ProbedServer() as server:
            with Ledger(tmp_path / "ledger.jsonl") as ledger:
                running = asyncio.create_task(
                    run(
                        example_plan(server.url, **load),
                        ledger=ledger,
                        stop=asyncio.Event(),
                        progress=lambda _: begun.set(),
                    )
                )
                await begun.wait()
                running.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await running
            async with asyncio.timeout(LONGEST):
                await server.all_gone()
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(go())


@pytest.mark.parametrize("secure", [False, True], ids=["plain", "tls"])
@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("refuse early", "status 502"),
        ("refuse", "status 502"),
        ("reset", "reset while sending"),
        ("close", "closed while sending"),
    ],
)
def test_a_broken_upload_is_lost_for_the_reason_it_had(
    tmp_path: Path, edge: tuple[ssl.SSLContext, Path], fault: Fault, reason: str, secure: bool
) -> None:
    def plan(asked: str, before: int) -> Fault | None:
        return fault if asked == "POST /upload" and before < 2 else None  # one chunked, one with Content-Length

    # The buffers of both sockets do not hold the larger one: it cannot have been sent whole.
    size = 20_000_000 if reason.endswith("while sending") else 300_000
    server = ProbedServer(plan, tls=edge[0] if secure else None)
    ran = probed(tmp_path, server, rows(3, "upload"), **UPLOADS | {"upload_size": size}, ca_file=edge[1])
    assert ran.wrong() == [("upload", "lost", reason)] * 2
    assert ran.verdict.uploads_lost_but_stored == 0
    assert ran.verdict.counts["upload"].ok == 1


def test_an_upload_on_which_nothing_moves_is_lost(tmp_path: Path) -> None:
    load = {**UPLOADS, "timeout": 0.3, "upload_size": 50_000_000}
    ran = probed(tmp_path, ProbedServer(once("POST /upload", "sit")), rows(1, "upload"), **load)
    assert ran.wrong() == [("upload", "lost", "timeout")]
    assert 0 < ran.rows[0].bytes_sent < 50_000_000


@pytest.mark.parametrize(
    ("plan", "wrong"),
    [
        (once("POST /upload", "twice"), ("check", "duplicated", "stored 2 times")),
        (once("POST /upload", "once more"), ("check", "duplicated", "stored 2 times")),
        (once("POST /upload", "unlisted"), ("check", "lost", "acknowledged but not stored")),
        (once("POST /upload", "wrong hash"), ("upload", "corrupted", "wrong sha256")),
        (once("POST /upload", "flip"), ("upload", "corrupted", "wrong acknowledgement")),
        # The first to answer is the writer, which is left; so this is the second.
        (once("GET /upload/content", "flip", at=1), ("readback", "corrupted", "wrong body")),
        (once("GET /upload/content", "refuse"), ("readback", "lost", "status 502")),
        (once("GET /uploads", "refuse"), ("check", "lost", "status 502")),
    ],
)
def test_what_is_wrong_with_an_acknowledged_upload_is_found_and_counted_once(
    tmp_path: Path, plan: Plan, wrong: tuple[str, str, str]
) -> None:
    ran = probed(tmp_path, ProbedServer(plan), rows(2, "upload"), **UPLOADS)
    assert ran.wrong() == [wrong]
    assert ran.verdict.duplicated == (wrong[1] == "duplicated")
    assert ran.verdict.corrupted == (wrong[1] == "corrupted")
    assert ran.verdict.lost == (wrong[1] != "duplicated")


def test_an_acknowledged_upload_that_is_gone_is_missed_by_both_proofs(tmp_path: Path) -> None:
    ran = probed(tmp_path, ProbedServer(once("POST /upload", "forget")), rows(2, "upload"), **UPLOADS)
    assert ran.wrong() == [
        ("readback", "lost", "status 404"),
        ("check", "lost", "acknowledged but not stored"),
    ]


def test_a_lost_upload_that_is_there_all_the_same_is_lost_once_and_noted(tmp_path: Path) -> None:
    ran = probed(tmp_path, ProbedServer(once("POST /upload", "mute")), rows(2, "upload"), **UPLOADS)
    assert ran.wrong() == [("upload", "lost", "closed before response")]
    assert ran.verdict.uploads_lost_but_stored == 1


def test_a_lost_upload_that_is_there_twice_is_also_a_duplicate(tmp_path: Path) -> None:
    ran = probed(tmp_path, ProbedServer(once("POST /upload", "mute twice")), rows(2, "upload"), **UPLOADS)
    assert ran.wrong() == [
        ("upload", "lost", "closed before response"),
        ("check", "duplicated", "stored 2 times"),
    ]


def test_with_one_instance_an_upload_is_read_from_its_writer_in_the_end(tmp_path: Path) -> None:
    ran = probed(tmp_path, ProbedServer(instances=1), rows(1, "upload"), **UPLOADS)
    notes = [row.note for row in ran.rows if row.kind == "readback"]
    assert notes == ["left to the writer"] * 7 + ["read by the writer"]
    assert (ran.verdict.uploads_read_back, ran.verdict.uploads_read_back_by_writer) == (1, 1)
    assert ran.verdict.clean


def test_a_loss_is_recorded_with_what_the_tiers_were_doing(tmp_path: Path) -> None:
    asked: list[str] = []

    def tier_state() -> Mapping[str, object]:
        asked.append("once")
        return {"moving": "gateway", "waiting_for": ["c2"]}

    ran = probed(tmp_path, ProbedServer(once("GET /hello", "reset")), rows(10), **GETS, tier_state=tier_state)
    wrong = [row.tier_state for row in ran.rows if row.tier_state]
    assert wrong == [{"moving": "gateway", "waiting_for": ["c2"]}]
    assert ran.verdict.failures_by_moving_tier == {"gateway": 1}
    assert asked == ["once"]


def test_progress_is_reported_while_the_run_goes_on(tmp_path: Path) -> None:
    reports: list[ProbeProgress] = []
    ran = probed(tmp_path, ProbedServer(), lambda _: bool(reports), **GETS, progress=reports.append)
    assert 0 < reports[0].gets <= len(ran.rows)
    assert reports[0].lost == 0
    assert reports[0].p99 is not None


def test_a_run_that_was_stopped_before_it_began_proves_nothing(tmp_path: Path) -> None:
    async def go() -> None:
        stop = asyncio.Event()
        stop.set()
        async with ProbedServer() as server:
            with Ledger(tmp_path / "ledger.jsonl") as ledger:
                verdict = await run(example_plan(server.url), ledger=ledger, stop=stop)
        assert verdict.summary == "the probe sent no requests, which proves nothing"
        assert not verdict.clean

    asyncio.run(go())


def test_a_ledger_that_cannot_be_written_ends_the_run_with_its_own_error(tmp_path: Path) -> None:
    class FullLedger(Ledger):
        def record(self, row: LedgerRow) -> None:
            raise self._failed(OSError(28, "No space left on device"))

    async def go() -> None:
        async with ProbedServer() as server:
            with FullLedger(tmp_path / "ledger.jsonl") as ledger:
                await run(example_plan(server.url, rate=200.0), ledger=ledger, stop=asyncio.Event())

    with pytest.raises(ChangeoverError, match="the ledger cannot be written: No space"):
        asyncio.run(go())


def test_an_address_that_is_none_and_a_ca_that_is_not_there_are_refused(tmp_path: Path) -> None:
    async def go(load: TrafficPlan) -> None:
        with Ledger(tmp_path / "ledger.jsonl") as ledger:
            await run(load, ledger=ledger, stop=asyncio.Event())

    with pytest.raises(ChangeoverError, match="the CA file cannot be read"):
        asyncio.run(go(example_plan("https://127.0.0.1", ca_file=tmp_path / "none.pem")))
    (tmp_path / "ledger.jsonl").unlink()
    with pytest.raises(ChangeoverError, match=r"the host nowhere\.invalid has no address"):
        asyncio.run(go(example_plan("https://nowhere.invalid")))
