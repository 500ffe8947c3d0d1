"""Machines, and the templates that make them."""

from __future__ import annotations

from changeover.audit.google.resources import Google, Resource


def machines(cloud: Google) -> list[Resource]:
    return [*cloud.of("instanceTemplate"), *cloud.of("instance")]


def scheduling(machine: Resource) -> tuple[str, ...]:
    """Where a machine's scheduling stands: in a template of the API it is one level deeper."""
    deeper = machine.origin == "api" and machine.kind == "instanceTemplate"
    return ("properties", "scheduling") if deeper else ("scheduling",)
