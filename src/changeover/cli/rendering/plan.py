"""A plan as `plan` prints it: one JSON object, or tables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from math import inf
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from changeover.doctor.diagnosis import Diagnosis, Severity
from changeover.doctor.permissions import UNREAD
from changeover.doctor.verdict import refusals, unknown, warnings
from changeover.engine.release.plan import Plan, TierPlan
from changeover.engine.release.pooled import ShortStep
from changeover.model.revision import is_restart, template_of
from changeover.model.units import human_bytes, human_seconds
from changeover.ports import CallRate
from changeover.rollout.simulation.rehearsal import Planned
from changeover.rollout.simulation.upload_forecast import PassingUpload

Disk = Mapping[str, Mapping[str, int]]
"""Tier -> template -> bytes of disk: `Wired.disk`."""


def _disk(one: TierPlan, disk: Disk) -> int:
    """Bytes on disk that the buffered bodies of one instance may take in this rollout."""
    templates = disk.get(one.tier, {})
    return max(templates.get(template_of(name), 0) for name in (one.from_template, one.to_template))


def data(
    made: Plan, disk: Disk, connections: int | None, short: Sequence[ShortStep] = (), found: Sequence[Diagnosis] = ()
) -> dict[str, Any]:
    """The object of `plan --json`. Times in seconds from the start of the rollout, sizes in bytes."""
    return {
        "id": made.saved.id if made.tiers else None,
        "targets": {tier: template_of(goal) for tier, goal in made.saved.targets.items()},
        "tiers": [
            {**_tier_data(one), "buffered_bytes_limit": one.rehearsal.peak * _disk(one, disk)} for one in made.tiers
        ],
        "max_instances": made.peak,
        "max_connections": connections,
        "lower_bound_seconds": _rounded(made.lower_bound),
        "seconds": _rounded(made.seconds),
        "uploads": [_upload_data(one) for one in made.uploads],
        "uploads_cut": sum(one.outcome == "cut" for one in made.uploads),
        "long_lived": [
            {"tier": tier, "instance": instance, "connections": old.connections, "oldest_seconds": old.oldest}
            for tier, instance, old in made.long_lived
        ],
        "instances_without_counts": list(made.silent),
        "guards_without_comparison": [{"tier": tier, "guard": guard} for tier, guard in made.uncompared],
        "unused_settings": [{"tier": tier, "key": f"update.{key}", "strategy": of} for tier, key, of in made.unread],
        "steps_shorter_than_connections": [
            {"tier": one.tier, "pool": one.pool, "step_seconds": one.step, "connection_seconds": one.life}
            for one in short
        ],
        "preconditions": [
            {
                "check": one.check,
                "where": one.where,
                "read": one.read,
                "get": one.get,
                "post": one.post,
                "cure": one.cure,
            }
            | {"severity": one.severity.value, "refuses": one.severity is Severity.FATAL and one.check not in UNREAD}
            for one in found
        ],
    }


def _tier_data(one: TierPlan) -> dict[str, Any]:
    ends = one.rehearsal.outcome == "completed"
    return {
        "tier": one.tier,
        "from": template_of(one.from_template),
        "to": template_of(one.to_template),
        "restart": is_restart(one.from_template, one.to_template),
        "strategy": one.rehearsal.strategy,
        "size": one.size,
        "max_instances": one.rehearsal.peak,
        "max_machines": one.machines,
        "deletion_seconds": _rounded(one.deletion),
        "calls_per_minute": None if one.calls is None else one.calls.calls,
        "calls_quota": None if one.calls is None else one.calls.quota,
        "starts_at_seconds": _rounded(one.begins),
        "lower_bound_seconds": _rounded(one.rehearsal.lower_bound),
        "seconds": _rounded(one.rehearsal.seconds) if ends else None,
        "waits_for": list(one.rehearsal.waits_for),
        "watch_seconds": _rounded(one.rehearsal.watch),
        "steps": [
            {
                "at_seconds": _rounded(one.begins + step.at),
                "action": step.what,
                "instance": step.instance,
                "text": step.text,
            }
            for step in one.rehearsal.planned
        ],
    }


def _upload_data(one: PassingUpload) -> dict[str, Any]:
    return {
        "tier": one.tier,
        "instance": one.instance,
        "received": one.upload.received,
        "expected": one.upload.expected,
        "age_seconds": _rounded(one.upload.seconds),
        "remaining_seconds": None if one.seconds_left in (None, inf) else _rounded(one.seconds_left),
        "drain_starts_in_seconds": _rounded(one.leaves),
        "expected_outcome": one.outcome,
    }


def unused(tier: str, key: str, strategy: str) -> str:
    """The warning of a key that this roll does not read."""
    return f"Warning: `update.{key}` of {tier} has no effect in this roll: `--strategy {strategy}` uses it."


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)


def picture(
    made: Plan,
    disk: Disk,
    connections: int | None,
    short: Sequence[ShortStep] = (),
    found: Sequence[Diagnosis] = (),
    audited: Sequence[str] = (),
) -> RenderableType:
    """The tables that `plan` prints. `connections`: what the load balancer can hold at once; None: it is not known.

    `audited`: what the chain would cut, a line each.
    """
    if not made.tiers:
        runs = ", ".join(f"{tier} already runs {template_of(goal)}" for tier, goal in made.saved.targets.items())
        return f"{runs}. Nothing to do."
    whole = Table("tier", "from", "to", "strategy", "most instances", "lower bound", "with requests in flight")
    for one in made.tiers:
        restart = " (restart)" if is_restart(one.from_template, one.to_template) else ""
        way = (
            *(one.tier, template_of(one.from_template), template_of(one.to_template) + restart),
            one.rehearsal.strategy,
        )
        ends = one.rehearsal.seconds if one.rehearsal.outcome == "completed" else None
        whole.add_row(*way, f"{one.rehearsal.peak} for {one.size}", _time(one.rehearsal.lower_bound), _time(ends))
    if len(made.tiers) > 1:
        whole.add_row("together", "", "", "", f"{made.peak} in total", _time(made.lower_bound), _time(made.seconds))
    steps = Table("time", "tier", "action", "instances", title="Steps", title_justify="left")
    for one in made.tiers:
        for row in _rows(one):
            steps.add_row(*row)
    watches = [
        f"{one.tier} is complete when its newest instance has served for "
        f"{human_seconds(round(one.rehearsal.watch, 1))} (update.watch)."
        for one in made.tiers
        if one.rehearsal.watch
    ]
    waits = [
        f"Not included: the wait for {what} ({one.tier})." for one in made.tiers for what in one.rehearsal.waits_for
    ]
    fits = [
        f"{one.tier} buffers bodies on disk: {one.rehearsal.peak} instances x {human_bytes(each)} "
        f"= {human_bytes(one.rehearsal.peak * each)}."
        for one in made.tiers
        if (each := _disk(one, disk))
    ]
    if connections is not None:
        fits.append(f"The load balancer can hold {connections:,} connections at once, over all tiers.")
    elif any(one.deletion is None for one in made.tiers):
        fits.append("It is not known how many connections the load balancer can hold: it did not answer.")
    fits += [
        f"Google takes up to {human_seconds(one.deletion)} to delete a VM of {one.tier}: the drain time of its backend "
        f"services and 60s. {_machines(one)}"
        for one in made.tiers
        if one.deletion is not None
    ]
    fits += [_calls(one.tier, one.calls) for one in made.tiers if one.calls is not None]
    pools = [
        f"Warning: the weights of {one.tier} count for new connections, and {one.pool} uses one for "
        f"{human_seconds(one.life)}. A step of {human_seconds(one.step)} sees less than its share: lower "
        f"upstream_keepalive_time of {one.pool}, or make the step longer."
        for one in short
    ]
    pools += [
        f"Warning: guard {guard} compares old and new instances that serve side by side. The rolling update of {tier} "
        "may end before it has enough samples, and then nothing is compared. Use a canary with an `analyse` step."
        for tier, guard in made.uncompared
    ]
    pools += [unused(*one) for one in made.unread]
    longs = [
        f"{instance} ({tier}) has {old.connections} long-lived connections, the oldest "
        f"{human_seconds(old.oldest)}: its drain waits for them, or does what `drain.long_lived` says."
        for tier, instance, old in made.long_lived
    ]
    cuts = [Text(line) for line in (*warnings(found), *audited)]
    refused = [f"`roll` is refused: {one}" for one in refusals(found)]
    last = f"Execute it with `changeover roll --plan {made.saved.id}`. That is refused if the chain has changed since."
    return Group(
        steps, whole, *_uploads(made), *fits, *longs, *pools, *watches, *waits, *cuts, *unknown(found), *refused, last
    )


def _calls(tier: str, rate: CallRate) -> str:
    text = (
        f"The roll of {tier} makes at most {rate.calls:,} calls per minute to the Compute API; the default quota of a "
        f"project in a region is {rate.quota:,}."
    )
    if rate.calls <= rate.quota:
        return text
    return (
        f"Warning: {text} Calls over it wait until Google refills it: set `platform.look` to {rate.slower:g}s, or "
        "raise the quota."
    )


def _machines(one: TierPlan) -> str:
    if one.counts_deleting:
        return "Each next VM is created after that (update.count_deleting), and the times above do not include it."
    return f"The next VM does not wait for it: at most {one.machines} VMs exist at once."


def _time(value: float | None) -> str:
    return "until its uploads end" if value is None else human_seconds(round(value, 1))


def _rows(one: TierPlan) -> Iterator[tuple[str, ...]]:
    """One row for all steps of a kind at the same time."""

    def kind(step: Planned) -> tuple[float, str, str]:
        return step.at, step.what, step.text

    for (at, what, text), steps in groupby(one.rehearsal.planned, key=kind):
        action = {"step": text, "wait": f"wait for {text}", "note": text, "finish": "done"}.get(what, f"{what} {text}")
        names = ", ".join(step.instance for step in steps if step.instance)
        yield human_seconds(round(one.begins + at, 1)), one.tier, action.strip(), names


def _uploads(made: Plan) -> Iterator[RenderableType]:
    troubled = [one for one in made.uploads if one.outcome in ("cut", "held", "unknown")]
    fine = len(made.uploads) - len(troubled)
    if troubled:
        table = Table(
            *("tier", "instance", "received", "rate", "time left", "instance leaves in", "result"),
            title="Uploads in flight that do not end before their instance leaves",
            title_justify="left",
        )
        for one in troubled:
            table.add_row(*_upload(one))
        yield table
    cut = sum(one.outcome == "cut" for one in troubled)
    summary = (
        f"{cut} of {len(made.uploads)} uploads in flight would be cut." if made.uploads else "No upload is in flight."
    )
    yield Text(summary + (f" {fine} end in time." if fine and troubled else ""), style="red" if cut else "")
    if made.silent:
        yield Text(f"Requests in flight are unknown for: {', '.join(made.silent)}.", style="yellow")


_OUTCOMES = {"cut": "cut at the drain deadline", "held": "kept beyond the drain deadline", "unknown": "unknown"}


def _upload(one: PassingUpload) -> tuple[str, ...]:
    upload = one.upload
    whole = "?" if upload.expected is None else human_bytes(upload.expected)
    rate = f"{human_bytes(upload.received / upload.seconds)}/s" if upload.seconds else "-"
    takes = {None: "?", inf: "never ends"}.get(one.seconds_left) or human_seconds(round(one.seconds_left or 0.0))
    way = f"{human_bytes(upload.received)} of {whole}"
    return (
        one.tier,
        one.instance or "any",
        way,
        rate,
        takes,
        human_seconds(round(one.leaves, 1)),
        _OUTCOMES[one.outcome],
    )
