"""What a valid chain file needs on this machine: software that accepts its configuration, files, free addresses.

Starts no instance.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from changeover import wiring
from changeover.hops import registry
from changeover.kit.command import is_program
from changeover.kit.sockets import cannot_listen
from changeover.model.chain import Chain
from changeover.model.errors import Problem
from changeover.model.hop_traits import routing_tiers
from changeover.model.instance import Address
from changeover.model.software import problems
from changeover.ports import CannotStart, NamesFiles


@dataclass(frozen=True)
class Findings:
    """`problems` keep the chain from starting or from rolling; `warnings` may do so."""

    problems: tuple[Problem, ...] = ()
    warnings: tuple[Problem, ...] = ()


async def of_machine(file: Path) -> Findings:
    """Everything found. Raises ChangeoverError where the chain file itself is wrong."""
    with tempfile.TemporaryDirectory() as nowhere:
        found = wiring.wire(file, Path(nowhere))
        missing = tuple(found.missing_software())
        for tier in routing_tiers(found.chain, registry.known_hops()):
            await found.runtime.routers[tier].open()  # a configuration names the file with its members
        return Findings(
            (*(problems(missing) if missing else _refused(found, file)), *_files(found, file)),
            tuple(_addresses(found.chain)) if found.local is not None else (),
        )


def _refused(found: wiring.Wired, file: Path) -> Iterator[Problem]:
    """Templates whose software refuses its configuration, such as by `nginx -t`."""
    for tier in found.chain.tiers if found.local is not None else ():
        for template in tier.templates:
            assert found.local is not None
            try:
                found.local.check(tier, template)
            except CannotStart as refusal:
                what = f"{tier.kind} refuses the configuration: {refusal}"
                yield Problem(what, where=f"{file}: tier {tier.name}, template {template}")


def _files(found: wiring.Wired, file: Path) -> Iterator[Problem]:
    """Files and programs that templates and hooks name and that are not there."""
    folder = file.resolve().parent
    for tier, hop in found.runtime.hops.items():
        if isinstance(hop, NamesFiles):
            for template, settings in found.settings[tier].items():
                for what in hop.missing_files(settings, folder):
                    yield Problem(what, where=f"{file}: tier {tier}, template {template}")
    for number, hook in enumerate(found.chain.hooks):
        if hook.command and not is_program(hook.command[0], folder):
            what = "the program of the hook does not exist or is not executable"
            yield Problem(what, where=f"{file}: hooks.{number}", next="Hooks run in the folder of the chain file.")


def _addresses(chain: Chain) -> Iterator[Problem]:
    """Fixed addresses that are in use."""
    given = {"listen": chain.listen, **{f"preview of {t.name}": t.update.preview for t in chain.tiers}}
    for key, text in given.items():
        if text is None or not (address := Address.parse(text)).port:
            continue
        if (why := cannot_listen(address.host, address.port)) is not None:
            what = f"nothing can listen on {address} now: {why}"
            yield Problem(what, where=key, next="If this chain is up, its own load balancer listens there.")
