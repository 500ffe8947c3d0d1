"""The Terraform configuration of a chain: its head, its variables, and the resources of each tier. Pure text.

Every value has its reason beside it, with a public source. Refuses a load that no backend service could drain.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

from changeover.agent import unit
from changeover.audit.assumptions import Assumptions
from changeover.cli.terraform import hcl, machines, network, services
from changeover.cli.terraform.tiers import CloudTier
from changeover.kit.human import human_bytes, human_seconds
from changeover.model.errors import fail

SPARE = 30
"""Seconds of draining beyond the longest request."""
LONGEST_DRAIN = 3600
"""Seconds: the most that a backend service drains."""


@dataclass(frozen=True)
class Place:
    """`zone`: of zonal groups; None for regional ones."""

    project: str
    region: str
    zone: str | None


def drain_seconds(load: Assumptions) -> int:
    """Seconds that a backend service must drain. Raises ChangeoverError where none can drain as long."""
    found = ceil(load.request_seconds) + SPARE
    if found > LONGEST_DRAIN:
        raise fail(
            f"an upload of {human_bytes(load.upload)} at {load.client_rate / 1e6:g} Mbps takes "
            f"{human_seconds(ceil(load.request_seconds))}, and no backend service drains longer than an hour",
            next="Let clients send it in parts (docs/uploads.md), and give the size of a part as --upload-size.",
        )
    return found


def configuration(chain: str, place: Place, tiers: Sequence[CloudTier], load: Assumptions, version: str) -> str:
    """main.tf. `version`: of changeover, as the VMs install it."""
    drain = drain_seconds(load)
    inner = any(tier.services and not tier.edge for tier in tiers)
    https = any(tier.services and tier.edge and tier.protocol != "TCP" for tier in tiers)
    routed = any(not tier.services and tier.front is None for tier in tiers)
    parts = [
        _head(chain),
        _variables(place, tiers, inner=inner, https=https, routed=routed),
        _locals(drain, load),
        machines.identity(chain),
        *([network.proxies(chain)] if inner else []),
        network.controller(chain, tiers),
    ]
    for tier in tiers:
        parts += [
            f"# ---- tier {tier.name}: {tier.kind}, {tier.size} VMs",
            machines.templates(tier, version, short=load.request_seconds <= machines.POWER_OFF),
            machines.groups(tier),
            network.of_tier(chain, tier, tiers),
        ]
        parts += [services.front_end(tier)] if tier.services else []
    parts.append(_outputs(tiers))
    return hcl.aligned("\n\n".join(part.strip("\n") for part in parts))


def _head(chain: str) -> str:
    return f"""
# The chain {chain} on Google Cloud, so that a rollout cuts no request. Read it, then:
#   terraform init && terraform plan -var-file=chain.tfvars
#   terraform apply -var-file=chain.tfvars -target=google_secret_manager_secret.agent_token
#   openssl rand -hex 32 | gcloud secrets versions add {unit.SECRET} --data-file=-
#   terraform apply -var-file=chain.tfvars && changeover doctor -f chain.yaml && changeover up -f chain.yaml
# Rollouts are changeover's: a new template is a new entry of the chain file, rendered and applied before its roll.
# The network, the subnetwork (with Private Google Access or Cloud NAT) and the images are yours.

terraform {{
  required_version = ">= 1.3"
  required_providers {{
    google = {{
      source  = "hashicorp/google"
      version = "~> 6.0"
    }}
  }}
}}

provider "google" {{
  project = var.project
  region = var.region
}}
"""


def _variables(place: Place, tiers: Sequence[CloudTier], *, inner: bool, https: bool, routed: bool) -> str:
    names = [template for tier in tiers for template in tier.templates]
    found = [
        _variable("project", "string", "The project.", hcl.quoted(place.project)),
        _variable(
            "region", "string", "The region of the groups and of inner load balancers.", hcl.quoted(place.region)
        ),
    ]
    if place.zone is not None:
        found.append(_variable("zone", "string", "The zone of the groups.", hcl.quoted(place.zone)))
    found += [
        _variable("network", "string", "The VPC network of the VMs: its name or link."),
        _variable("subnetwork", "string", "The subnetwork of the VMs, in the region: its name or link."),
        _variable("machine_type", "string", "Of every VM.", '"e2-medium"'),
        _variable(
            "images",
            "map(string)",
            "Instance template -> the image of its VMs, with the software and the agent: " + ", ".join(names) + ".",
        ),
        """
variable "controller_ranges" {
  type = list(string)
  description = "Addresses of the controller: nothing else reaches the control calls of the agents."
  validation {
    condition = !contains(var.controller_ranges, "0.0.0.0/0")
    error_message = "The agents must not be open to every address."
  }
}
""".strip(),
    ]
    if inner:
        text = "A free range for the proxies of inner load balancers, such as 10.129.0.0/23 (a /26 at least)."
        found.append(_variable("proxy_range", "string", text))
    if https:
        found.append(_variable("certificates", "list(string)", "SSL certificates of the edge: their names or links."))
    if routed:
        text = "Addresses of the routers outside of the chain, which send requests to the VMs directly."
        found.append(_variable("router_ranges", "list(string)", text))
    return "\n\n".join(found)


def _variable(name: str, type: str, description: str, default: str | None = None) -> str:
    lines = [f'variable "{name}" {{', f"  type = {type}", f"  description = {hcl.quoted(description)}"]
    return "\n".join([*lines, *([f"  default = {default}"] if default is not None else []), "}"])


def _locals(drain: int, load: Assumptions) -> str:
    return f"""
locals {{
  # {human_bytes(load.upload)} at {load.client_rate / 1e6:g} Mbps are {ceil(load.upload_seconds)} s,
  # the response takes {load.app_time:g} s, and {SPARE} s are to spare.
  # An instance that leaves keeps its connections for so long; 0, the API's default, cuts them at once.
  # https://cloud.google.com/load-balancing/docs/enabling-connection-draining
  drain_seconds = {drain}

  # From the first byte of the request to the last one of the response: a shorter one cuts the upload without a rollout.
  # https://cloud.google.com/load-balancing/docs/backend-service#timeout-setting
  timeout_seconds = {drain}

  # For TCP it is a silence: longer than the 600 s for which proxies keep idle connections.
  # https://cloud.google.com/load-balancing/docs/https/request-distribution
  silence_seconds = {max(drain, services.SILENCE)}
}}
"""


def _outputs(tiers: Sequence[CloudTier]) -> str:
    found = []
    for tier in tiers:
        kind = "google_compute_global_address" if tier.edge else "google_compute_address"
        for service in tier.services:
            found.append(
                f'output "{hcl.label(service)}_address" {{\n'
                f"  description = {hcl.quoted(f'Where tier {tier.name} takes requests.')}\n"
                f"  value = {kind}.{hcl.label(service)}.address\n}}"
            )
    found.append(
        'output "controller_role" {\n'
        '  description = "Print the custom role of the controller."\n'
        '  value = "changeover doctor --role"\n}'
    )
    return "\n\n".join(found)
