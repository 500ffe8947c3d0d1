"""A release: tiers moved to other templates one after the other, from the inside out, and taken back as a whole.

The machine of a tier decides how that tier moves. This module decides which tier is next, and runs the hooks. It writes
each fact to the journal before the next act, in an order from which `resume` goes on after a crash.
"""

from __future__ import annotations

import asyncio
import shlex
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from changeover.engine.controller import Controller
from changeover.engine.hooks.run import HookFailed, HookRunner
from changeover.engine.journal.journal import Journal
from changeover.engine.journal.records import LogLine, Outcome, Release, RolloutRow
from changeover.engine.release.outcome import Released, Rolled, incidents
from changeover.engine.release.strategies import check_strategy
from changeover.engine.runtime import ChainRuntime, ProgressListener, check_templates
from changeover.model.chain import Tier
from changeover.model.errors import fail
from changeover.model.hooks import HookPayload, Point, page_of, report_on
from changeover.model.revision import next_revision, template_of
from changeover.model.update import Strategy
from changeover.rollout.commands import Finish, StepReached
from changeover.rollout.tier.actions import Action, Answer
from changeover.rollout.tier.state import Resting


def find(runtime: ChainRuntime, tier: str, goal: str) -> Tier:
    """The tier, if it and the template exist. Raises ChangeoverError that lists those that do."""
    found = runtime.chain.tier(tier)
    if found is None:
        names = ", ".join(t.name for t in runtime.chain.tiers)
        raise fail(f"there is no tier {tier}", next=f"The tiers of this chain are: {names}.")
    if goal not in found.templates:
        names = ", ".join(found.templates)
        raise fail(f"tier {tier} has no template {goal}", next=f"Its templates are: {names}.")
    return found


def revisions(
    runtime: ChainRuntime, journal: Journal, targets: Mapping[str, str], *, restart: bool = False
) -> dict[str, str]:
    """The goal of each tier: the revision that it runs if it runs that template, or with `restart` the next one.

    A rollout to it that is not finished is the same one. Raises ChangeoverError for guards that cannot tell its sides
    apart.
    """
    release = journal.unfinished_release()
    found = {}
    for name, template in targets.items():
        state, under_way = journal.tier(name), release.to_templates.get(name) if release else None
        found[name] = template
        if state is not None and template_of(state.goal) == template:
            found[name] = next_revision(template, state.serial) if restart else state.goal
        if under_way and template_of(under_way) == template and not (restart and under_way == template):
            found[name] = under_way
        if restart:
            _check_guards(runtime, name)
    return found


def _check_guards(runtime: ChainRuntime, tier: str) -> None:
    guarding = runtime.guarding.get(tier)
    for guard in guarding.guards if guarding else ():
        for condition in guard.conditions:
            if condition.selects_by_template_alone:
                raise fail(
                    f"guard {guard.name} ({condition.name}) tells new instances from old ones by $template, and a "
                    "restart keeps the template",
                    state="Nothing was changed.",
                    next="Use $instances or $addresses in its query.",
                )


def in_words(targets: Mapping[str, str]) -> str:
    """What a release does, such as `runtime to v2`."""
    return ", ".join(f"{tier} to {template_of(goal)}" for tier, goal in targets.items())


def is_there(journal: Journal, tier: Tier | None, goal: str) -> bool:
    """Whether the tier is at rest at that template, whole."""
    if tier is None:
        return False
    state = journal.tier(tier.name)
    members = list(journal.fleet(tier.name))
    return (
        state is not None
        and isinstance(state.state, Resting)
        and all(m.template == goal and m.phase == "admitted" for m in members)
        and len(members) == tier.size
    )


def check_roll(
    runtime: ChainRuntime, journal: Journal, targets: Mapping[str, str], strategy: Strategy | None = None
) -> None:
    """Whether a rollout may begin, or go on. Raises ChangeoverError when it may not.

    An unfinished release is carried on by asking for the same again; anything else must wait.
    """
    check_templates(runtime, journal)
    check_sizes(runtime, journal, targets)
    check_strategy(runtime, journal, targets, strategy)
    release = journal.unfinished_release()
    if release is not None and (release.undo_reason is not None or dict(release.to_templates) != dict(targets)):
        way = in_words(release.to_templates)
        raise fail(
            f"an earlier rollout ({way}) was not finished",
            state="Nothing was changed. Its instances serve, old and new.",
            next="Finish it with `changeover resume`, or take it back with `changeover abort`.",
        )


