"""GCP06: the backend service timeout ends an upload."""

from __future__ import annotations

from collections.abc import Iterator

from changeover.audit import words
from changeover.audit.assumptions import Assumptions
from changeover.audit.finding import Effect, Finding, Severity, met, unknown, violated
from changeover.audit.google.facts import is_http, is_serverless
from changeover.audit.rule import GOOGLE_CLOUD, Rule
from changeover.audit.view import View

DAY = 86400.0
"""Seconds within which Google restarts the proxies of its load balancers."""


def check(view: View, asked: Assumptions) -> Iterator[Finding]:
    for service in view.google.of("backendService"):
        if not is_http(service) or service.is_open("protocol") is not None:
            continue  # GCP07
        if is_serverless(view.google, service):
            missing = "the request timeout of the service behind its serverless endpoints, such as that of Cloud Run"
            yield unknown(
                service.place, service.object, "a backend service of serverless endpoints has no timeout", missing
            )
            continue
        found = service.number(("timeoutSec",), 30.0, "30")
        if found.value is None:
            yield unknown(found.place, service.object, found.text, found.missing)
            continue
        rate = asked.slowest_rate(found.value)
        numbers: dict[str, float | str | None] = {
            "timeout_seconds": found.value,
            "request_seconds": asked.request_seconds,
            "slowest_client_bits_per_second": rate if rate is None else round(rate),
        }
        if asked.request_seconds <= found.value <= DAY:
            yield met(found.place, service.object, f"{found.text}: enough for {words.upload(asked)}", numbers)
        else:
            long = found.value > DAY
            yield violated(
                found.place,
                service.object,
                f"{found.text}: longer than a day, within which proxies of the load balancer restart"
                if long
                else f"{found.text}: shorter than {words.upload(asked)} ({words.span(asked.request_seconds)})",
                get=Effect.OK,
                post=Effect.CUT,
                consequence="a GET survives; a POST is cut by a restart of a proxy"
                if long
                else f"a GET survives; a POST is cut after {words.span(found.value)}, without any rollout"
                + (f"; clients above {words.bit_rate(rate)} survive" if rate else ""),
                fix=service.with_value(("timeoutSec",), f"{min(asked.request_seconds + 30, DAY):.0f}"),
                numbers=numbers,
                replacement=found.replaced_by(min(asked.request_seconds + 30, DAY)),
            )


RULE = Rule(
    id="GCP06",
    name="google-backend-timeout",
    severity=Severity.ERROR,
    what="`timeout_sec` of an HTTP backend service is shorter than the longest upload.",
    why="For HTTP the timeout runs from the first byte of the request to the last byte of the response, so the "
    "time that a client needs to send counts. It is 30 seconds unless set, and cuts slow uploads without any "
    "rollout. Above a day Google's own restarts end connections.",
    sources=("https://cloud.google.com/load-balancing/docs/https#timeouts_and_retries",),
    bad={
        "lb.tf": """\
resource "google_compute_backend_service" "web" {
  name = "web"
  # expect: GCP06
  timeout_sec = 60
  connection_draining_timeout_sec = 460
}
""",
    },
    good={
        "lb.tf": """\
resource "google_compute_backend_service" "web" {
  name = "web"
  timeout_sec                     = 600
  connection_draining_timeout_sec = 460
}
""",
    },
    fix="Set `timeout_sec` above the longest request, at most 86400.",
    check=check,
    lab=GOOGLE_CLOUD,
)
