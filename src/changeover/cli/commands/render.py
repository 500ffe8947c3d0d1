"""`changeover render kong`: the declarative configuration of a Kong in front of a tier."""

from __future__ import annotations

import contextlib
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml

from changeover import wiring
from changeover.cli import exits
from changeover.cli.chains import as_it_runs, chain_file
from changeover.cli.frame import run
from changeover.cli.options.common import STATE, FileOption, JsonOption, StateOption
from changeover.cli.rendering.output import Output, write
from changeover.hops.kong.document import Member, with_members
from changeover.rollout.members.phases import Phase


class Software(StrEnum):
    """The software that `render` knows."""

    KONG = "kong"


def render(
    what: Annotated[Software, typer.Argument(metavar="kong", help="The software to configure: kong.")],
    file: FileOption = None,
    state: StateOption = STATE,
    json: JsonOption = False,
) -> None:
    """Print Kong's declarative configuration for a chain.

    For decK and `POST /config`: services, routes, upstreams, targets and health checks of every tier whose router is a
    Kong, or of the last tier in a chain without a Kong. The targets are the instances that serve at the moment; there
    are none while the chain is down.
    """
    run(json, lambda output: _render(output, file, state, json))


async def _render(output: Output, file: Path | None, state: Path, json: bool) -> int:
    read, _ = wiring.read_chain(chain_file(file, state))
    found: dict[str, Any] = {"_format_version": "3.0", "services": [], "upstreams": []}
    for tier, name, one in wiring.kong_documents(read):
        one = with_members(one, name, await _serving(state, tier))
        found["services"] += one["services"]
        found["upstreams"] += one["upstreams"]
    if json:
        output.result(found, "")
    else:
        write(yaml.safe_dump(found, sort_keys=False))
    return exits.DONE


async def _serving(state: Path, tier: str) -> dict[str, Member]:
    """The instances of a tier that serve; none while the chain is down."""
    async with as_it_runs(state) as found:
        if found is None or found.chain.tier(tier) is None:
            return {}
        with contextlib.closing(found.journal()) as journal:
            members = journal.fleet(tier).where(Phase.ADMITTED) if journal.is_up() else ()
            return {
                member.name: Member(instance.address, member.weight)
                for member in members
                if (instance := found.platform.recorded(member.name)) is not None
            }
