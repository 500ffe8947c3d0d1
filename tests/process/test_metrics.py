"""Samples from a server that speaks the HTTP API of Prometheus, and counts from an Envoy that listens."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from tests.process.prometheus import FakePrometheus, PrometheusReply, number, prometheus_server, success

from changeover.engine.metrics.prometheus import PrometheusSource
from changeover.hops.envoy.stats import request_counts
from changeover.kit.direct_http import DirectClient
from changeover.model.guard import (
    Condition,
    Prometheus,
    RequestCounts,
)
from changeover.model.instance import Address, Instance
from changeover.ports import Unknown
from changeover.rollout.guard.cohorts import CohortMember, Cohorts
from changeover.rollout.guard.evaluate import Missing, Sample, Seen

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
        return await PrometheusSource(server, INSTANCES).measure("g/a", condition, sides, at)

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


def test_a_query_names_its_instances(prometheus: FakePrometheus) -> None:
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
        client = DirectClient()
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
