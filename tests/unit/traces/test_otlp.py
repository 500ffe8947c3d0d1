"""Spans reach a real OTLP/HTTP receiver; what keeps them from it is said, and holds nothing up."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import Iterator
from functools import partial

import pytest
from tests.unit.traces.collector import Collector, attributes, collecting
from tests.unit.traces.test_spans import LOG, RELEASE, ROW

from changeover.model import extras
from changeover.traces import otlp
from changeover.traces.otlp import NotSent, endpoint, send
from changeover.traces.spans import RolloutLog, SpanRecord, span_id, spans_of, trace_id

SPANS = spans_of(RELEASE, [RolloutLog(ROW, LOG)])


@pytest.fixture(autouse=True)
def no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("OTEL_")]:
        monkeypatch.delenv(name)


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    with collecting() as collector:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
        yield collector


def sent(spans: list[SpanRecord] = SPANS, wait: float = 40.0) -> None:
    asyncio.run(send(spans, trace_id(RELEASE), partial(span_id, RELEASE), wait))


def test_the_collector_gets_one_trace_with_every_span_below_its_parent(collector: Collector) -> None:
    sent()
    assert collector.paths == ["/v1/traces"]
    assert collector.resource["service.name"] == "changeover"
    spans = collector.spans
    assert [one.name for one in spans] == [one.name for one in SPANS]
    assert {one.trace_id for one in spans} == {trace_id(RELEASE).to_bytes(16)}
    known = {one.span_id: one for one in spans}
    parents = [known[one.parent_span_id].name if one.parent_span_id else "" for one in spans]
    assert parents[:4] == ["", "roll runtime to v2", "tier runtime", "runtime-v2-3"]
    draining = next(one for one in spans if one.name == "draining")
    assert (draining.start_time_unix_nano, draining.end_time_unix_nano) == (106 * 10**9, 120 * 10**9)
    assert attributes(draining.attributes)["changeover.ended_by"] == "nothing in flight"
    hook = next(one for one in spans if one.name == "tier runtime").events[0]
    assert (hook.name, attributes(hook.attributes)["message"]) == ("hook", "before_step hook check passed")
    assert {one.status.code for one in spans} == {1}


def test_the_same_release_is_sent_with_the_same_identifiers(collector: Collector) -> None:
    sent()
    sent()
    first, again = [
        [one.span_id for one in request.resource_spans[0].scope_spans[0].spans] for request in collector.requests
    ]
    assert first == again


def test_the_standard_variables_hold(collector: Collector, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", f"{collector.url}/other/path")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-tenant=shop")
    monkeypatch.setenv("OTEL_SERVICE_NAME", "rolls")
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=prod")
    sent()
    assert collector.paths == ["/other/path"]
    assert {name.lower(): value for name, value in collector.headers[0].items()}["x-tenant"] == "shop"
    assert (collector.resource["service.name"], collector.resource["deployment.environment.name"]) == ("rolls", "prod")


@pytest.mark.parametrize(
    ("variables", "where"),
    [
        ({}, ""),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://a"}, "http://a"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://a", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://b"}, "http://b"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://a", "OTEL_SDK_DISABLED": "true"}, ""),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://a", "OTEL_TRACES_EXPORTER": "none"}, ""),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://a", "OTEL_TRACES_EXPORTER": "console,otlp"}, "http://a"),
    ],
)
def test_traces_are_sent_where_the_variables_say_and_nowhere_else(variables: dict[str, str], where: str) -> None:
    assert endpoint(variables) == where


def test_a_password_in_the_address_is_not_shown() -> None:
    assert "secret" not in endpoint({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://ann:secret@collector:4318"})


def test_a_collector_that_refuses_is_named_with_its_answer(collector: Collector) -> None:
    collector.status = 403
    with pytest.raises(NotSent, match="403"):
        sent()


def test_a_collector_that_is_not_there_holds_nothing_up(monkeypatch: pytest.MonkeyPatch) -> None:
    began = time.monotonic()
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # and does not listen
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{nobody.getsockname()[1]}")
        with pytest.raises(NotSent, match=r"no answer within 0\.5 s"):
            sent(wait=0.5)
    assert time.monotonic() - began < 30


def test_a_collector_that_does_not_answer_holds_nothing_up(collector: Collector) -> None:
    collector.silent.set()
    with pytest.raises(NotSent, match=r"no answer within 0\.5 s"):
        sent(wait=0.5)


def test_another_protocol_is_refused_instead_of_ignored(collector: Collector, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
    with pytest.raises(NotSent, match="grpc, and only http/protobuf"):
        sent()
    assert not collector.requests


def test_without_the_extra_the_command_that_installs_it_is_named(
    collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(extras, "_is_installed", lambda _: False)
    with pytest.raises(NotSent, match=r"changeover\[otel\]"):
        sent()
    assert not collector.requests


def test_a_trace_of_many_instances_is_sent_in_parts(collector: Collector, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(otlp, "_AT_ONCE", 5)
    sent()
    assert [len(one.resource_spans[0].scope_spans[0].spans) for one in collector.requests] == [5, 5, 2]
