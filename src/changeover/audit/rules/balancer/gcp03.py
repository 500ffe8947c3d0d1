"""GCP03: an upload takes longer than any draining."""

from __future__ import annotations

from collections.abc import Iterator

from changeover.audit import words
from changeover.audit.assumptions import Assumptions
from changeover.audit.finding import Effect, Finding, Severity, met, violated
from changeover.audit.google.facts import drained_services
from changeover.audit.rule import GOOGLE_CLOUD, Rule
from changeover.audit.view import View

LONGEST = 3600.0
"""Seconds: the limit of drainingTimeoutSec."""


def check(view: View, asked: Assumptions) -> Iterator[Finding]:
    for service in drained_services(view.google):
        if asked.request_seconds <= LONGEST:
            yield met(service.place, service.object, f"{words.upload(asked)} ends within an hour")
        else:
            yield violated(
                service.place,
                service.object,
                f"{words.upload(asked)} takes {words.span(asked.request_seconds)}, and no drain is longer than an hour",
                get=Effect.OK,
                post=Effect.CUT,
                consequence="a GET survives; a POST in flight is cut an hour after its instance begins to leave",
                fix="uploads in parts that clients can resume",
                numbers={"request_seconds": asked.request_seconds, "longest_drain_seconds": LONGEST},
            )


RULE = Rule(
    id="GCP03",
    name="google-upload-exceeds-draining",
    severity=Severity.ERROR,
    what="The longest upload takes more than an hour, which is the longest connection draining.",
    why="`drainingTimeoutSec` ends at 3600 seconds. A longer upload is cut by every replacement of its instance.",
    sources=("https://cloud.google.com/load-balancing/docs/enabling-connection-draining",),
    bad={
        "lb.tf": """\
# expect: GCP03
resource "google_compute_backend_service" "web" {
  name = "web"
  connection_draining_timeout_sec = 3600
}
""",
    },
    good={
        "lb.tf": """\
resource "google_compute_backend_service" "web" {
  name = "web"
  connection_draining_timeout_sec = 3600
  protocol = "HTTP"
}
""",
    },
    fix="Let clients send uploads in parts that they can resume.",
    check=check,
    lab=GOOGLE_CLOUD,
    assume_bad={"upload": "1GB"},
)
