"""Instance templates, groups, the health check of autohealing, and the identity of the VMs, as HCL."""

from __future__ import annotations

from changeover.agent import unit
from changeover.cli.terraform import hcl
from changeover.cli.terraform.tiers import CloudTier

POWER_OFF = 90
"""Seconds from the stop of a VM until its power goes."""
ZONES = 3
"""Zones of a regional group that names none."""


def identity(chain: str) -> str:
    """The service account of the VMs, and the secret with the token of the agents."""
    return f"""
# The VMs read one secret, and have no other right.
resource "google_service_account" "instances" {{
  account_id = {hcl.quoted(hcl.name(chain, "-instances", 30))}
  display_name = {hcl.quoted(f"VMs of the chain {chain}")}
}}

# Its value is added by hand, because a value in a configuration is in the state of Terraform as well.
resource "google_secret_manager_secret" "agent_token" {{
  secret_id = "{unit.SECRET}"
  replication {{
    auto {{}}
  }}
}}

resource "google_secret_manager_secret_iam_member" "agent_token" {{
  secret_id = google_secret_manager_secret.agent_token.id
  role = "roles/secretmanager.secretAccessor"
  member = "serviceAccount:${{google_service_account.instances.email}}"
}}
"""


def templates(tier: CloudTier, version: str, *, short: bool) -> str:
    """The startup script of a tier and its templates. `short`: the longest request ends before the power goes."""
    script = hcl.escaped(unit.startup_lines(tier.agent, version)).rstrip()
    found = [f"locals {{\n  {tier.label}_startup = <<STARTUP\n#!/bin/bash\n{script}\nSTARTUP\n}}"]
    found += [_template(tier, name, region, short=short) for name, region in tier.templates.items()]
    return "\n\n".join(found)


def _template(tier: CloudTier, name: str, region: str, *, short: bool) -> str:
    accepted = (
        ""
        if short
        else """
  # A rollout deletes a VM after its last request. Only a stop by others has the 90 s of ACPI. A graceful shutdown would
  # be longer, and the google provider has none (google-beta does).
  # https://cloud.google.com/compute/docs/instances/graceful-shutdown-overview
  # changeover: ignore VM02 -- a rollout waits for uploads before it deletes a VM"""
    )
    return f"""
resource "{_template_kind(region)}" "{hcl.label(name)}" {{
  name = {hcl.quoted(name)}{f"{chr(10)}  region = {hcl.quoted(region)}" if region else ""}
  machine_type = var.machine_type
  tags = ["{tier.tag}"]
  metadata_startup_script = local.{tier.label}_startup

  disk {{
    source_image = var.images["{name}"]
    boot = true
    auto_delete = true
  }}

  network_interface {{
    network = var.network
    subnetwork = var.subnetwork
  }}

  service_account {{
    email = google_service_account.instances.email
    scopes = ["cloud-platform"]
  }}

  # A Spot VM ends 30 s after its notice: no slow upload does.
  # https://cloud.google.com/compute/docs/instances/spot{accepted}
  scheduling {{
    automatic_restart = true
    on_host_maintenance = "MIGRATE"
    preemptible = false
    provisioning_model = "STANDARD"
  }}

  # Immutable: what differs is another template of the chain file. The old one stays for the way back.
  lifecycle {{
    ignore_changes = all
  }}

  depends_on = [google_secret_manager_secret_iam_member.agent_token]
}}
""".strip("\n")


def _template_kind(region: str) -> str:
    return "google_compute_region_instance_template" if region else "google_compute_instance_template"


def groups(tier: CloudTier) -> str:
    """The group of a tier, or the two that take turns, and the health check by which they heal."""
    parts = [_alive(tier), _group(tier, tier.group, tier.label, tier.size)]
    if tier.second_group is not None:
        parts.append(f"""
# Takes turns with the group above: the one without VMs gets those of the next template, and is no backend until then.
{_group(tier, tier.second_group, f"{tier.label}_second", 0)}""")
    return "\n\n".join(part.strip("\n") for part in parts)


def _alive(tier: CloudTier) -> str:
    return f"""
# Autohealing asks whether the process lives, slower than the load balancer asks whether it is ready: a lame duck fails
# the second, and one check for both would recreate it in the middle of its drain.
# https://cloud.google.com/compute/docs/instance-groups/autohealing-instances-in-migs
resource "google_compute_health_check" "{tier.label}_alive" {{
  name = "{hcl.name(tier.group, "-alive")}"
  check_interval_sec = 10
  timeout_sec = 5
  healthy_threshold = 2
  unhealthy_threshold = 6

  {tier.agent_scheme}_health_check {{
    port = {tier.agent_port}
    request_path = "/livez"
  }}
}}
"""


def _group(tier: CloudTier, name: str, label: str, size: int) -> str:
    first = f"{_template_kind(tier.templates[tier.first])}.{hcl.label(tier.first)}.self_link"
    place = "zone = var.zone" if tier.zonal else "region = var.region"
    surge = tier.surge if tier.zonal else max(tier.surge, ZONES)
    spread = (
        ""
        if tier.zonal
        else """

    # Redistribution would delete instances that no rollout has drained.
    instance_redistribution_type = "NONE\""""
    )
    return f"""
resource "{tier.manager}" "{label}" {{
  name = {hcl.quoted(name)}
  {place}
  base_instance_name = "{hcl.name(tier.name, "", 54)}"
  target_size = {size}

  version {{
    instance_template = {first}
  }}

  named_port {{
    name = "serve"
    port = {tier.agent.port}
  }}

  auto_healing_policies {{
    health_check = google_compute_health_check.{tier.label}_alive.id
    initial_delay_sec = 300
  }}

  # OPPORTUNISTIC: the group replaces nothing by itself, because it knows no request in flight.
  # An update by hand adds first and takes nothing away; in a region a limit is 0 or at least the number of zones.
  # https://cloud.google.com/compute/docs/instance-groups/rolling-out-updates-to-managed-instance-groups
  update_policy {{
    type = "OPPORTUNISTIC"
    minimal_action = "REPLACE"
    replacement_method = "SUBSTITUTE"
    max_surge_fixed = {surge}
    max_unavailable_fixed = 0{spread}
  }}

  # A rollout changes both: the next apply must not turn it back.
  lifecycle {{
    ignore_changes = [target_size, version]
  }}
}}
""".strip("\n")
