"""`changeover status`: what runs, where it is in its life, what it has in flight."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Group
from rich.live import Live
from rich.text import Text
from rich.tree import Tree

from changeover import wiring
from changeover.cli import exits
from changeover.cli.options.common import FileOption, JsonOption, StateOption, as_it_runs, run
from changeover.cli.rendering.output import Output
from changeover.engine.journal.journal import Journal
from changeover.engine.runtime import rollout_settings
from changeover.kit import process
from changeover.kit.clock import Clock
from changeover.model.chain import Tier
from changeover.model.instance import InFlight
from changeover.ports import CanWeigh, Unknown
from changeover.rollout.members.fleet import Member
from changeover.rollout.members.phases import Phase
from changeover.rollout.strategies import canary
from changeover.rollout.tier.context import TierContext

WATCH = 0.5
"""Seconds between two pictures of --watch."""


def status(
    file: FileOption = None,
    state: StateOption = wiring.STATE,
    json: JsonOption = False,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Redraw until Ctrl-C.")] = False,
) -> None:
    """Show every tier, version and instance: phase, requests in flight, remaining drain time."""
    run(json, lambda output: _status(output, file, state, watch and not json))


async def _status(output: Output, file: Path | None, state: Path, watch: bool) -> int:
    async with as_it_runs(state, file) as found:
        if found is None:
            output.result(
                {
                    "chain": None,
                    "up": False,
                    "edge_url": None,
                    "ca_file": None,
                    "tiers": [],
                    "instances": [],
                    "at_work": None,
                    "balancer": False,
                    "keeper": None,
                },
                f"No chain was ever started in {state}.",
            )
            return exits.DONE
        with contextlib.closing(found.journal()) as journal:
            if not watch:
                data = await survey(found, journal)
                output.result(data, picture(data))
                return exits.DONE
            with (
                Live(console=output.out, auto_refresh=False) as live,
                contextlib.suppress(asyncio.CancelledError),
            ):
                while True:
                    live.update(picture(await survey(found, journal)), refresh=True)
                    await asyncio.sleep(WATCH)
    return exits.DONE


async def survey(found: wiring.Wired, journal: Journal) -> dict[str, Any]:
    """Everything there is to say of a chain just now, as `status --json` prints it."""
    up = journal.is_up()
    now = Clock(not_before=journal.latest()).now()  # as controllers count, whatever was done to the clock
    tiers, instances = [], []
    for tier in found.chain.tiers:
        course = journal.course(tier.name)
        members = list(journal.fleet(tier.name)) if up else []
        instances += await asyncio.gather(*(_instance(found, tier.name, member, now) for member in members))
        tiers.append(
            {
                "name": tier.name,
                "kind": tier.kind,
                "size": tier.size,
                "template": course.goal if course else None,
                "status": course.status.value if course else None,
                "serving": sum(m.phase is Phase.ADMITTED for m in members),
                "share": _share(found, tier, journal) if up else None,
                "preview": str(shown) if up and (shown := found.platform.preview_entry(tier.name)) else None,
            }
        )
    holder = journal.holder()
    at_work = {"pid": holder.pid, "what": holder.purpose} if holder and holder.is_alive() else None
    return {
        "chain": found.chain.name,
        "up": up,
        "edge_url": edge_url(found) if up else None,
        "ca_file": str(found.platform.ca_file) if up else None,
        "at_work": at_work,
        "balancer": found.platform.is_open(),
        "keeper": known[0] if (known := keeper(journal)) is not None and process.is_alive(*known) else None,
        "tiers": tiers,
        "instances": instances,
    }


def _share(found: wiring.Wired, tier: Tier, journal: Journal) -> dict[str, Any] | None:
    """Of a canary at a step: how much of what goes to the new template, as it was set and as its routers have it."""
    router = found.world.routers[tier.name]
    course, weighs = journal.course(tier.name), isinstance(router, CanWeigh)
    if course is None:
        return None
    here = TierContext(rollout_settings(tier, weighed=weighs), course, journal.fleet(tier.name))
    if here.step is None:
        return None
    actual = canary.actual_share(here.fleet, course.goal)
    return {
        "of": router.weighs if isinstance(router, CanWeigh) and here.rules.beside else "instances",
        "set": here.share,
        "actual": None if actual is None else round(actual, 1),
    }


def keeper(journal: Journal) -> tuple[int, int] | None:
    """Pid and start time of the keeper that was left behind; it may have ended since."""
    told = journal.fact("keeper")
    return None if told is None else (int(told.split()[0]), int(told.split()[1]))


def edge_url(found: wiring.Wired) -> str:
    """Where clients reach the chain. Only an nginx at the edge speaks TLS to them."""
    outermost = found.chain.tiers[0]
    return f"{'https' if outermost.kind == 'nginx' else 'http'}://{found.platform.entry(found.chain.tiers[0].name)}"


async def _instance(found: wiring.Wired, tier: str, member: Member, now: float) -> dict[str, Any]:
    instance = found.platform.recorded(member.name)
    seen: InFlight | None = None
    if instance is not None and found.platform.gone(instance) is None:
        with contextlib.suppress(Unknown):
            seen = await found.world.hops[tier].in_flight(instance)
    left = None if member.deadline is None else max(0.0, member.deadline - now)
    return {
        "name": member.name,
        "tier": tier,
        "template": instance.template if instance else member.template,
        "phase": member.phase.value,
        "pid": instance.pid if instance else None,
        "address": str(instance.address) if instance else None,
        "control": str(instance.control) if instance else None,
        "in_flight": in_flight(seen),
        "drain_seconds_left": left if member.phase is Phase.DRAINING else None,
    }


def in_flight(seen: InFlight | None) -> dict[str, Any] | None:
    """In-flight counts as JSON; None when they could not be had, which is not the same as nothing."""
    if seen is None:
        return None
    uploads = [{"received": u.received, "expected": u.expected, "seconds": u.seconds} for u in seen.uploads]
    return {
        "requests": seen.requests,
        "connections": seen.connections,
        "uploads": uploads,
        "bytes_left": seen.bytes_left,
    }


_PHASE = {"admitted": "green", "draining": "yellow", "leaving": "yellow", "failed": "red"}


def picture(data: dict[str, Any]) -> Group:
    """The tree tier -> version -> instance."""
    head = Text(f"{data['chain']}  ", style="bold")
    head.append(f"up at {data['edge_url']}  (CA {data['ca_file']})" if data["up"] else "down", style="")
    if data["at_work"]:
        head.append(f"\nat work: {data['at_work']['what']} (process {data['at_work']['pid']})", style="cyan")
    if data["up"] and not data["balancer"]:
        head.append("\nthe load balancer is down", style="red")
    if data["up"] and data["keeper"] is None:
        head.append("\nno keeper is running: what dies is not replaced; `changeover up` starts one", style="red")
    trees = []
    for tier in data["tiers"] if data["up"] else ():
        title = f"[bold]{tier['name']}[/] {tier['kind']}  {tier['serving']} of {tier['size']} serving  {tier['status']}"
        title += f"  preview at {tier['preview']}" if tier["preview"] else ""
        if (share := tier["share"]) is not None:
            title += f"  {tier['template']} gets {share['actual']} % of {share['of']} (set: {share['set']} %)"
        tree = Tree(title)
        mine = [i for i in data["instances"] if i["tier"] == tier["name"]]
        for version in sorted({i["template"] for i in mine}):
            branch = tree.add(f"[bold]{version}[/]")
            for one in (i for i in mine if i["template"] == version):
                branch.add(_row(one))
        trees.append(tree)
    return Group(head, *trees)


def _row(one: dict[str, Any]) -> str:
    colour = _PHASE.get(one["phase"], "cyan")
    row = f"{one['name']:<16} [{colour}]{one['phase']:<9}[/] {one['address'] or '-':<16} "
    seen = one["in_flight"]
    if seen is None:
        row += "[dim]in flight unknown[/]"
    else:
        requests = "-" if seen["requests"] is None else seen["requests"]
        row += f"requests {requests}, uploads {len(seen['uploads'])}, connections {seen['connections']}"
    if one["drain_seconds_left"] is not None:
        row += f"  [yellow]deadline in {one['drain_seconds_left']:.0f} s[/]"
    return row
