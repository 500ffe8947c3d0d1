"""GCP13: session affinity stands in for shared state of uploads."""

from __future__ import annotations

from collections.abc import Iterator

from changeover.audit.assumptions import Assumptions
from changeover.audit.finding import Effect, Finding, Severity, met, unknown, violated
from changeover.audit.rule import GOOGLE_CLOUD, Rule
from changeover.audit.view import View


def check(view: View, asked: Assumptions) -> Iterator[Finding]:
    for service in view.google.of("backendService"):
        found = service.word(("sessionAffinity",), "NONE", "NONE")
        if found.value is None:
            yield unknown(found.place, service.object, found.text, found.missing)
        elif found.value == "NONE" or asked.local_uploads is False:
            yield met(found.place, service.object, found.text)
        elif asked.local_uploads is None:
            missing = "whether uploads can continue on another instance: `--assume local-uploads=no` or `yes`"
            yield unknown(found.place, service.object, found.text, missing)
        else:
            yield violated(
                found.place,
                service.object,
                f"{found.text}, and uploads continue on one instance only",
                get=Effect.ERROR,
                post=Effect.ERROR,
                consequence="a GET for the state of an upload and the POST that continues it fail on another instance",
                fix="storage for uploads that every instance reaches",
            )


RULE = Rule(
    id="GCP13",
    name="google-affinity-of-uploads",
    severity=Severity.ERROR,
    what="Session affinity keeps a client on one instance, and uploads can continue only there.",
    why="Affinity ends when its instance leaves. A part of an upload that another instance holds is then lost, "
    "whatever the draining.",
    sources=("https://cloud.google.com/load-balancing/docs/backend-service#session_affinity",),
    bad={
        "lb.tf": """\
resource "google_compute_backend_service" "web" {
  name = "web"
  # expect: GCP13
  session_affinity = "GENERATED_COOKIE"
}
""",
    },
    good={
        "lb.tf": """\
resource "google_compute_backend_service" "web" {
  name = "web"
  session_affinity = "NONE"
}
""",
    },
    fix="Keep uploads in storage that every instance reaches.",
    check=check,
    lab=GOOGLE_CLOUD,
    assume={"local-uploads": "yes"},
)
