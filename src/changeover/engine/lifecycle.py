"""A chain from nothing to serving, one tier to another template, and back to nothing. What the commands are made of."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from typing import Any

from changeover.engine.controller import Controller, Tell, Told, World, check_templates
from changeover.engine.hooks import HookFailed, HookRunner
from changeover.engine.journal import Journal, LeaseHeld, Line, Outcome, RolloutRow
from changeover.model.chain import Strategy, Tier
from changeover.model.errors import ChangeoverError, fail
from changeover.model.hooks import HookPayload, Point
from changeover.rollout.actions import Action
from changeover.rollout.commands import Finish, StepReached
from changeover.rollout.course import Status
from changeover.rollout.fleet import Member

KEEPER = "healing"
"""Purpose under which the keeper holds the lease: briefly, and worth waiting for."""
KEEPER_PATIENCE = 60.0
STOP_PATIENCE = 10.0
"""Seconds that `down` gives each tier to finish what it has. The chain is being taken away: this is no drain."""


@dataclass(frozen=True)
class Rolled:
    """What came of one rollout, with every instance that had a part in it."""

    row: RolloutRow
    finish: Finish
    seconds: float
    members: tuple[Member, ...]
    serving: int


@dataclass(frozen=True)
class Released:
    """What came of a release: the rollouts of its tiers in order, those that took one back included."""

    outcome: Outcome
    parts: tuple[Rolled, ...]


async def bring_up(world: World, journal: Journal, tell: Tell) -> None:
    """Start every tier from its first template; all or nothing. The lease must be held. Raises ChangeoverError."""
    await world.platform.close()  # what a crash may have left behind
    journal.clear_tiers(journal.latest())
    try:
        await world.platform.open(fresh=True)
        for router in world.routers.values():
            await router.open()
        controller = Controller(world, journal, tell)
        async with controller.tending():
            for tier in world.chain.tiers:
                journal.begin_rollout(controller.now, tier.name, "", tier.first)
            ends = await asyncio.gather(*(controller.move(tier.name, tier.first) for tier in world.chain.inside_out))
        for tier, end in zip(world.chain.inside_out, ends, strict=True):
            if end.outcome != "completed":
                raise fail(
                    f"tier {tier.name} does not start: {end.reason}",
                    state="Everything that had been started was stopped again.",
                    next=f"Mend template {tier.first} of {tier.name} and run `changeover up` again.",
                )
        journal.set_facts({"up": "yes"})
    except BaseException:
        await world.platform.close()
        journal.clear_tiers(journal.latest())
        raise


async def take_down(world: World, journal: Journal, tell: Tell) -> list[str]:
    """Stop every instance, edge first, each tier for at most STOP_PATIENCE; then the rest. Returns who was stopped."""
    stopped = []
    for tier in world.chain.tiers:
        instances = [i for m in journal.fleet(tier.name) if (i := world.platform.recorded(m.name)) is not None]
        for instance in instances:
            tell(Told(time.time(), tier.name, "told to stop", instance.name))
            await world.platform.stop(instance, world.hops[tier.name].stop_signal)
        waited = 0.0
        while waited < STOP_PATIENCE and any(world.platform.gone(instance) is None for instance in instances):
            await asyncio.sleep(0.05)
            waited += 0.05
        stopped += [instance.name for instance in instances]
    await world.platform.close()
    journal.clear_tiers(journal.latest())
    return stopped


def find(world: World, tier: str, goal: str) -> Tier:
    """The tier, if it and the template exist. Raises ChangeoverError that lists what there is."""
    found = world.chain.tier(tier)
    if found is None:
        names = ", ".join(t.name for t in world.chain.tiers)
        raise fail(f"there is no tier {tier}", next=f"The tiers of this chain are: {names}.")
    if goal not in found.templates:
        names = ", ".join(found.templates)
        raise fail(f"tier {tier} has no template {goal}", next=f"Its templates are: {names}.")
    return found


def is_there(journal: Journal, tier: Tier | None, goal: str) -> bool:
    """Whether the tier is at rest at that template, whole."""
    if tier is None:
        return False
    course = journal.course(tier.name)
    members = list(journal.fleet(tier.name))
    return (
        course is not None
        and course.status is Status.RESTING
        and all(m.template == goal and m.phase == "admitted" for m in members)
        and len(members) == tier.size
    )


def check_roll(world: World, journal: Journal, goals: Mapping[str, str]) -> None:
    """Whether a rollout may begin, or go on. Raises ChangeoverError when it may not.

    An unfinished release is carried on by asking for the same again; anything else must wait.
    """
    check_templates(world, journal)
    release = journal.unfinished_release()
    if release is not None and (release.undoing is not None or dict(release.goals) != dict(goals)):
        way = ", ".join(f"{tier} to {goal}" for tier, goal in release.goals.items())
        raise fail(
            f"an earlier rollout ({way}) was not finished",
            state="Its instances serve, old and new.",
            next="Carry it to its end with `changeover resume`, or take it back with `changeover abort`.",
        )


async def roll(
    world: World, journal: Journal, goals: Mapping[str, str], tell: Tell, strategy: Strategy | None = None
) -> Released:
    """Move tiers to templates as one release, from the inside out, one at a time. The lease must be held.

    When one tier does not get there, those that did are taken back too, the last one first. Raises ChangeoverError
    when it cannot begin.
    """
    check_roll(world, journal, goals)
    controller = Controller(world, journal, tell)
    came_from = {tier: controller.machines[tier].course.goal for tier in goals}
    journal.begin_release(controller.now, goals, came_from, strategy)
    return await _release(world, journal, controller, tell)


async def carry_on(world: World, journal: Journal, tell: Tell, action: Action | None = None, who: str = "") -> Released:
    """Carry what is unfinished to its end, after asking `action` of it. The lease must be held."""
    check_templates(world, journal)
    return await _release(world, journal, Controller(world, journal, tell), tell, action, who)


async def pause_unattended(world: World, journal: Journal, tier: str, tell: Tell, who: str) -> str:
    """Pause a rollout whose controller has ended, so that whoever resumes it finds it paused. Needs the lease."""
    controller = Controller(world, journal, tell)
    async with controller.tending():
        return controller.ask(tier, Action.PAUSE, who)


async def _release(
    world: World,
    journal: Journal,
    controller: Controller,
    tell: Tell,
    action: Action | None = None,
    who: str = "",
) -> Released:
    done: list[Rolled] = []
    outward = [tier.name for tier in world.chain.inside_out]

    def keep(about: HookPayload, text: str) -> None:
        journal.write_line(controller.now, about.rollout, about.tier, Line("hook", text))

    hooks = HookRunner(
        world.chain.hooks, world.chain.notify, tell, keep, now=lambda: controller.now, folder=world.folder
    )

    def payload(row: RolloutRow, **more: Any) -> HookPayload:
        return HookPayload(world.chain.name, row.id, row.tier, row.came_from, row.goal, controller.now, **more)

    async def before_step(tier: str, reached: StepReached) -> str:
        about = payload([row for row in journal.rollouts() if row.tier == tier][-1])
        try:
            if reached.done:
                await hooks.run(Point.AFTER_STEP, replace(about, step=reached.done))
            if reached.step:
                await hooks.run(Point.BEFORE_STEP, replace(about, step=reached.step))
        except HookFailed as failure:
            return failure.reason
        return ""

    async def move(tier: str, goal: str, by: Strategy | None) -> None:
        row = journal.begin_rollout(controller.now, tier, controller.machines[tier].course.goal, goal)
        try:
            await hooks.run(Point.BEFORE_TIER, payload(row))
            finish = await controller.move(tier, goal, by)
        except HookFailed as failure:
            finish = Finish("failed", failure.reason)
            journal.end_rollout(row.id, controller.now, finish.outcome, finish.reason)
        await ended(row, finish)

    async def ended(row: RolloutRow, finish: Finish) -> None:
        one = _rolled(controller, journal, row, finish)
        done.append(one)
        if not row.told:
            counts = Counter(member.phase.value for member in one.members)
            point = Point.AFTER_TIER if finish.outcome == "completed" else Point.ON_FAILURE
            await hooks.run(point, payload(row, outcome=finish.outcome, reason=finish.reason, counts=counts))
            journal.told_rollout(row.id)

    controller.before_step = before_step
    async with controller.tending(), hooks:  # in this order: while the last message goes out, what dies is replaced
        release = journal.unfinished_release()
        assert release is not None
        rows = [row for row in journal.rollouts() if row.started >= release.started]
        begun = [row for row in rows if row.ended is not None or controller.is_moving(row.tier)]
        if action is not None and all(row.ended is not None for row in begun):
            if action not in (Action.ABORT, Action.UNDO):
                raise fail(f"{action}: no tier has begun to move", next="Carry it to its end with `changeover resume`.")
            journal.undo_release(release.id, f"{who} asked to {action}")
        for row in begun:
            over = Finish(row.outcome or "failed", row.reason or "") if row.ended is not None else None
            await ended(row, over or await controller.carry(row, action, who))
        release = journal.unfinished_release()
        assert release is not None
        for tier in [name for name in outward if name in release.goals and release.undoing is None]:
            if done and done[-1].finish.outcome != "completed":
                break
            if not is_there(journal, world.chain.tier(tier), release.goals[tier]):
                await move(tier, release.goals[tier], release.strategy)
        bad = next((one for one in done if one.finish.outcome != "completed"), None)
        why = release.undoing or (f"{bad.row.tier}: {bad.finish.reason}" if bad else "")
        if why:
            journal.undo_release(release.id, why)
            for row in journal.rollouts(unfinished=True):
                if row.goal == release.goals.get(row.tier):  # it was open, and will not begin any more
                    journal.end_rollout(row.id, controller.now, "undone", why)
                    await ended(row, Finish("undone", why))
            for tier in [name for name in reversed(outward) if name in release.goals]:
                if not is_there(journal, world.chain.tier(tier), release.came_from[tier]):
                    await move(tier, release.came_from[tier], "rolling")
        outcome: Outcome = bad.finish.outcome if bad else "undone" if why else "completed"
        if outcome == "completed" and done:
            counts = Counter(member.phase.value for one in done for member in one.members)
            await hooks.run(Point.ON_COMPLETION, payload(done[-1].row, outcome=outcome, counts=counts))
        journal.end_release(release.id, controller.now, outcome, why)
    return Released(outcome, tuple(done))


def _rolled(controller: Controller, journal: Journal, row: RolloutRow, finish: Finish) -> Rolled:
    """One tier's part, with every instance that had one in it."""
    members = tuple(journal.members_since(row.tier, row.started))
    seconds = (row.ended or controller.now) - row.started
    return Rolled(row, finish, seconds, members, controller.machines[row.tier].fleet.serving)


@contextmanager
def lease(journal: Journal, purpose: str, at: float) -> Iterator[None]:
    """Hold the chain while the block runs. Raises ChangeoverError while somebody else does."""
    try:
        journal.take_lease(purpose, at)
    except LeaseHeld as held:
        raise _held(held) from held
    try:
        yield
    finally:
        journal.release_lease()


@asynccontextmanager
async def patient_lease(journal: Journal, purpose: str, at: float) -> AsyncIterator[None]:
    """The same, but waits for the keeper, who holds the chain only while it replaces what died."""
    deadline = time.monotonic() + KEEPER_PATIENCE
    while True:
        try:
            journal.take_lease(purpose, at)
            break
        except LeaseHeld as held:
            if held.holder.purpose != KEEPER or time.monotonic() > deadline:
                raise _held(held) from held
        await asyncio.sleep(0.1)
    try:
        yield
    finally:
        journal.release_lease()


def _held(held: LeaseHeld) -> ChangeoverError:
    return fail(
        f"another command is at work on this chain: {held}",
        state="Nothing was changed; it goes on.",
        next="Wait for it to end (`changeover status --watch` shows how far it is), then run this again.",
    )
