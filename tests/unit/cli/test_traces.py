"""When the trace of a rollout is sent, what is said of it, and that it changes no exit code."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.unit.cli.standing import StandingChain
from tests.unit.traces.collector import Collector, collecting

from changeover.cli import keeper_process
from changeover.cli.exits import COULD_NOT, DONE
from changeover.cli.traces import send_last_trace
from changeover.engine.journal.records import LogLine
from changeover.rollout.tier.state import TierState


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    monkeypatch.delenv("OTEL_SDK_DISABLED", raising=False)
    with collecting() as collector:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
        yield collector


def begun(chain: StandingChain) -> int:
    """A release whose controller ended after its first step."""
    with chain.controlled("roll") as journal:
        journal.begin_release(100.0, {"runtime": "v2"}, {"runtime": "v1"})
        row = journal.begin_rollout(101.0, "runtime", "v1", "v2")
        line = LogLine("command", "create instance: template v2", "runtime-v2-3")
        journal.write_step(102.0, "runtime", TierState("v2"), (), [line])
        return row.id


def ended(chain: StandingChain) -> None:
    """Another controller takes it to its end."""
    with chain.controlled("resume") as journal:
        line = LogLine("phase", "creating -> warming: became ready", "runtime-v2-3")
        journal.write_step(110.0, "runtime", TierState("v2"), (), [line], ("completed", ""))
        release = journal.unfinished_release()
        assert release is not None
        journal.end_release(release.id, 111.0, "completed", "")


def noted(chain: StandingChain) -> list[str]:
    notes: list[str] = []
    with chain.journal() as journal:
        asyncio.run(send_last_trace(journal, notes.append))
    return notes


def test_a_release_that_a_crash_interrupted_is_one_trace_from_its_beginning(
    chain: StandingChain, collector: Collector
) -> None:
    begun(chain)
    assert noted(chain) == []
    ended(chain)
    (note,) = noted(chain)
    assert [(one.name, one.start_time_unix_nano // 10**9) for one in collector.spans] == [
        ("roll runtime to v2", 100),
        ("tier runtime", 101),
        ("runtime-v2-3", 102),
        ("creating", 102),
        ("warming", 110),
    ]
    assert note == f"The trace {collector.spans[0].trace_id.hex()} was sent to {collector.url}."


def test_down_sends_the_trace_of_a_rollout_whose_controller_was_killed(
    chain: StandingChain, collector: Collector
) -> None:
    begun(chain)
    done = chain.run("down")
    assert done.code == DONE, done.err
    assert [one.name for one in collector.spans][:2] == ["roll runtime to v2", "tier runtime"]
    assert f"The trace {collector.spans[0].trace_id.hex()} was sent to {collector.url}." in done.err
    assert "trace" not in chain.run("down").err


def test_without_a_collector_nothing_is_sent_and_nothing_said(
    chain: StandingChain, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)
    number = begun(chain)
    ended(chain)
    assert noted(chain) == []
    refused = chain.run("show", number, "--otlp")
    assert refused.code == COULD_NOT
    assert "Set OTEL_EXPORTER_OTLP_ENDPOINT" in refused.err


def test_a_trace_that_was_not_sent_is_said_with_the_command_that_sends_it_again(
    chain: StandingChain, collector: Collector
) -> None:
    number = begun(chain)
    ended(chain)
    collector.status = 400
    (note,) = noted(chain)
    assert f"was not sent to {collector.url}: " in note
    assert note.endswith(f"`changeover show {number} --otlp` sends it again.")
    assert chain.run("show", number, "--otlp").code == COULD_NOT
    collector.status = 200
    again = chain.run("show", number, "--otlp")
    assert again.code == DONE
    assert "was sent to" in again.err


def test_a_trace_is_sent_at_the_end_of_a_release_that_roll_began_and_not_before(
    chain: StandingChain, collector: Collector
) -> None:
    with chain.controlled("up") as journal:
        first = journal.begin_rollout(50.0, "runtime", "", "v1")
        journal.end_rollout(first.id, 60.0, "completed", "")
    assert "`up` started its tier" in chain.run("show", first.id, "--otlp").err
    assert "has not ended" in chain.run("show", begun(chain), "--otlp").err
    assert collector.requests == []


def test_the_keeper_has_the_variables_of_the_command_that_starts_it(
    chain: StandingChain, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: dict[str, str] = {}

    def spawn(_: object, *, home: Path, env: dict[str, str]) -> tuple[int, int]:
        started.update(env)
        return 1, 1

    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-tenant=shop")
    monkeypatch.delenv("CHANGEOVER_LOG_FORMAT", raising=False)
    monkeypatch.setattr("changeover.kit.process.spawn", spawn)
    with chain.controlled("up") as journal:
        keeper_process.start_keeper(chain.state, journal)
    assert started["OTEL_EXPORTER_OTLP_HEADERS"] == "x-tenant=shop"
    assert started["CHANGEOVER_LOG_FORMAT"] == "dated"
