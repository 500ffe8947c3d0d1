"""GCP07: the idle timeout of a TCP proxy of Google Cloud is too short."""

from __future__ import annotations

from collections.abc import Iterator

from changeover.audit import words
from changeover.audit.assumptions import Assumptions
from changeover.audit.finding import Effect, Finding, Severity, met, unknown, violated
from changeover.audit.google.facts import is_http, is_passthrough
from changeover.audit.limits import APART
from changeover.audit.rule import GOOGLE_CLOUD, Rule
from changeover.audit.view import View

POOLS = 600.0
"""Seconds that pools of load balancers and proxies keep idle connections at most."""


def check(view: View, asked: Assumptions) -> Iterator[Finding]:
    silence = max(asked.app_time, asked.client_stall)
    pools = [target.pool_idle.value for hop in view.hops for target in hop.targets]
    known = [one for one in pools if one is not None]
    pool = max(known) if known and len(known) == len(pools) else None
    for service in view.google.of("backendService"):
        if (protocol := service.is_open("protocol")) is not None:
            missing = protocol.missing or "the protocol of the backend service"
            yield unknown(service.at("protocol"), service.object, "whether timeout_sec is an idle timeout", missing)
            continue
        if is_http(service) or is_passthrough(service):
            continue
        found = service.number(("timeoutSec",), 30.0, "30")
        if found.value is None:
            yield unknown(found.place, service.object, found.text, found.missing)
        elif found.value >= max(POOLS if pool is None else pool + APART, silence):
            yield met(found.place, service.object, found.text, {"margin_seconds": found.value - silence})
        elif found.value >= silence and pool is None:
            missing = f"how long pools in front keep idle connections: it must be below {words.span(found.value)}"
            yield unknown(found.place, service.object, f"{found.text}: longer than any silence", missing)
        else:
            yield violated(
                found.place,
                service.object,
                f"{found.text}: shorter than a silence of {words.span(silence)}"
                if found.value < silence
                else f"{found.text}: not longer than a pool keeps connections, {words.span(pool or 0)}",
                get=Effect.RETRIED,
                post=Effect.ERROR,
                consequence="a connection is closed while a request is on its way or computed: a GET may be repeated, "
                "a POST fails",
                fix=service.with_value(("timeoutSec",), "620"),
                numbers={"timeout_seconds": found.value, "silence_seconds": silence, "pool_idle_seconds": pool},
                replacement=found.replaced_by(max(POOLS, silence * 2)),
            )


RULE = Rule(
    id="GCP07",
    name="google-tcp-idle-timeout",
    severity=Severity.ERROR,
    what="`timeout_sec` of a TCP or SSL backend service is shorter than the longest silence.",
    why="For TCP and SSL the timeout is an idle timeout, 30 seconds unless set: a connection on which an "
    "application computes, a client pauses, or a pool waits is closed.",
    sources=("https://cloud.google.com/load-balancing/docs/tcp#timeouts_and_retries",),
    bad={
        "lb.tf": """\
resource "google_compute_backend_service" "web" {
  name = "web"
  # expect: GCP07
  timeout_sec = 10
  protocol              = "TCP"
  load_balancing_scheme = "EXTERNAL_MANAGED"
}
""",
    },
    good={
        "lb.tf": """\
resource "google_compute_backend_service" "web" {
  name = "web"
  timeout_sec           = 600
  protocol              = "TCP"
  load_balancing_scheme = "EXTERNAL_MANAGED"
}
""",
    },
    fix="Set `timeout_sec` above the longest silence and the idle time of pools, such as 620.",
    check=check,
    lab=GOOGLE_CLOUD,
)
