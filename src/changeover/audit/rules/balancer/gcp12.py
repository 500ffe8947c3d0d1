"""GCP12: the load balancer repeats requests that may have been carried out."""

from __future__ import annotations

from collections.abc import Iterator

from changeover.audit.assumptions import Assumptions
from changeover.audit.finding import Effect, Finding, Severity, met, unknown, violated
from changeover.audit.rule import GOOGLE_CLOUD, Rule
from changeover.audit.view import View
from changeover.conf.tree import Items, Map, Node, Open, Word

SAFE = {"connect-failure", "refused-stream", "cancelled", "unavailable"}
"""Conditions under which no server has begun to carry the request out."""


def check(view: View, asked: Assumptions) -> Iterator[Finding]:
    for urls in view.google.of("urlMap"):
        for policy in _policies(urls.body):
            place = policy.keys.get("retryConditions", policy.place)
            conditions = [one.word for one in policy.each("retryConditions") if isinstance(one, Word)]
            given = policy.get("retryConditions")
            if isinstance(given, Open):
                missing = given.missing or "the value of the expression"
                yield unknown(place, urls.object, "its retry conditions are not known", missing)
            elif len(conditions) < len(policy.each("retryConditions")):
                yield unknown(place, urls.object, "a retry condition cannot be read", "plain retry conditions")
            elif not (unsafe := [one for one in conditions if one not in SAFE]):
                yield met(place, urls.object, f"retries on {', '.join(conditions) or 'nothing'}")
            elif asked.idempotency_key:
                yield met(place, urls.object, "the application recognises repeated POSTs (--assume)")
            else:
                yield violated(
                    place,
                    urls.object,
                    f"retries on {', '.join(unsafe)}: a POST may have been carried out before",
                    get=Effect.OK,
                    post=Effect.DUPLICATED,
                    consequence="a GET is repeated safely; a POST may be carried out twice",
                    fix='retry_conditions = ["connect-failure"], or a route of GETs alone',
                )


def _policies(root: Node) -> Iterator[Map]:
    """Every retry policy, wherever it is nested; one whose route is limited to GETs is none."""
    stack = [root]
    while stack:
        at = stack.pop()
        if isinstance(at, Map):
            rules = [one for rule in at.maps("matchRules") for one in rule.maps("headerMatches")]
            if any(one.text("exactMatch") in {"GET", "HEAD"} for one in rules):
                continue
            if isinstance(policy := at.get("retryPolicy"), Map):
                yield policy
            stack += at.items.values()
        elif isinstance(at, Items):
            stack += at.values


RULE = Rule(
    id="GCP12",
    name="google-retries-posts",
    severity=Severity.ERROR,
    what="A retry policy repeats requests on errors, POSTs among them.",
    why="A retry policy of a URL map applies to every request of its route. On a 5xx or a reset the request may "
    "have been carried out before the answer was lost, so a POST can be carried out twice.",
    sources=("https://cloud.google.com/load-balancing/docs/l7-internal/traffic-management",),
    bad={
        "lb.tf": """\
resource "google_compute_url_map" "web" {
  name = "web"
  default_route_action {
    retry_policy {
      # expect: GCP12
      retry_conditions = ["5xx"]
      num_retries      = 1
    }
  }
}
""",
    },
    good={
        "lb.tf": """\
resource "google_compute_url_map" "web" {
  name = "web"
  default_route_action {
    retry_policy {
      retry_conditions = ["connect-failure"]
      num_retries      = 1
    }
  }
}
""",
    },
    fix="Retry on `connect-failure` alone, or limit the policy to routes of GETs.",
    check=check,
    lab=GOOGLE_CLOUD,
)
