"""The sources of samples against a server that speaks Prometheus' HTTP API, and a ledger that is being written."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator, Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from tests.process.prometheus import FakePrometheus, PrometheusReply, number, prometheus_server, success
from tests.unit.probe.rows import row

from changeover.engine.metrics.ledger import LedgerReader
from changeover.engine.metrics.probe import ProbeSource
from changeover.engine.metrics.prometheus import PrometheusSource
from changeover.engine.metrics.source import MetricSource, begin, look
from changeover.hops.envoy.stats import request_counts
from changeover.kit import http
from changeover.model.guard import (
    LATENCY_NOT_WORSE,
    NO_BROKEN_REQUESTS,
    Condition,
    Guard,
    Prometheus,
    RequestCounts,
)
from changeover.model.instance import Address, Instance
from changeover.ports import Unknown
from changeover.probe.ledger import Ledger
from changeover.rollout.guard.cohorts import CohortMember, Cohorts
from changeover.rollout.guard.evaluate import GuardRun, GuardVerdict, Missing, Sample, Seen

BEGAN = 1000.0
FRESH = Cohorts(BEGAN, "v2", (CohortMember("app-v2-4", 992.0),), "v1", (CohortMember("app-v1-3", 990.0),), fresh=True)
OLD = Cohorts(BEGAN, "v2", (CohortMember("app-v2-4", 992.0),), "v1", (CohortMember("app-v1-1", 10.0),), fresh=False)
ADDRESSES = {
    "app-v2-4": Address("10.0.0.4", 80),
    "app-v2-5": Address("10.0.0.5", 80),
    "app-v1-3": Address("10.0.0.3", 80),
    "app-v1-1": Address("h", 81),
}
INSTANCES = {name: Instance(name, "app", name[4:6], at, at) for name, at in ADDRESSES.items()}


# -- Prometheus --------------------------------------------------------------------------------------------------------


@pytest.fixture
def prometheus() -> Iterator[FakePrometheus]:
    with prometheus_server() as server:
        yield server


def queried(server: Prometheus, *, at: float = 1010.0, sides: Cohorts = OLD, **rule: Any) -> Seen:
    base = {"name": "a", "source": "prometheus", "measure": "query", "query": "up", "at_most": 1}
    condition = Condition.model_validate({**base, **rule})

    async def go() -> Seen:
        async with http.client() as client:
            return await PrometheusSource(client, server, INSTANCES).measure("g/a", condition, sides, at)

    return asyncio.run(go())


def why(seen: Seen) -> str:
    assert isinstance(seen, Missing)
    return seen.why


def test_one_number_is_a_sample(prometheus: FakePrometheus) -> None:
    prometheus.reply = lambda _: number("0.25")
    assert queried(Prometheus(url=prometheus.url)) == Sample(1010.0, "g/a", 0.25)
    prometheus.reply = lambda _: success([1000.5, "3"], "scalar")
    assert queried(Prometheus(url=prometheus.url + "/")) == Sample(1010.0, "g/a", 3)
    assert prometheus.queries == [{"query": "up", "time": "1010.000"}] * 2


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (number(), "there is no series"),
        (number("1", "2"), "there are 2 series, not one number"),
        (number("NaN"), "it is NaN"),
        (number("+Inf"), "it is +Inf"),
        (success([], "matrix"), "the query comes to a matrix, not to one number"),
        (success([], warnings=["store down"]), "the answer may be incomplete: store down"),
        (success([{"metric": {}}]), "not an answer of Prometheus"),
        ((200, "[]"), "not an answer of Prometheus"),
        ((502, "<html>"), "it answered 502 and not in JSON"),
        (
            (400, '{"status":"error","errorType":"bad_data","error":"parse error: unexpected"}'),
            "bad_data: parse error: unexpected",
        ),
    ],
)
def test_anything_else_is_missing_with_its_reason(
    prometheus: FakePrometheus, reply: PrometheusReply, reason: str
) -> None:
    prometheus.reply = lambda _: reply
    missing = why(queried(Prometheus(url=prometheus.url)))
    assert reason in missing
    assert missing.startswith(prometheus.url)
    assert missing.endswith("asked for v2: up")


def test_a_server_that_does_not_listen_is_missing(prometheus: FakePrometheus) -> None:
    prometheus.close()
    assert prometheus.url in why(queried(Prometheus(url=prometheus.url)))


def test_an_answer_that_comes_too_late_is_none(prometheus: FakePrometheus) -> None:
    prometheus.hold.clear()
    assert "did not answer within 0.1 s" in why(
        queried(Prometheus.model_validate({"url": prometheus.url, "timeout": "100ms"}))
    )


def test_a_query_names_whom_it_is_about(prometheus: FakePrometheus) -> None:
    query = 'x{i=~"$instances",a=~"${addresses}$",v="$template"}[$interval]'
    two = Cohorts(BEGAN, "v2", (*OLD.canary, CohortMember("app-v2-5", 993.0)), "v1", OLD.baseline, fresh=False)
    queried(Prometheus(url=prometheus.url), query=query, sides=two, interval="2500ms")
    assert (
        prometheus.queries[0]["query"]
        == 'x{i=~"app-v2-4|app-v2-5",a=~"10[.]0[.]0[.]4:80|10[.]0[.]0[.]5:80$",v="v2"}[2500ms]'
    )


def test_a_query_about_an_address_that_is_not_known_is_not_asked(prometheus: FakePrometheus) -> None:
    """`=~""` would be about every series without that label."""
    stranger = Cohorts(BEGAN, "v2", (CohortMember("app-v2-9", 992.0),), "v1", (), fresh=False)
    seen = queried(Prometheus(url=prometheus.url), sides=stranger, query='x{a=~"$addresses"}')
    assert why(seen) == "the address of app-v2-9 is not known"
    assert prometheus.queries == []


def test_canary_and_baseline_are_asked_for_at_the_same_age(prometheus: FakePrometheus) -> None:
    prometheus.reply = lambda query: number("7" if "v2" in query else "5")
    compared: dict[str, Any] = {"query": "x{t='$template'}", "at_most": None, "against_baseline": True}
    seen = queried(Prometheus(url=prometheus.url), sides=FRESH, **compared)
    assert seen == Sample(1010.0, "g/a", 7, 5)
    when = {asked["query"]: asked["time"] for asked in prometheus.queries}
    assert when == {"x{t='v2'}": "1010.000", "x{t='v1'}": "1008.000"}


def test_a_canary_younger_than_the_interval_is_not_compared_yet(prometheus: FakePrometheus) -> None:
    compared: dict[str, Any] = {
        "query": "x{t='$template'}",
        "at_most": None,
        "against_baseline": True,
        "interval": "30s",
    }
    missing = why(queried(Prometheus(url=prometheus.url), sides=FRESH, **compared))
    assert missing == "app-v2-4 has had traffic for 18.0 s, the interval is 30 s"
    assert prometheus.queries == []


def test_the_token_is_read_anew_every_time(prometheus: FakePrometheus, tmp_path: Path) -> None:
    file = tmp_path / "token"
    server = Prometheus(url=prometheus.url, bearer_token_file=str(file))
    assert why(queried(server)) == f"{file}: No such file or directory"
    for token in ("one", "two"):
        file.write_text(token + "\n")
        queried(server)
    assert prometheus.headers == ["Bearer one", "Bearer two"]
    for broken in (b"\xff", "ключ".encode()):
        file.write_bytes(broken)
        assert why(queried(server))


# -- routers -----------------------------------------------------------------------------------------------------------

RECORDED = (Path(__file__).parents[1] / "unit/hops/envoy/clusters.json").read_bytes()


@pytest.fixture
def envoy() -> Iterator[Instance]:
    """The control port of an Envoy: it answers with what a real one answered."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            assert self.path == "/clusters?format=json"
            self.send_response(200)
            self.end_headers()
            self.wfile.write(RECORDED)

        def log_message(self, *_: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        at = Address("127.0.0.1", server.server_port)
        yield Instance("gateway-v1-1", "gateway", "v1", at, at)
        server.shutdown()
        thread.join()


def counted(*nodes: Instance) -> Mapping[str, Mapping[str, RequestCounts]]:
    async def go() -> Mapping[str, Mapping[str, RequestCounts]]:
        async with http.client() as client:
            return await request_counts(client, "runtime", lambda: nodes)

    return asyncio.run(go())


def test_every_envoy_is_asked_what_it_counted(envoy: Instance) -> None:
    assert counted(envoy)["gateway-v1-1"]["runtime-v2-2"] == RequestCounts(ok=17, broken=4)


def test_an_envoy_that_does_not_answer_makes_the_counts_unknown(envoy: Instance) -> None:
    nobody = Address("127.0.0.1", 1)
    with pytest.raises(Unknown, match=r"gateway-v1-2: GET http://127\.0\.0\.1:1/clusters"):
        counted(envoy, Instance("gateway-v1-2", "gateway", "v1", nobody, nobody))
    with pytest.raises(Unknown, match="no Envoy in front of runtime carries traffic"):
        counted()


# -- the ledger --------------------------------------------------------------------------------------------------------


def get(end: float, instance: str | None = "app-v2-4", ms: float = 10.0, **facts: Any) -> Any:
    return row(scheduled=end - ms / 1000, started=end - ms / 1000, finished=end, instance=instance, **facts)


def lost(end: float, instance: str | None = "app-v2-4") -> Any:
    return get(end, instance, outcome="lost", reason="status 500")


def write(path: Path, rows: Sequence[Any]) -> None:
    with Ledger(path) as ledger:
        for each in sorted(rows, key=lambda one: one.finished):
            ledger.record(each)


def spread(start: float, end: float, number: int, **facts: Any) -> list[Any]:
    return [get(start + (end - start) * place / number, **facts) for place in range(number)]


def probed(source: ProbeSource | Path, *, at: float = 1010.0, sides: Cohorts = OLD, **rule: Any) -> Seen:
    condition = Condition.model_validate({"name": "a", "source": "probe", **rule})
    if isinstance(source, Path):
        source = ProbeSource(LedgerReader(source))
    return asyncio.run(source.measure("g/a", condition, sides, at))


BROKEN: dict[str, Any] = {"measure": "broken_requests", "at_most": 0}
LATENCY: dict[str, Any] = {"measure": "latency", "at_most": 100}
RATIO: dict[str, Any] = {"measure": "error_ratio", "at_most": 0.05}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.jsonl"


def test_every_broken_request_since_the_step_began_counts_for_every_instance(path: Path) -> None:
    write(path, [lost(999), *spread(1000, 1009, 50), lost(1001), lost(1002), lost(1003, None)])
    seen = probed(path, **BROKEN)
    assert seen == Sample(1010.0, "g/a", 3, of="of 53 requests (2 status 500 by app-v2-4, 1 status 500)")


def test_a_ledger_is_read_while_it_grows(path: Path) -> None:
    source = ProbeSource(LedgerReader(path))
    assert "cannot be read: No such file" in why(probed(source, **BROKEN))
    with Ledger(path) as ledger:
        assert "is empty" in why(probed(source, **BROKEN))
        for number in range(3):
            ledger.record(get(1001.0 + number))
            ledger.flush()
            assert probed(source, at=1003.0, **BROKEN) == Sample(1003.0, "g/a", 0, of=f"of {number + 1} requests")
        ledger.record(lost(1004))
        seen = probed(source, at=1004.0, **BROKEN)
        assert isinstance(seen, Sample)
        assert seen.value == 1


def test_half_a_line_waits_for_its_other_half(path: Path) -> None:
    source = ProbeSource(LedgerReader(path))
    whole = "".join(json.dumps(each.to_dict()) + "\n" for each in (get(1001), lost(1002)))
    path.write_text(whole[:-40])
    assert probed(source, at=1003.0, **BROKEN) == Sample(1003.0, "g/a", 0, of="of 1 requests")
    with path.open("a") as file:
        file.write(whole[-40:])
    seen = probed(source, at=1003.0, **BROKEN)
    assert isinstance(seen, Sample)
    assert seen.value == 1


@pytest.mark.parametrize("line", ["{", "5", "{}", '{"kind":"get","finished":"soon"}'])
def test_a_whole_line_that_is_no_row_is_not_passed_over(path: Path, line: str) -> None:
    write(path, spread(1000, 1009, 50))
    with path.open("a") as file:
        file.write(line + "\n")
    source = ProbeSource(LedgerReader(path))
    for _ in range(2):
        assert "is not to be trusted: line 52 is not a row" in why(probed(source, **BROKEN))


def test_a_ledger_of_a_later_format_is_not_trusted(path: Path) -> None:
    path.write_text('{"format":2}\n')
    why_not = why(probed(ProbeSource(LedgerReader(path)), **BROKEN))
    assert "the ledger has format 2, and this program reads format 1" in why_not


def test_a_ledger_that_was_replaced_is_not_to_be_trusted(path: Path) -> None:
    write(path, spread(1000, 1009, 50))
    source = ProbeSource(LedgerReader(path))
    assert isinstance(probed(source, **BROKEN), Sample)
    path.unlink()
    write(path, spread(1000.5, 1009.5, 50))
    assert "it was replaced while it was being read" in why(probed(source, **BROKEN))


def test_a_ledger_that_does_not_grow_is_abandoned(path: Path) -> None:
    write(path, spread(1000, 1009, 50))
    assert isinstance(probed(path, at=1018.0, **BROKEN), Sample)
    assert "is 12 s old: does the probe still run?" in why(probed(path, at=1021.0, **BROKEN))
    assert "is 109 s ahead of this clock" in why(probed(path, at=900.0, **BROKEN))


def test_no_request_is_no_proof(path: Path) -> None:
    write(path, spread(990, 999, 50))
    assert why(probed(path, at=1001.0, **BROKEN)) == "no request has ended since the step began"


def test_latency_against_a_threshold_is_of_the_canary_and_counts_from_when_it_was_due(path: Path) -> None:
    waited = row(scheduled=1004.0, started=1004.9, finished=1005.0, instance="app-v2-4")
    write(path, [*spread(1003.5, 1008, 30), *spread(1003.5, 1008, 30, instance="app-v1-1", ms=500), *[waited] * 4])
    seen = probed(path, **LATENCY)
    assert isinstance(seen, Sample)
    assert seen.value == pytest.approx(1000)
    assert seen.of == "of 34 answers"


def test_a_comparison_counts_from_when_it_was_sent_and_leaves_uploads_out(path: Path) -> None:
    waited = row(scheduled=1004.0, started=1004.98, finished=1005.0, instance="app-v2-4")
    write(
        path,
        [
            *spread(1003.5, 1008, 30),
            *spread(1003.5, 1008, 30, instance="app-v1-1", ms=15),
            *[waited] * 9,
            *spread(1004, 1008, 9, ms=9000, kind="upload"),
        ],
    )
    seen = probed(path, measure="latency", against_baseline=True)
    assert isinstance(seen, Sample)
    assert [seen.value, seen.baseline] == pytest.approx([20, 15])


def test_both_sides_are_looked_at_at_the_same_age(path: Path) -> None:
    """Both were slow for their first 10 s. Of the canary, two seconds younger, the clock would show more of that."""
    rows = []
    for name, admitted in (("app-v2-4", 992.0), ("app-v1-3", 990.0)):
        rows += spread(admitted, admitted + 10, 200, instance=name, ms=80)
        rows += spread(admitted + 10, 1010, 200, instance=name, ms=10)
    write(path, rows)
    rule: dict[str, Any] = {"measure": "latency", "against_baseline": True, "interval": "4s", "percentile": 50}
    ages = probed(path, at=1004.0, sides=FRESH, **rule)
    assert isinstance(ages, Sample)
    assert [ages.value, ages.baseline] == pytest.approx([80, 80])
    clock = probed(path, at=1004.0, sides=Cohorts(BEGAN, "v2", FRESH.canary, "v1", FRESH.baseline, fresh=False), **rule)
    assert isinstance(clock, Sample)
    assert [clock.value, clock.baseline] == pytest.approx([80, 10])


def test_too_few_answers_are_none(path: Path) -> None:
    write(path, [*spread(1003.5, 1008, 9), *spread(1003.5, 1008, 90, instance="app-v1-1")])
    assert why(probed(path, **LATENCY)) == "9 answers of the canary (app-v2-4) in 5 s, 20 are needed"


def test_a_canary_whose_name_is_on_no_answer_cannot_be_measured(path: Path) -> None:
    """As of a tier of proxies: only the application says its name."""
    write(path, spread(1003.5, 1008, 90, instance="app-v1-1"))
    assert why(probed(path, **RATIO)).startswith("0 answers of the canary")


def test_the_share_of_errors_says_what_it_is_at_worst(path: Path) -> None:
    write(path, [*spread(1003.5, 1008, 97), lost(1004), lost(1005, None), lost(1005, None), lost(1005, "app-v1-1")])
    seen = probed(path, **RATIO)
    assert isinstance(seen, Sample)
    assert seen.value == pytest.approx(1 / 98)
    assert seen.at_worst == pytest.approx(3 / 100)
    compared = probed(path, measure="error_ratio", against_baseline=True, min_requests=1)
    assert why(compared) == "2 broken requests of the interval name no instance, so they cannot be compared"


# -- all of it together ------------------------------------------------------------------------------------------------


class Traffic:
    """Appends to a ledger what two instances answered in each second, 40 and 40 requests."""

    def __init__(self, path: Path, *, slower: float = 1.0, broken_every: int = 0) -> None:
        self._ledger = Ledger(path)
        self._slower = slower
        self._broken_every = broken_every
        self._sent = 0

    def second(self, start: float) -> None:
        for place in range(40):
            self._sent += 1
            end = start + place / 40
            broken = self._broken_every and self._sent % self._broken_every == 0
            wobble = 1 + (self._sent * 7919 % 97) / 100
            self._ledger.record(get(end, "app-v1-3", 20 * wobble))
            slow = get(end, "app-v2-4", 20 * wobble * self._slower)
            self._ledger.record(lost(end) if broken else slow)
        self._ledger.flush()

    def close(self) -> None:
        self._ledger.close()


def judged(
    guards: Sequence[Guard], path: Path, traffic: Traffic, *, silent_after: float = 1e9
) -> tuple[GuardVerdict, float]:
    """Seconds of traffic, each followed by a look, until there is a verdict; and how many it took."""
    run = GuardRun(guards, BEGAN)
    sources: dict[str, MetricSource] = {"probe": ProbeSource(LedgerReader(path))}

    async def go() -> float:
        await begin(run, sources, FRESH)
        for second in range(120):
            if second < silent_after:
                traffic.second(BEGAN + second)
            for seen in await look(run, sources, FRESH, BEGAN + second + 1):
                run.take(seen)
            if run.verdict.state != "running":
                return second + 1
        raise AssertionError(run.verdict.reason)

    try:
        took = asyncio.run(go())
        return run.verdict, took
    finally:
        traffic.close()


BOTH = (NO_BROKEN_REQUESTS, LATENCY_NOT_WORSE)


def test_a_healthy_canary_passes_both_shipped_guards(path: Path) -> None:
    verdict, took = judged(BOTH, path, Traffic(path))
    assert verdict.state == "passed", verdict.reason
    assert took == 52


def test_a_canary_that_breaks_two_percent_is_caught_within_seconds(path: Path) -> None:
    verdict, took = judged(BOTH, path, Traffic(path, broken_every=50))
    assert verdict.state == "failed"
    assert took <= 4
    assert verdict.reason.startswith("no-broken-requests/broken: 2 broken of ")
    assert "(2 status 500 by app-v2-4), at most 0 allowed" in verdict.reason


def test_so_is_its_share_of_errors(path: Path) -> None:
    rule = {"name": "share", "source": "probe", "at_most": 0.01, "measure": "error_ratio"}
    guard = Guard(name="mine", conditions=(Condition.model_validate(rule),))
    verdict, _ = judged((guard,), path, Traffic(path, broken_every=50))
    assert verdict.state == "failed"
    assert verdict.reason == "mine/share: 2.000% broken of 200 requests, at most 1.000% allowed"


def test_a_slow_canary_is_caught_by_comparison_with_its_baseline(path: Path) -> None:
    verdict, took = judged(BOTH, path, Traffic(path, slower=1.6))
    assert verdict.state == "failed"
    assert took < 52  # before the round is over
    assert verdict.reason.startswith("latency-not-worse/p90: p90 ")
    assert "of the baseline, 1.60 times (medians of " in verdict.reason


def test_a_probe_that_falls_silent_pauses_the_rollout(path: Path) -> None:
    verdict, _ = judged((LATENCY_NOT_WORSE,), path, Traffic(path), silent_after=20)
    assert verdict.state == "inconclusive"
    assert "does the probe still run?" in verdict.reason
