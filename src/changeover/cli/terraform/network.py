"""Firewall rules, and the subnetwork of the proxies of inner load balancers, as HCL."""

from __future__ import annotations

from collections.abc import Sequence

from changeover.cli.terraform import hcl
from changeover.cli.terraform.tiers import CloudTier


def proxies(chain: str) -> str:
    return f"""
# Inner load balancers are proxies of this subnetwork. A network has one such active subnetwork in a region: import it
# if there is one already.
# https://cloud.google.com/load-balancing/docs/proxy-only-subnets
resource "google_compute_subnetwork" "proxies" {{
  name = "{hcl.name(chain, "-proxies")}"
  region = var.region
  network = var.network
  ip_cidr_range = var.proxy_range
  purpose = "REGIONAL_MANAGED_PROXY"
  role = "ACTIVE"
}}
"""


def controller(chain: str, tiers: Sequence[CloudTier]) -> str:
    """The controller reaches the agents of every tier."""
    ports = sorted({str(tier.agent_port) for tier in tiers}, key=int)
    return _rule(
        "controller",
        hcl.name(chain, "-controller"),
        "Control calls of the agents: of the controller alone, and with a token besides.",
        "source_ranges = var.controller_ranges",
        tiers,
        ports,
    )


def of_tier(chain: str, tier: CloudTier, tiers: Sequence[CloudTier]) -> str:
    """Health checks at the agent, and requests from what is in front."""
    serve, agent = str(tier.agent.port), str(tier.agent_port)
    probed = [agent, serve] if tier.edge and tier.services else [agent]
    found = [
        _rule(
            f"{tier.label}_probes",
            hcl.name(f"{chain}-{tier.name}", "-probes"),
            "Health checks of Google ask the agent"
            + (", and its front ends send requests." if len(probed) > 1 else "."),
            'source_ranges = ["130.211.0.0/22", "35.191.0.0/16"]',
            [tier],
            probed,
            source="https://cloud.google.com/load-balancing/docs/health-check-concepts#ip-ranges",
        )
    ]
    if tier.services and tier.edge:
        return found[0]
    if tier.services:
        why, source = "Requests of the inner load balancer.", "source_ranges = [var.proxy_range]"
    elif tier.front is not None:
        front = next(one for one in tiers if one.name == tier.front)
        why, source = f"Requests of tier {front.name}, which balances them itself.", f'source_tags = ["{front.tag}"]'
    else:
        why, source = "Requests of the routers outside of the chain.", "source_ranges = var.router_ranges"
    name = hcl.name(f"{chain}-{tier.name}", "-requests")
    return "\n\n".join([*found, _rule(f"{tier.label}_requests", name, why, source, [tier], [serve])])


def _rule(
    label: str, name: str, why: str, of: str, tiers: Sequence[CloudTier], ports: Sequence[str], source: str = ""
) -> str:
    tags = ", ".join(f'"{tier.tag}"' for tier in tiers)
    numbers = ", ".join(f'"{port}"' for port in dict.fromkeys(ports))
    return f"""
# {why}{f"{chr(10)}# {source}" if source else ""}
resource "google_compute_firewall" "{label}" {{
  name = "{name}"
  network = var.network
  direction = "INGRESS"
  {of}
  target_tags = [{tags}]

  allow {{
    protocol = "tcp"
    ports = [{numbers}]
  }}
}}
""".strip("\n")
