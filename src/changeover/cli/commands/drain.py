"""`changeover drain --now INSTANCE`: end the wait for what is in flight on an instance that drains."""

from __future__ import annotations

import contextlib
from typing import Annotated

import typer

from changeover.cli import exits
from changeover.cli.chains import stored_journal
from changeover.cli.commands.control import ANSWER_TIMEOUT, answer_of_controller
from changeover.cli.frame import run
from changeover.cli.options.common import STATE, JsonOption, StateOption
from changeover.cli.rendering.output import Output
from changeover.engine.journal.journal import Journal
from changeover.engine.journal.lease import KEEPER
from changeover.engine.journal.records import DRAIN_NOW
from changeover.kit.user import current_user
from changeover.model.errors import fail
from changeover.rollout.members.phases import Phase


def drain(
    instance: Annotated[str, typer.Argument(help="The instance, as `status` names it.")],
    now: Annotated[bool, typer.Option("--now", help="Cut what is in flight on it. Required.")] = False,
    state: StateOption = STATE,
    json: JsonOption = False,
) -> None:
    """End the drain of an instance now: what is in flight on it is cut and named.

    For a drain that waits too long, or whose requests in flight are unknown; also while the rollout is paused. The
    controller of the rollout answers, and its exit code is then 3 if anything was cut.
    """

    async def work(output: Output) -> int:
        if not now:
            raise fail(
                "drain needs --now",
                state="Nothing was changed.",
                next="Drains begin by themselves: `changeover roll TIER --restart` replaces the instances of a tier.",
            )
        with contextlib.closing(stored_journal(state)) as journal:
            return await _end_drain(output, journal, instance, ANSWER_TIMEOUT)

    run(json, work, acts=True)


async def _end_drain(output: Output, journal: Journal, instance: str, timeout: float) -> int:
    tier = _tier_of(journal, instance)
    holder = journal.holder()
    if holder is None or not holder.is_alive() or holder.purpose == KEEPER:
        raise fail(
            f"no controller runs that drains {instance}",
            state="Nothing was changed.",
            next="`changeover resume` continues an unfinished rollout; ask again while it drains.",
        )
    request = f"{DRAIN_NOW}{instance}"
    answer = await answer_of_controller(journal, holder.pid, tier, request, current_user(), timeout)
    if not answer.done:
        raise fail(f"drain {instance}: {answer.text}", state="Nothing was changed.")
    answered = {"tier": tier, "instance": instance, "action": "drain --now", "answer": answer.text}
    output.result(answered, f"{instance}: {answer.text}")
    return exits.DONE


def _tier_of(journal: Journal, instance: str) -> str:
    draining = []
    for tier in journal.tiers():
        for member in journal.fleet(tier):
            if member.name == instance:
                return tier
            draining += [member.name] * (member.phase is Phase.DRAINING)
    now = f"Those that drain: {', '.join(draining)}." if draining else "No instance drains."
    raise fail(f"there is no instance {instance}", state="Nothing was changed.", next=now)
