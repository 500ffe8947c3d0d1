"""`changeover pause | promote | abort | undo | retry`: ask something of a rollout.

Whoever is at work on the chain answers. When nobody is (its process was ended), `pause` is written down for whoever
resumes, and the others are carried out by the command itself. What comes of each in every state: docs/actions.md.
"""

from __future__ import annotations

import asyncio
import contextlib
import getpass
import time
from pathlib import Path
from typing import Annotated

import typer

from changeover import wiring
from changeover.cli import exits
from changeover.cli.chains import running
from changeover.cli.commands.roll import roll_targets, show_rolled
from changeover.cli.frame import run
from changeover.cli.options.common import STATE, FileOption, JsonOption, StateOption
from changeover.cli.rendering.output import Output
from changeover.engine.journal.journal import Journal
from changeover.engine.journal.lease import KEEPER, lease
from changeover.engine.release.release import carry_on, pause_unattended
from changeover.model.errors import fail
from changeover.rollout.tier.actions import ANSWERS, Action, State

PATIENCE = 10.0
"""Seconds that whoever is at work has for an answer."""

TierArgument = Annotated[str, typer.Argument(help="The tier; without it, the one that is being rolled.")]


def pause(
    tier: TierArgument = "", file: FileOption = None, state: StateOption = STATE, json: JsonOption = False
) -> None:
    """Begin nothing new. Drains under way go on to their end, and what dies is replaced. `resume` goes on."""
    _run(json, tier, file, state, Action.PAUSE)


def promote(
    tier: TierArgument = "",
    full: Annotated[bool, typer.Option("--full", help="Skip all steps that are left.")] = False,
    file: FileOption = None,
    state: StateOption = STATE,
    json: JsonOption = False,
) -> None:
    """Take the step that a rollout is at as passed."""
    _run(json, tier, file, state, Action.PROMOTE_FULL if full else Action.PROMOTE)


def abort(
    tier: TierArgument = "", file: FileOption = None, state: StateOption = STATE, json: JsonOption = False
) -> None:
    """Turn a rollout round: the old instances are re-admitted first, then the new ones are drained and stopped."""
    _run(json, tier, file, state, Action.ABORT)


def undo(
    tier: TierArgument = "", file: FileOption = None, state: StateOption = STATE, json: JsonOption = False
) -> None:
    """Take back the rollout under way, or, when none is, the one of that tier that was completed last."""
    _run(json, tier, file, state, Action.UNDO)


def retry(
    tier: TierArgument = "", file: FileOption = None, state: StateOption = STATE, json: JsonOption = False
) -> None:
    """Roll again to the template whose rollout was undone."""
    _run(json, tier, file, state, Action.RETRY)


def _run(json: bool, tier: str, file: Path | None, state: Path, action: Action) -> None:
    run(json, lambda output: control(output, tier, file, state, action))


async def control(output: Output, tier: str, file: Path | None, state: Path, action: Action) -> int:
    """Have whoever is at work do it, or do it here."""
    who = getpass.getuser()
    async with running(file, state) as found:
        with contextlib.closing(found.journal()) as journal:
            name = tier or _tier_in_question(journal, action)
            if found.chain.tier(name) is None:
                raise fail(
                    f"there is no tier {name}", next=f"There are: {', '.join(t.name for t in found.chain.tiers)}."
                )
            holder = journal.holder()
            if holder is not None and holder.is_alive() and holder.purpose != KEEPER:
                return await _ask_holder(output, journal, name, action, who)
            moving = {row.tier for row in journal.rollouts(unfinished=True)}
            if name in moving or (journal.unfinished_release() is not None and not moving):
                return await _take_over(output, found, journal, name, action, who)
            return await _at_rest(output, found, journal, name, action)


def _tier_in_question(journal: Journal, action: Action) -> str:
    rows = journal.rollouts(unfinished=True) or journal.rollouts()[-1:]
    if not rows:
        raise fail(f"nothing was ever rolled here; there is nothing to {action}")
    return rows[-1].tier


async def _ask_holder(output: Output, journal: Journal, tier: str, action: Action, who: str) -> int:
    number, waited = journal.request_action(tier, action.value, who, time.time()), 0.0
    while (answer := journal.answer_to(number)) is None:
        if waited > PATIENCE:
            raise fail(
                f"whoever is at work did not answer within {PATIENCE:.0f} s",
                state="The question stays: it is answered as soon as somebody reads it.",
                next="changeover status",
            )
        await asyncio.sleep(0.05)
        waited += 0.05
    return _said(output, tier, action, answer)


def _said(output: Output, tier: str, action: Action, answer: str) -> int:
    if answer.startswith("no: "):
        raise fail(f"{action} {tier}: {answer.removeprefix('no: ')}", state="Nothing was changed.")
    output.result({"tier": tier, "action": action.value, "answer": answer}, f"{tier}: {answer}")
    return exits.DONE


async def _take_over(output: Output, found: wiring.Wired, journal: Journal, tier: str, action: Action, who: str) -> int:
    """The rollout is unfinished and its controller is gone."""
    tell = output.teller(time.time())
    with lease(journal, f"{action} {tier}", time.time()):
        if action is Action.PAUSE:
            return _said(output, tier, action, await pause_unattended(found.world, journal, tier, tell, who))
        return show_rolled(output, await carry_on(found.world, journal, tell, action, who))


async def _at_rest(output: Output, found: wiring.Wired, journal: Journal, tier: str, action: Action) -> int:
    course = journal.course(tier)
    goal = None if course is None else {Action.UNDO: course.before, Action.RETRY: course.tried}.get(action)
    answer = ANSWERS[State.RESTING, action]
    if not answer.done or goal is None:
        raise fail(
            f"{action} {tier}: {answer.says if not answer.done else 'there is no earlier rollout to go by'}",
            state="Nothing was changed.",
        )
    return await roll_targets(output, found, journal, {tier: goal}, "rolling" if action is Action.UNDO else None)
