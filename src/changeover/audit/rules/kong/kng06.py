"""KNG06: a target is stopped too soon after its weight became 0."""

from __future__ import annotations

from collections.abc import Iterator

from changeover.audit import words
from changeover.audit.assumptions import Assumptions
from changeover.audit.finding import Finding, Severity, unknown
from changeover.audit.hops.kong import Kong
from changeover.audit.limits import occupied, upload_fits
from changeover.audit.rule import KONG, Rule
from changeover.audit.setting import Setting
from changeover.audit.view import View
from changeover.conf.nginx import values


def check(view: View, asked: Assumptions) -> Iterator[Finding]:
    for hop in view.of(Kong):
        nodes = hop.setting("worker_state_update_frequency", values.seconds, 5.0, "5")
        database = hop.setting("db_update_frequency", values.seconds, 5.0, "5")
        for name, upstream in hop.upstreams.items():
            for target in upstream.each("targets"):
                if target.number("weight") != 0:
                    continue
                what = f"target {target.text('target')} of upstream {name}"
                learn = [one for one in (nodes, database) if one.value is None]
                if learn:
                    yield unknown(target.place, what, learn[0].text, learn[0].missing)
                    continue
                spread, request = (nodes.value or 0) + (database.value or 0), occupied(view, hop, asked)
                need = spread + request
                wait = asked.weight_wait
                missing = "the time until the target is stopped: `--assume weight-wait=10m`"
                text = "its weight is 0" if wait is None else f"stopped {words.span(wait)} after its weight became 0"
                cut = words.span(wait) if wait is not None else ""
                yield upload_fits(
                    Setting(wait, target.place, text, missing),
                    need,
                    what,
                    asked,
                    consequence=f"a GET survives; a POST in flight is cut {cut} after the weight became 0",
                    fix=f"wait {words.span(need)} before the target is stopped",
                    whole=f"{words.span(spread)} until each node knows it and a request of {words.span(request)}",
                )


RULE = Rule(
    id="KNG06",
    name="kong-weight-zero-wait",
    severity=Severity.WARNING,
    what="A target has the weight 0, and is stopped before Kong's nodes know it and its requests have ended.",
    why="Nodes of Kong learn of a weight within `db_update_frequency` and `worker_state_update_frequency`, five "
    "seconds each by default. Requests that were sent before go on after that.",
    sources=(
        "https://developer.konghq.com/gateway/configuration/#worker-state-update-frequency",
        "https://developer.konghq.com/gateway/configuration/#db-update-frequency",
    ),
    bad={
        "kong.conf": """\
worker_state_update_frequency = 5
""",
        "kong.yml": """\
_format_version: "3.0"
upstreams:
- name: shop
  targets:
  # expect: KNG06
  - {target: "10.0.0.6:9000", weight: 0}
  - {target: "10.0.0.7:9000", weight: 100}
""",
    },
    good={
        "kong.conf": """\
worker_state_update_frequency = 1
db_update_frequency = 1
""",
        "kong.yml": """\
_format_version: "3.0"
upstreams:
- name: shop
  targets:
  - {target: "10.0.0.6:9000", weight: 0}
  - {target: "10.0.0.7:9000", weight: 100}
""",
    },
    fix="Wait for both frequencies and the longest request before the target is stopped. The wait is a step of the "
    "rollout: no setting of Kong has it.",
    check=check,
    lab=KONG,
    assume={"weight-wait": "439s"},
)