def check_sizes(runtime: ChainRuntime, journal: Journal, targets: Mapping[str, str]) -> None:
    """Refuse to roll a tier to another template and to make it smaller at once: old instances would leave before new
    ones serve. Raises ChangeoverError."""
    for name, goal in targets.items():
        tier, state = runtime.chain.tier(name), journal.tier(name)
        serving = journal.fleet(name).serving
        if tier is None or state is None or not isinstance(state.state, Resting) or goal == state.goal:
            continue
        if tier.size < serving:
            raise fail(
                f"the chain file sets the size of tier {name} to {tier.size}, and {serving} instances serve: "
                "a roll would stop old instances before new ones serve",
                state="Nothing was changed.",
                next=f"Roll with `size: {serving}`, then change the size and run "
                f"`changeover roll {name} --to {template_of(goal)}` again.",
            )


async def roll(
    runtime: ChainRuntime,
    journal: Journal,
    targets: Mapping[str, str],
    on_progress: ProgressListener,
    strategy: Strategy | None = None,
    report: str = "",
) -> Released:
    """Move tiers to templates as one release, from the inside out, one at a time. The lease must be held.

    `report`: the file that the command writes after it, for messages. When one tier does not reach its template, the
    tiers that did are taken back, the last one first. Raises ChangeoverError when the release cannot begin.
    """
    check_roll(runtime, journal, targets, strategy)
    controller = Controller(runtime, journal, on_progress)
    came_from = {tier: controller.machines[tier].tier.goal for tier in targets}
    journal.begin_release(controller.now, targets, came_from, strategy)
    return await _Releasing(runtime, journal, controller, report).run()


async def carry_on(
    runtime: ChainRuntime,
    journal: Journal,
    on_progress: ProgressListener,
    action: Action | None = None,
    who: str = "",
    report: str = "",
) -> Released:
    """Finish an unfinished release, after an action that the operator asks for. The lease must be held."""
    check_templates(runtime, journal)
    controller = Controller(runtime, journal, on_progress)
    return await _Releasing(runtime, journal, controller, report).run(action, who)


async def pause_unattended(
    runtime: ChainRuntime, journal: Journal, tier: str, on_progress: ProgressListener, requester: str
) -> Answer:
    """Pause a rollout whose controller has ended: `resume` finds it paused. Needs the lease."""
    controller = Controller(runtime, journal, on_progress)
    async with controller.tending():
        return controller.request(tier, Action.PAUSE, requester)


