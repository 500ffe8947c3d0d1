"""`changeover plan`: what a roll would do, how long it would take, which uploads it would cut. Changes nothing."""

from __future__ import annotations

import contextlib
import time

from changeover.cli import exits
from changeover.cli.chain_audit import audit_targets
from changeover.cli.chains import note_changes, running
from changeover.cli.frame import run
from changeover.cli.options.common import STATE, FileOption, JsonOption, StateOption
from changeover.cli.options.targets import (
    AllOption,
    ReleaseOption,
    RestartOption,
    StrategyOption,
    TierArgument,
    ToOption,
    requested_targets,
)
from changeover.cli.preconditions import findings
from changeover.cli.rendering.output import Output
from changeover.cli.rendering.plan import data, picture
from changeover.doctor.diagnosis import Severity
from changeover.engine.outside import check_routers
from changeover.engine.release.plan import make
from changeover.engine.release.saved_plan import save
from changeover.ports import Unknown


def plan(
    tier: TierArgument = "",
    to: ToOption = "",
    everything: AllOption = False,
    release: ReleaseOption = None,
    strategy: StrategyOption = None,
    restart: RestartOption = False,
    file: FileOption = None,
    state: StateOption = STATE,
    json: JsonOption = False,
) -> None:
    """Show what a roll would do: each step, the time it takes, the uploads it would cut.

    Exits 0 if there is nothing to do, 4 if there is. `roll --plan ID` executes the plan unless the chain has changed.
    """

    async def work(output: Output) -> int:
        found = running(file, state)
        with contextlib.closing(found.journal()) as journal:
            asked = requested_targets(found, journal, tier, to, everything, release, restart)
            found.check_software()
            found.check_configurations(asked)
            await check_routers(found.runtime, asked)
            read = [] if journal.unfinished_release() is not None else await findings(found, asked)
            made = await make(found.runtime, journal, asked, strategy.value if strategy else None, time.time())
            audited = audit_targets(found, journal, asked)
        connections = None
        with contextlib.suppress(Unknown):
            connections = None if found.local is None else await found.local.most_connections()
        if made.tiers:
            save(found.state, made.saved)
            note_changes(output, found, asked)
        rolled = {one.tier for one in made.tiers if one.rehearsal.strategy == "canary"}
        short = [one for one in found.short_steps if one.tier in rolled]
        preconditions = [one for one in read if one.severity is not Severity.NOTE]
        output.result(
            {**data(made, found.disk, connections, short, preconditions), "audit": audited.data()},
            picture(made, found.disk, connections, short, preconditions, audited.warnings() if made.tiers else ()),
        )
        return exits.WORK_TO_DO if made.tiers else exits.DONE

    run(json, work)
