"""Managed instance groups: the limits of their updates as they take effect, and their zones."""

from __future__ import annotations

from dataclasses import replace

from changeover.audit.google.resources import Google, Resource
from changeover.audit.setting import Setting

ZONES = 3
"""Zones of a regional group that names none: every region has at least so many."""


def zones(manager: Resource) -> int:
    """The zones that a group spreads over."""
    return len(manager.body.each("distributionPolicy", "zones")) or ZONES if manager.regional else 1


def unavailable(manager: Resource) -> Setting[float]:
    """Instances that an update may take away first: a number, or a percentage of the size.

    The API takes the number of zones for a limit that it does not get. Terraform sends 0 for one that a policy leaves
    out; of two zeros the API accepts none (cloud.google.com/compute/docs/reference/rest/v1/instanceGroupManagers), so
    where both are left out, the group has what the API gave it before.
    """
    policy = manager.body.get("updatePolicy")
    path = ("updatePolicy", "maxUnavailable")
    percent = manager.number((*path, "percent"), -1.0, "")
    if percent.value != -1.0 and manager.body.get(*path, "percent") is not None:
        return percent
    surges = any(manager.body.get("updatePolicy", "maxSurge", one) is not None for one in ("fixed", "percent"))
    sends_zero = policy is not None and manager.origin == "terraform" and surges
    default = 0.0 if sends_zero else float(zones(manager))
    shown = "0, as Terraform sends it" if sends_zero else f"the number of zones, {zones(manager)}"
    found = manager.number((*path, "fixed"), default, shown)
    return (
        replace(found, text=found.text.replace("fixed", "maxUnavailable")) if found.text.startswith("fixed") else found
    )


def scaled(cloud: Google, manager: Resource) -> bool:
    """Whether an autoscaler sets the size of a group."""
    return any(cloud.referred(one.body.get("target"), manager.kind) is manager for one in cloud.of("autoscaler"))
