"""ENV03: the buffer filter of Envoy refuses an upload."""

from __future__ import annotations

from collections.abc import Iterator

from changeover.audit import words
from changeover.audit.assumptions import Assumptions
from changeover.audit.finding import Effect, Finding, Severity, met, unknown, violated
from changeover.audit.hops.envoy import Envoy
from changeover.audit.rule import Rule
from changeover.audit.view import View


def check(view: View, asked: Assumptions) -> Iterator[Finding]:
    for hop in view.of(Envoy):
        for limit in hop.buffered:
            if limit.value is None:
                yield unknown(limit.place, hop.name, limit.text, limit.missing)
            elif limit.value >= asked.upload:
                yield met(limit.place, hop.name, f"{limit.text}: enough for {words.size(asked.upload)}")
            else:
                yield violated(
                    limit.place,
                    hop.name,
                    f"{limit.text}: smaller than an upload of {words.size(asked.upload)}",
                    get=Effect.OK,
                    post=Effect.REFUSED,
                    consequence="a GET survives; a POST of this size is answered with 413, without any rollout",
                    fix=f"max_request_bytes: {asked.upload * 5 // 4}",
                    replacement=limit.replaced(str(asked.upload * 5 // 4)),
                )


_BEFORE = """\
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
          route_config:
            virtual_hosts:
            - {name: all, domains: ["*"], routes: [{match: {prefix: /}, route: {cluster: app, timeout: 0s}}]}
          http_filters:
          - name: buffer
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.buffer.v3.Buffer
"""
_AFTER = """\
          - name: router
            typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}
  clusters:
  - name: app
    load_assignment:
      cluster_name: app
      endpoints:
      - lb_endpoints:
        - endpoint: {address: {socket_address: {address: 10.0.0.5, port_value: 9000}}}
"""
RULE = Rule(
    id="ENV03",
    name="envoy-buffer-limit",
    severity=Severity.ERROR,
    what="`max_request_bytes` of the buffer filter is smaller than the largest upload.",
    why="The buffer filter takes a request in whole before Envoy sends it on. It answers a larger one with 413.",
    sources=("https://www.envoyproxy.io/docs/envoy/latest/configuration/http/http_filters/buffer_filter",),
    bad={"envoy.yaml": f"{_BEFORE}              # expect: ENV03\n              max_request_bytes: 5242880\n{_AFTER}"},
    good={"envoy.yaml": f"{_BEFORE}              max_request_bytes: 67108864\n{_AFTER}"},
    fix="Set `max_request_bytes` above the largest upload, or remove the filter.",
    check=check,
)