class _Releasing:
    """Carries the unfinished release to its end."""

    def __init__(self, runtime: ChainRuntime, journal: Journal, controller: Controller, report: str) -> None:
        self._runtime = runtime
        self._journal = journal
        self._controller = controller
        self._report = report
        self._done: list[Rolled] = []
        self._outward = [tier.name for tier in runtime.chain.inside_out]
        self._hooks = HookRunner(
            runtime.chain.hooks,
            runtime.chain.notify,
            controller.reports.listener,
            self._record,
            now=lambda: controller.now,
            folder=runtime.folder,
        )
        controller.before_step = self._before_step

    async def run(self, action: Action | None = None, who: str = "") -> Released:
        """Apply `action` to the tier in motion first; then go on, forward or back."""
        # In this order: the controller still replaces dead instances while the last message is sent.
        async with self._controller.tending(), self._hooks:
            await self._take_up(action, who)
            release = self._open()
            await self._go_forward(release)
            bad = next((one for one in self._done if one.finish.outcome != "completed"), None)
            why = release.undo_reason or (f"{bad.row.tier}: {bad.finish.reason}" if bad else "")
            if why:
                await self._go_back(release, why)
            outcome: Outcome = bad.finish.outcome if bad else "undone" if why else "completed"
            await self._look_once_more()
            if outcome == "completed" and self._done:
                counts = Counter(member.phase.value for one in self._done for member in one.members)
                broke = " ".join(Released(outcome, tuple(self._done)).broke)
                about = self._payload(self._done[-1].row, outcome=outcome, counts=counts, interrupted=broke)
                about = await self._with_verdict(about, *(one.row.id for one in self._done))
                await self._hooks.run(Point.ON_COMPLETION, about)
                await self._look_once_more()
            self._journal.end_release(release.id, self._controller.now, outcome, why)
        return Released(outcome, tuple(self._done))

    def _open(self) -> Release:
        release = self._journal.unfinished_release()
        assert release is not None
        return release

    async def _take_up(self, action: Action | None, who: str) -> None:
        """Finish the rollouts that an earlier controller began."""
        release = self._open()
        rows = [row for row in self._journal.rollouts() if row.started >= release.started]
        begun = [row for row in rows if row.ended is not None or self._controller.is_moving(row.tier)]
        if action is not None and all(row.ended is not None for row in begun):
            if action not in (Action.ABORT, Action.UNDO):
                raise fail(f"{action}: no tier has begun to move", next="Finish it with `changeover resume`.")
            self._journal.undo_release(release.id, f"{who} asked to {action}")
        for row in begun:
            if row.ended is not None:
                if not row.hooks_done:  # the controller may have been killed before the platform agreed
                    await self._controller.reconcile(row)
                await self._ended(row, Finish(row.outcome or "failed", row.reason or ""))
            else:
                await self._ended(row, await self._controller.carry(row, action, who))

    async def _go_forward(self, release: Release) -> None:
        for tier in self._outward:
            if release.undo_reason is not None or (self._done and self._done[-1].finish.outcome != "completed"):
                return
            if tier in release.to_templates and not self._is_there(tier, release.to_templates[tier]):
                await self._move(tier, release.to_templates[tier], release.strategy)

    async def _go_back(self, release: Release, why: str) -> None:
        """Take back the tiers that moved, the last one first."""
        self._journal.undo_release(release.id, why)
        for row in self._journal.rollouts(unfinished=True):
            if row.to_template == release.to_templates.get(row.tier):  # it waited for a hook, and never begins
                self._journal.end_rollout(row.id, self._controller.now, "undone", why)
                await self._ended(row, Finish("undone", why))
        for tier in reversed(self._outward):
            if tier in release.to_templates and not self._is_there(tier, release.from_templates[tier]):
                await self._move(tier, release.from_templates[tier], "rolling")

    def _is_there(self, tier: str, goal: str) -> bool:
        return is_there(self._journal, self._runtime.chain.tier(tier), goal)

    async def _move(self, tier: str, goal: str, by: Strategy | None) -> None:
        controller = self._controller
        came_from = controller.machines[tier].tier.goal
        row = self._journal.begin_rollout(controller.now, tier, came_from, goal)
        try:
            await self._hooks.run(Point.BEFORE_TIER, self._payload(row))
            finish = await controller.move(tier, goal, by)
        except HookFailed as failure:
            finish = Finish("failed", failure.reason)
            self._journal.end_rollout(row.id, controller.now, finish.outcome, finish.reason)
        await self._ended(row, finish)

    async def _look_once_more(self) -> None:
        """Have in the outcome what ended since the last looks, and what was noted after each rollout ended."""
        await self._controller.look_once_more()
        for number, done in enumerate(self._done):
            self._done[number] = replace(done, **incidents(self._journal, done.row)._asdict())

    async def _ended(self, row: RolloutRow, finish: Finish) -> None:
        """Add an ended rollout to the outcome, and run the hooks after it unless they ran before a crash."""
        await self._controller.look_once_more()
        members = tuple(self._journal.members_since(row.tier, row.started))
        seconds = (row.ended or self._controller.now) - row.started
        serving = self._controller.machines[row.tier].fleet.serving
        done = Rolled(row, finish, seconds, members, serving, *incidents(self._journal, row))
        self._done.append(done)
        if row.hooks_done:
            return
        counts = Counter(member.phase.value for member in members)
        point = Point.AFTER_TIER if finish.outcome == "completed" else Point.ON_FAILURE
        about = self._payload(
            row, outcome=finish.outcome, reason=finish.reason, counts=counts, interrupted=" ".join(done.broke)
        )
        if point is Point.ON_FAILURE:
            about = await self._with_verdict(about, row.id)
        await self._hooks.run(point, about)
        self._journal.mark_hooks_done(row.id)

    # -- hooks -------------------------------------------------------------------------------------------------------

    async def _before_step(self, tier: str, reached: StepReached) -> str:
        about = self._payload([row for row in self._journal.rollouts() if row.tier == tier][-1])
        try:
            if reached.done:
                await self._hooks.run(Point.AFTER_STEP, replace(about, step=reached.done))
            if reached.step:
                await self._hooks.run(Point.BEFORE_STEP, replace(about, step=reached.step))
        except HookFailed as failure:
            return failure.reason
        return ""

    def _payload(self, row: RolloutRow, **more: Any) -> HookPayload:
        name, now = self._runtime.chain.name, self._controller.now
        before, after = template_of(row.from_template), template_of(row.to_template)
        page = page_of(self._runtime.chain.page, row.id)
        return HookPayload(name, row.id, row.tier, before, after, now, page=page, **more)

    async def _with_verdict(self, about: HookPayload, *rollouts: int) -> HookPayload:
        """The payload at the end, with what the probes counted, and where the report is."""
        chain = self._runtime.chain
        if not (chain.hooks or chain.notify):
            return about
        folder = shlex.quote(str(self._journal.folder.absolute()))
        make = f"changeover show {about.rollout} --html FILE --state {folder}"
        verdict = await asyncio.to_thread(self._runtime.verdict, rollouts)
        report = report_on(chain.page, about.rollout) if chain.page else self._report or make
        return replace(about, verdict=verdict, report=report)

    def _record(self, about: HookPayload, text: str) -> None:
        self._journal.write_line(self._controller.now, about.rollout, about.tier, LogLine("hook", text))
