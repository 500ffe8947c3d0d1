"""A chain's status as a tree of tiers, templates and instances."""

from __future__ import annotations

from typing import Any

from rich.console import Group
from rich.markup import escape
from rich.text import Text
from rich.tree import Tree

from changeover.model.units import human_seconds

_PHASE = {"admitted": "green", "draining": "yellow", "leaving": "yellow", "failed": "red", "dead": "red"}


_STATE = {"serving": "green", "degraded": "yellow", "down": "red"}


def picture(data: dict[str, Any]) -> Group:
    """The tree tier -> template -> instance."""
    head = Text(f"{data['chain']}  ", style="bold")
    where = f" at {data['edge_url']}" if data["edge_url"] else ""
    head.append(
        f"up{where}" + (f"  (CA {data['ca_file']})" if data["ca_file"] else "") if data["up"] else "down", style=""
    )
    if data["active_command"]:
        head.append(
            f"\nactive: {data['active_command']['command']} (pid {data['active_command']['pid']})", style="cyan"
        )
    if data["up"]:
        head.append(f"\nstate: {data['state']}", style=_STATE[data["state"]])
        for finding in data["findings"]:
            head.append(f"\n- {finding}", style=_STATE[data["state"]])
    trees = []
    for tier in data["tiers"] if data["up"] else ():
        title = f"[bold]{tier['name']}[/] {tier['kind']}  {tier['serving']} of {tier['size']} serving  {tier['status']}"
        if tier["restarts"]:
            title += f"  {tier['restarts']} restarts of {tier['template']}"
        if tier["degraded"]:
            title += f"  [red]degraded: {tier['degraded']}[/]"
        title += f"  preview at {tier['preview']}" if tier["preview"] else ""
        if (share := tier["canary_share"]) is not None:
            title += f"  {tier['template']} gets {share['actual_percent']} % of {share['unit']}"
            title += f" (target {share['target_percent']} %)"
        tree = Tree(title)
        mine = [i for i in data["instances"] if i["tier"] == tier["name"]]
        for template in sorted({i["template"] for i in mine}):
            branch = tree.add(f"[bold]{template}[/]")
            for one in (i for i in mine if i["template"] == template):
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
    if (counts := one["in_flight_counts"]) is not None and one["phase"] in ("leaving", "draining"):
        row += _counts(counts)
    if (old := one["long_lived"]) is not None and old["connections"]:
        row += f"  long-lived {old['connections']}, the oldest {human_seconds(old['oldest_seconds'])}"
    if one["reason"]:
        row += f"  [red]{escape(one['reason'])}[/]"
    if one["drain_seconds_left"] is not None:
        row += f"  [yellow]deadline in {one['drain_seconds_left']:.0f} s[/]"
    return row


def _counts(counts: dict[str, Any]) -> str:
    """Where counts differ each of them, and the processes whose connections are not waited for."""
    row = ""
    if counts["differ"]:
        own = counts["instance"]
        each = {
            "instance": None if own is None else own["connections"] if own["requests"] is None else own["requests"],
            "kernel": counts["kernel"],
            "routers": counts["routers"],
        }
        words = ", ".join(f"{source} {count}" for source, count in each.items() if count is not None)
        row += f"  [yellow]counts differ: {words}[/]"
    for other in counts["not_counted"]:
        row += f"  [dim]not counted: {other['connections']} of {escape(other['process'])}[/]"
    return row
