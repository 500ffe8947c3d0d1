"""Backend services with their health check, and the front ends that lead to them, as HCL.

The edge gets a global external load balancer, inner tiers regional internal ones. All are proxies: the next request on
a kept connection goes to another instance than a lame duck.
"""

from __future__ import annotations

from changeover.cli.terraform import hcl
from changeover.cli.terraform.tiers import CloudTier

SILENCE = 620
"""Seconds: longer than proxies keep idle connections."""


def front_end(tier: CloudTier) -> str:
    made = [_service(tier, name, tier.label) + "\n\n" + _entry(tier, name) for name in tier.services]
    if tier.traffic is not None:
        made.append(_service(tier, tier.traffic.second_service, f"{tier.label}_second"))
    return "\n\n".join([_check(tier), *made])


def _region(tier: CloudTier) -> str:
    return "" if tier.edge else "\n  region = var.region"


def _kind(tier: CloudTier, name: str) -> str:
    return f"google_compute_{name}" if tier.edge else f"google_compute_region_{name}"


def _check(tier: CloudTier) -> str:
    return f"""
# The load balancer asks the agent whether the software is ready and no lame duck: out after 15 s at most.
# https://cloud.google.com/load-balancing/docs/health-check-concepts
resource "{_kind(tier, "health_check")}" "{tier.label}_ready" {{
  name = "{hcl.name(tier.group, "-ready")}"{_region(tier)}
  check_interval_sec = 5
  timeout_sec = 5
  healthy_threshold = 2
  unhealthy_threshold = 2

  {tier.agent_scheme}_health_check {{
    port = {tier.agent_port}
    request_path = "/readyz"
  }}
}}
""".strip("\n")


def _service(tier: CloudTier, name: str, group: str) -> str:
    timeout = "local.silence_seconds" if tier.protocol == "TCP" else "local.timeout_seconds"
    switched = """

  # A rollout makes the group of the new template a backend: the next apply must not turn it back.
  lifecycle {
    ignore_changes = [backend]
  }"""
    return f"""
resource "{_kind(tier, "backend_service")}" "{hcl.label(name)}" {{
  name = {hcl.quoted(name)}{_region(tier)}
  load_balancing_scheme = "{"EXTERNAL_MANAGED" if tier.edge else "INTERNAL_MANAGED"}"
  protocol = "{tier.protocol}"
  port_name = "serve"
  timeout_sec = {timeout}
  connection_draining_timeout_sec = local.drain_seconds
  health_checks = [{_kind(tier, "health_check")}.{tier.label}_ready.id]

  backend {{
    group = {tier.manager}.{group}.instance_group
    balancing_mode = "UTILIZATION"
    capacity_scaler = 1.0
  }}{switched if tier.second_group is not None and tier.traffic is None else ""}
}}
""".strip("\n")


def _entry(tier: CloudTier, name: str) -> str:
    """The address that leads to a service."""
    here, label = _region(tier), hcl.label(name)
    address = "google_compute_global_address" if tier.edge else "google_compute_address"
    inner = (
        ""
        if tier.edge
        else """
  subnetwork = var.subnetwork
  address_type = "INTERNAL\""""
    )
    if tier.protocol == "TCP":
        proxy, port = "target_tcp_proxy", tier.agent.port
        made = _target(tier, name, proxy, f"backend_service = {_kind(tier, 'backend_service')}.{label}.id")
    else:
        proxy, port = ("target_https_proxy", 443) if tier.edge else ("target_http_proxy", tier.agent.port)
        certificates = "\n  ssl_certificates = var.certificates" if tier.edge else ""
        made = _url_map(tier, name)
        made += "\n\n" + _target(tier, name, proxy, f"url_map = {_kind(tier, 'url_map')}.{label}.id{certificates}")
    rule = "google_compute_global_forwarding_rule" if tier.edge else "google_compute_forwarding_rule"
    network = (
        ""
        if tier.edge
        else """
  network = var.network
  subnetwork = var.subnetwork

  # Without its proxies the region has none for this rule.
  depends_on = [google_compute_subnetwork.proxies]"""
    )
    return f"""
resource "{address}" "{label}" {{
  name = "{hcl.name(name, "-address")}"{here}{inner}
}}

{made}

resource "{rule}" "{label}" {{
  name = "{hcl.name(name, "-rule")}"{here}
  load_balancing_scheme = "{"EXTERNAL_MANAGED" if tier.edge else "INTERNAL_MANAGED"}"
  ip_protocol = "TCP"
  ip_address = {address}.{label}.id
  port_range = "{port}"
  target = {_kind(tier, proxy)}.{label}.id{network}
}}
""".strip("\n")


def _url_map(tier: CloudTier, name: str) -> str:
    service, label = _kind(tier, "backend_service"), hcl.label(name)
    if tier.traffic is None:
        return _target(tier, name, "url_map", f"default_service = {service}.{label}.id")
    return f"""
resource "{_kind(tier, "url_map")}" "{label}" {{
  name = {hcl.quoted(tier.traffic.url_map)}{_region(tier)}

  default_route_action {{
    weighted_backend_services {{
      backend_service = {service}.{label}.id
      weight = 1000
    }}
    weighted_backend_services {{
      backend_service = {service}.{hcl.label(tier.traffic.second_service)}.id
      weight = 0
    }}
  }}

  # A rollout changes the weights: the next apply must not turn them back.
  lifecycle {{
    ignore_changes = [default_route_action]
  }}
}}
""".strip("\n")


def _target(tier: CloudTier, name: str, kind: str, lines: str) -> str:
    return f"""
resource "{_kind(tier, kind)}" "{hcl.label(name)}" {{
  name = "{hcl.name(name, {"url_map": "-urls"}.get(kind, "-proxy"))}"{_region(tier)}
  {lines}
}}
""".strip("\n")
