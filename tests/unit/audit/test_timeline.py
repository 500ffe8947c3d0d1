"""One replacement of each tier: its moments in order, what cuts, which uploads survive, and what is unknown."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
from tests.unit.audit.expectations import documents, fixture

from changeover.audit.assumptions import Assumptions
from changeover.audit.audit import audit
from changeover.audit.finding import Outcome
from changeover.audit.moments import NEVER
from changeover.audit.rules import all_rules
from changeover.audit.timeline import Replacement, timeline

EDGE = """\
worker_shutdown_timeout 120s;
events {}
http {
    upstream inner { server 10.0.0.5:9000; server 10.0.0.6:9000; keepalive 8; keepalive_time 60s; }
    server {
        listen 8080;
        location / { proxy_http_version 1.1; proxy_set_header Connection ""; proxy_pass http://inner; }
    }
}
"""
QUIT = "[Service]\nExecStart=/usr/sbin/nginx -g 'daemon off;'\nKillSignal=SIGQUIT\nTimeoutStopSec=500\n"
APP = "[Service]\nExecStart=/srv/bin/uvicorn app:app --port 9000\nTimeoutStopSec=40\n"
STREAM = "worker_shutdown_timeout 90s;\nevents {}\nstream { server { listen 9000; proxy_pass 10.0.1.5:8000; } }\n"
BALANCER = """\
resource "google_compute_backend_service" "web" {
  name                            = "web"
  protocol                        = "HTTP"
  connection_draining_timeout_sec = %s
  health_checks                   = []
}
"""
MACHINE = 'resource "google_compute_instance_template" "app" {\n  name = "app"\n}\n'
CHAIN = """\
name: shop
tiers:
  - name: edge
    kind: nginx
    drain: {policy: %s, deadline: 60s}
    templates: {v1: {}}
"""


def tiers(files: Mapping[str, str], **assume: str) -> list[Replacement]:
    asked = Assumptions().given(assume)
    return list(timeline(audit(documents(files), asked, files, rules=()).view, asked).tiers)


def happens(tier: Replacement) -> list[tuple[float, str, bool]]:
    return [(one.at, one.what, one.cuts) for one in tier.moments]


def survives(tier: Replacement, size: float, rate: float) -> bool | None:
    return next(one.survives for one in tier.uploads if (one.size, one.rate) == (size, rate))


def test_the_own_grace_of_a_server_ends_before_its_manager_kills_it() -> None:
    (tier,) = tiers({"nginx.conf": EDGE, "nginx.service": QUIT})
    assert happens(tier) == [(0.0, "SIGQUIT", False), (120.0, "grace ends", True), (500.0, "SIGKILL", True)]
    assert (tier.cut, tier.unknown) == (120.0, ())
    assert survives(tier, 10_000_000, 1e6) is True  # 80 s to send, and 30 s until it is answered
    assert survives(tier, 10_000_000, 0.25e6) is False
    assert survives(tier, 50_000_000, 1e6) is False


def test_a_signal_that_is_not_graceful_cuts_at_once() -> None:
    (tier,) = tiers({"nginx.conf": EDGE, "nginx.service": QUIT.replace("QUIT", "TERM")})
    assert tier.cut == 0.0
    assert {one.survives for one in tier.uploads} == {False}


def test_the_drain_of_a_load_balancer_comes_before_the_stop_and_the_power_goes_after_it() -> None:
    files = {"lb.tf": BALANCER % "300" + MACHINE, "nginx.conf": EDGE, "nginx.service": QUIT}
    (tier,) = tiers(files)
    assert happens(tier) == [
        (0.0, "leaves its load balancer", False),
        (300.0, "drain ends", True),
        (300.0, "SIGQUIT", False),
        (390.0, "power off", True),
        (420.0, "grace ends", True),
        (800.0, "SIGKILL", True),
    ]
    assert tier.cut == 300.0


def test_a_hop_behind_one_that_buffers_is_occupied_for_the_same_time_at_every_rate() -> None:
    edge, app = tiers({"nginx.conf": EDGE, "nginx.service": QUIT, "app.service": APP})
    assert (edge.behind, app.behind, app.buffered) == ((), (edge.name,), True)
    assert {one.survives for one in app.uploads} == {True}
    assert app.cut == 40.0


def test_a_tcp_proxy_needs_the_life_of_a_pooled_connection_besides() -> None:
    files = {"nginx.conf": EDGE.replace("120s", "900s"), "l4.conf": STREAM, "nginx.service": QUIT}
    _, proxy = tiers(files, nginx="1.22.1")
    assert proxy.cut == 90.0
    assert {one.survives for one in proxy.uploads} == {False}  # 60 s of the pool, and 30 s until an answer, and more
    _, proxy = tiers({**files, "l4.conf": STREAM.replace("90s", "100s")}, nginx="1.22.1")
    assert survives(proxy, 50_000_000, 1e6) is True


@pytest.mark.parametrize(
    ("files", "word"),
    [
        ({"nginx.conf": EDGE}, "how nginx is stopped"),
        ({"nginx.conf": EDGE, "a.service": QUIT, "b.service": QUIT}, "which of a.service, b.service stops it"),
        (
            {"nginx.conf": EDGE, "nginx.service": QUIT, "lb.tf": BALANCER % "var.drain"},
            "connection_draining_timeout_sec",
        ),
    ],
)
def test_what_is_missing_makes_a_cell_unknown(files: Mapping[str, str], word: str) -> None:
    (tier,) = tiers(files)
    assert any(word in one for one in tier.unknown), tier.unknown
    assert survives(tier, 1_000_000, 64e6) is None
    assert survives(tier, 50_000_000, 1e6) is False  # by its own grace, which bounds every stop


def test_a_known_limit_that_is_too_short_cuts_though_another_is_missing() -> None:
    (tier,) = tiers(
        {
            "nginx.conf": "include other.conf;\n" + EDGE.replace("worker_shutdown_timeout 120s;\n", ""),
            "nginx.service": QUIT.replace("500", "100"),
        }
    )
    assert tier.unknown
    assert survives(tier, 50_000_000, 1e6) is False
    assert survives(tier, 1_000_000, 64e6) is None


@pytest.mark.parametrize(("policy", "cut", "outcome"), [("cut", 60.0, False), ("wait", NEVER, True)])
def test_a_tier_of_a_chain_file_cuts_at_its_deadline_only_with_that_policy(
    policy: str, cut: float, outcome: bool
) -> None:
    (tier,) = tiers({"chain.yaml": CHAIN % policy})
    assert tier.cut == cut
    assert survives(tier, 50_000_000, 1e6) is outcome


def test_instances_of_which_only_the_load_balancer_is_known_keep_what_ends_within_its_drain() -> None:
    (tier,) = tiers({"lb.tf": BALANCER % "300" + MACHINE})
    assert happens(tier)[1:] == [(300.0, "drain ends", True), (390.0, "power off", True)]
    assert survives(tier, 10_000_000, 1e6) is True  # 110 s
    assert survives(tier, 10_000_000, 0.25e6) is False  # 350 s
    assert survives(tier, 50_000_000, 1e6) is False
    assert tier.unknown


@pytest.mark.parametrize(
    ("command", "signal", "cut", "unknown"),
    [
        ("gunicorn -k gthread --graceful-timeout 440 app:app", "QUIT", 440.0, False),
        ("gunicorn -k gthread --graceful-timeout 440 app:app", "INT", 440.0, False),
        ("gunicorn -k sync --graceful-timeout 440 app:app", "QUIT", 0.0, False),
        ("gunicorn -k $CLASS --graceful-timeout 440 app:app", "QUIT", 440.0, True),
        ("gunicorn -k $CLASS --graceful-timeout 440 app:app", "TERM", 440.0, False),
        ("uvicorn app:app", "QUIT", 0.0, False),
    ],
)
def test_a_signal_is_judged_by_what_the_workers_do_at_it(command: str, signal: str, cut: float, unknown: bool) -> None:
    unit = f"[Service]\nExecStart=/srv/bin/{command}\nKillSignal=SIG{signal}\nKillMode=mixed\nTimeoutStopSec=900\n"
    (tier,) = tiers({"app.service": unit})
    assert (tier.cut, bool(tier.unknown)) == (cut, unknown)


def test_a_stop_whose_server_no_file_configures_has_a_timeline_of_its_own() -> None:
    (tier,) = tiers({"nginx.service": QUIT.replace("500", "100")})
    assert (tier.name, tier.software) == ("nginx.service", "nginx")
    assert happens(tier) == [(0.0, "SIGQUIT", False), (100.0, "SIGKILL", True)]
    assert survives(tier, 50_000_000, 1e6) is False
    assert survives(tier, 1_000_000, 64e6) is None  # its own configuration may have a shorter limit
    assert ["its configuration" in one for one in tier.unknown] == [True]


def test_a_request_that_begins_while_a_hook_runs_has_less_time_than_the_pod() -> None:
    head = "apiVersion: v1\nkind: Pod\nmetadata: {name: shop}\nspec:\n  terminationGracePeriodSeconds: %d\n"
    container = "  containers:\n  - {name: a, image: b, ports: [{containerPort: 80}], lifecycle: {preStop: %s}}\n"
    pod = head + container % "{sleep: {seconds: 15}}"
    (short,), (long,) = tiers({"pod.yaml": pod % 440}), tiers({"pod.yaml": pod % 446})
    assert happens(short) == [(15.0, "SIGTERM", False), (440.0, "SIGKILL", True)]
    assert survives(short, 50_000_000, 1e6) is False
    assert survives(long, 50_000_000, 1e6) is None  # what its server does at SIGTERM is not known


def test_tiers_of_a_chain_file_stand_behind_each_other() -> None:
    inner = "  - {name: app, kind: app, templates: {v1: {}}}\n"
    edge, app = tiers({"chain.yaml": CHAIN % "wait" + inner})
    assert (edge.behind, app.behind) == ((), ("tier edge",))


OF_THE_TABLE = {
    *("APP01", "APP03", "APP06", "CHN03", "ENV01", "GCP01", "GCP02", "HAP01", "K8S01", "KNG01", "KNG02", "KNG08"),
    *("NGX01", "NGX02", "NGX03", "STR01"),
}
"""Rules about what the replacement of an instance cuts."""
SETS = Path(__file__).parent / "fixtures"
EXAMPLES = [
    *(pytest.param(rule.bad, {**rule.assume, **rule.assume_bad}, id=f"{rule.id} bad") for rule in all_rules()),
    *(pytest.param(rule.good, rule.assume, id=f"{rule.id} good") for rule in all_rules()),
    *(pytest.param(*fixture(folder), id=folder.name) for folder in sorted(SETS.iterdir())),
]


@pytest.mark.parametrize(("files", "assume"), EXAMPLES)
def test_the_table_cuts_an_upload_where_a_rule_finds_that_and_nowhere_else(
    files: Mapping[str, str], assume: Mapping[str, str]
) -> None:
    asked = Assumptions().given(assume)
    found = audit(documents(files), asked, files)
    violated = [one for one in found.of(Outcome.VIOLATED) if one.rule.id in OF_THE_TABLE]
    table = timeline(found.view, asked).tiers
    cuts = [tier.name for tier in table if survives(tier, asked.upload, asked.client_rate) is False]
    assert bool(violated) == bool(cuts), (violated, cuts)
    shown = {time for tier in table for one in tier.moments if one.cuts for time in (one.at, one.at - one.late)}
    limits = {float(limit) for one in violated if (limit := one.finding.numbers.get("limit_seconds")) is not None}
    assert {limit for limit in limits - shown if limit < min(tier.cut for tier in table)} == set()
