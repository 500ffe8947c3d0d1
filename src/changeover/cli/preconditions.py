"""What `doctor` finds of the tiers that a command is about to move. It only asks; on this machine it asks nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Collection

from changeover.cli.cloud_audit import examined
from changeover.cli.rendering.output import Output
from changeover.doctor.diagnosis import Diagnosis
from changeover.doctor.facts import UploadLoad
from changeover.doctor.verdict import refusals, unknown, warnings
from changeover.model.errors import ChangeoverError
from changeover.wiring import Wired


async def findings(found: Wired, tiers: Collection[str]) -> list[Diagnosis]:
    """Those of these tiers, in the order of the chain."""
    if (checkup := found.checkup) is None:
        return []
    here = [tier for tier in found.chain.tiers if tier.name in tiers]
    facts = await asyncio.gather(*(checkup.facts(tier, UploadLoad()) for tier in here))
    return [one for its in facts for one in examined(its)]


async def check_preconditions(output: Output, found: Wired, tiers: Collection[str]) -> None:
    """Name what is unknown and what is a warning. Raises ChangeoverError with everything that is fatal."""
    those = await findings(found, tiers)
    for note in (*unknown(those), *warnings(those)):
        output.note(note)
    if problems := refusals(those):
        raise ChangeoverError(*problems)
