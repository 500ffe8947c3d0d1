"""`changeover render kong`: the declarative configuration of a Kong in front of a tier."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Annotated

import typer
import yaml

from changeover import wiring
from changeover.cli import exits
from changeover.cli.chains import as_it_runs, chain_file
from changeover.cli.frame import run
from changeover.cli.options.common import STATE, FileOption, JsonOption, StateOption
from changeover.cli.rendering.output import Output
from changeover.cli.rendering.stdout import write
from changeover.hops import registry
from changeover.model.errors import fail
from changeover.ports import Serving
from changeover.rollout.members.phases import Phase


def render(
    kind: Annotated[str, typer.Argument(metavar="kong", help="The software to configure: kong.")],
    file: FileOption = None,
    state: StateOption = STATE,
    json: JsonOption = False,
) -> None:
    """Print Kong's declarative configuration for a chain.

    For decK and `POST /config`: services, routes, upstreams, targets and health checks of every tier whose router is a
    Kong, or of the last tier in a chain without a Kong. The targets are the instances that serve at the moment; there
    are none while the chain is down.
    """
    run(json, lambda output: _render(output, kind, file, state, json))


async def _render(output: Output, kind: str, file: Path | None, state: Path, json: bool) -> int:
    renderers = wiring.renderers()
    if (hop := renderers.get(kind)) is None:
        raise fail(f"there is nothing to render for {kind}", next=f"There is: {', '.join(sorted(renderers))}.")
    parsed, _ = wiring.read_chain(chain_file(file, state))
    found = hop.render(parsed, registry.known_hops(), await _serving(state))
    if json:
        output.result(found, "")
    else:
        write(yaml.safe_dump(found, sort_keys=False))
    return exits.DONE


async def _serving(state: Path) -> Serving:
    """The instances that serve, if the chain is up."""
    async with as_it_runs(state) as found:
        if found is None:
            return {}
        with contextlib.closing(found.journal()) as journal:
            if not journal.is_up():
                return {}
            return {
                tier.name: {
                    member.name: (instance.address, member.weight)
                    for member in journal.fleet(tier.name).where(Phase.ADMITTED)
                    if (instance := found.platform.recorded(member.name)) is not None
                }
                for tier in found.chain.tiers
            }
