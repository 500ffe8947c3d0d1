"""ENV02: a timeout of Envoy ends an upload."""

from __future__ import annotations

from collections.abc import Iterator

from changeover.audit import words
from changeover.audit.assumptions import Assumptions
from changeover.audit.finding import Effect, Finding, Severity, met, unknown, violated
from changeover.audit.hops.envoy import Envoy
from changeover.audit.limits import occupied, upload_fits
from changeover.audit.lines import line
from changeover.audit.rule import Rule
from changeover.audit.setting import Setting
from changeover.audit.view import View


def check(view: View, asked: Assumptions) -> Iterator[Finding]:
    for hop in view.of(Envoy):
        need = occupied(view, hop, asked)
        for limit in {one.place: one for one in hop.whole if one.value != float("inf")}.values():
            yield upload_fits(
                limit,
                need,
                hop.name,
                asked,
                consequence=f"a GET survives; a POST is cut after {words.span(limit.value or 0)}, without any rollout",
                fix=f"{line(limit, 'envoy', need + 30)}, or none",
                replacement=limit.replaced_by(need + 30),
            )
        for stall in {one.place: one for one in hop.stalls}.values():
            yield _stalled(hop, stall, asked)


def _stalled(hop: Envoy, limit: Setting[float], asked: Assumptions) -> Finding:
    if limit.value is None:
        return unknown(limit.place, hop.name, limit.text, limit.missing)
    longest = max(asked.app_time, asked.client_stall)
    if limit.value < asked.app_time:
        return violated(
            limit.place,
            hop.name,
            f"{limit.text}: shorter than the {words.span(asked.app_time)} that the application takes to answer",
            get=Effect.ERROR,
            post=Effect.ERROR,
            consequence=f"a GET and a POST that take longer than {words.span(limit.value)} to answer get 504",
            fix=line(limit, "envoy", longest * 2),
            replacement=limit.replaced_by(longest * 2),
        )
    if limit.value < asked.client_stall:
        return violated(
            limit.place,
            hop.name,
            f"{limit.text}: shorter than a pause of {words.span(asked.client_stall)} of a client",
            get=Effect.OK,
            post=Effect.REFUSED,
            consequence="a GET survives; a POST whose client pauses for longer gets 408",
            fix=line(limit, "envoy", longest * 2),
            replacement=limit.replaced_by(longest * 2),
        )
    return met(limit.place, hop.name, limit.text, {"margin_seconds": limit.value - longest})


RULE = Rule(
    id="ENV02",
    name="envoy-timeouts",
    severity=Severity.WARNING,
    what="A timeout of Envoy is shorter than the longest upload, or than its longest pause.",
    why="`request_timeout` and `max_stream_duration` limit a whole request, with the time that the client needs to "
    "send. `stream_idle_timeout`, 5 minutes unless set, limits a pause in it. All of them end requests without any "
    "rollout.",
    sources=("https://www.envoyproxy.io/docs/envoy/latest/faq/configuration/timeouts",),
    bad={
        "envoy.yaml": """\
static_resources:
  listeners:
  - name: edge
    address: {socket_address: {address: 0.0.0.0, port_value: 8080}}
    filter_chains:
    - filters:
      - name: http
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: edge
          # expect: ENV02
          request_timeout: 60s
          # expect: ENV02
          stream_idle_timeout: 10s
          route_config:
            virtual_hosts:
            - {name: all, domains: ["*"], routes: [{match: {prefix: /}, route: {cluster: app, timeout: 0s}}]}
          http_filters:
          - name: router
            typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}
  clusters:
  - name: app
    load_assignment:
      cluster_name: app
      endpoints:
      - lb_endpoints:
        - endpoint: {address: {socket_address: {address: 10.0.0.5, port_value: 9000}}}
""",
    },
    good={
        "envoy.yaml": """\
static_resources:
  listeners:
  - name: edge
    address: {socket_address: {address: 0.0.0.0, port_value: 8080}}
    filter_chains:
    - filters:
      - name: http
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: edge
          request_timeout: 600s
          stream_idle_timeout: 60s
          route_config:
            virtual_hosts:
            - {name: all, domains: ["*"], routes: [{match: {prefix: /}, route: {cluster: app, timeout: 0s}}]}
          http_filters:
          - name: router
            typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}
  clusters:
  - name: app
    load_assignment:
      cluster_name: app
      endpoints:
      - lb_endpoints:
        - endpoint: {address: {socket_address: {address: 10.0.0.5, port_value: 9000}}}
""",
    },
    fix="Set limits of a whole request above the longest upload, and `stream_idle_timeout` above its longest pause.",
    check=check,
)
