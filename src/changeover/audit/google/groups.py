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

    Without a policy the API takes the number of zones. Terraform sends 0 for a limit that its policy leaves out.
    """
    policy = manager.body.get("updatePolicy")
    path = ("updatePolicy", "maxUnavailable")
    percent = manager.number((*path, "percent"), -1.0, "")
    if percent.value != -1.0 and manager.body.get(*path, "percent") is not None:
        return percent
    sends_zero = policy is not None and manager.origin == "terraform"
    default = 0.0 if sends_zero else float(zones(manager))
    shown = "0, as Terraform sends it" if sends_zero else f"the number of zones, {zones(manager)}"
    found = manager.number((*path, "fixed"), default, shown)
    return (
        replace(found, text=found.text.replace("fixed", "maxUnavailable")) if found.text.startswith("fixed") else found
    )


def scaled(cloud: Google, manager: Resource) -> bool:
    """Whether an autoscaler sets the size of a group."""
    return any(cloud.referred(one.body.get("target"), manager.kind) is manager for one in cloud.of("autoscaler"))
