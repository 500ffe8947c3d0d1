"""The life of each instance: what was seen of it, what time brings it, and the commands whose effect it waits for.

A command whose effect has not been seen is given again after RETRY; it is the observation that moves an instance on,
never the fact that something was asked.
"""

from __future__ import annotations

from dataclasses import replace
from math import inf

from changeover.rollout import commands as do
from changeover.rollout import events as on
from changeover.rollout.members.fleet import Member
from changeover.rollout.members.phases import STARTING, Cause, Phase
from changeover.rollout.tier.context import TierContext
from changeover.rollout.tier.state import Status
from changeover.rollout.tier.transitions import Heading

RETRY = 2.0
"""Seconds after which a command without visible effect is given again."""
QUIET_OBSERVATIONS = 2
"""Empty observations in a row before an instance counts as drained. One is not enough: a proxy's worker threads learn
of a removal a moment after its main thread has confirmed it, and may still open one last connection."""
STOP_GRACE = 10.0
"""Seconds an instance with nothing in flight has to end after its stop signal, before it is killed."""
MAX_FAILURES = 3
"""Starts that must have failed at the least until a template is given up. Of many that are started at once it is half
of them, so that a few that fail whatever they run undo nothing; each one that is admitted makes up for one."""
MAX_BACKOFF = 30.0
"""Longest pause, in seconds, between two attempts to replace an instance of a tier at rest that keeps failing."""


class Instances:
    """Moves instances along the phase table; turns the tier round when too many of them fail."""

    def __init__(self, here: TierContext, heading: Heading) -> None:
        self._here = here
        self._heading = heading

    # -- what was seen ------------------------------------------------------------------------------------------------

    def see(self, member: Member, event: on.Event) -> None:
        """Take in what was seen of a member."""
        match event:
            case on.InstanceReady():
                if self._here.fleet.move(member, Cause.BECAME_READY, event.at):
                    self._here.say(do.WakeAt(event.at + self._here.rules.min_ready))
                    self._warm(member, event.at)
            case on.InstanceUnready():
                served = member.phase is Phase.ADMITTED
                if self._here.fleet.move(member, Cause.BECAME_UNREADY, event.at) and served:
                    member.patience_from = event.at
                    self._here.note("is not ready any more", member.name, "warning")
                    self._lost(member, f"{member.name} served and is not ready any more", event.at)
            case on.InstanceGone():
                self._gone(member, event)
            case on.RouterConfirmed(admitted=True):
                if self._here.fleet.move(member, Cause.ADMISSION_CONFIRMED, event.at):
                    member.served = True
                    if member.template == self._here.course.goal:
                        self._admitted(event.at)
            case on.RouterConfirmed(admitted=False):
                if self._here.fleet.move(member, Cause.REMOVAL_CONFIRMED, event.at) and member.phase is Phase.DRAINING:
                    self._begin_drain(member, event.at)
            case on.Unconfirmed() if not self.holds_back(member):
                if event.silent:
                    member.patience_from = event.at
                self._here.note(f"{member.phase}: no confirmation from {event.who}; waiting", member.name, "warning")
            case on.InFlightSeen():
                self._count(member, event)
            case on.StopSent():
                self._here.fleet.move(member, Cause.STOP_SENT, event.at)

    def _admitted(self, at: float) -> None:
        course = self._here.course
        failures = 0 if course.status is Status.RESTING else max(0, course.failures - 1)
        self._here.course = replace(course, failures=failures, admissions=course.admissions + 1, admitted_at=at)

    def _gone(self, member: Member, event: on.InstanceGone) -> None:
        was, reason = member.phase, event.reason or "the process ended"
        if not self._here.fleet.move(member, Cause.EXITED, event.at):
            return
        if was in STARTING and not member.served:
            self._failed_to_start(member, f"{member.name} did not start: {reason}", event.at)
        elif was is not Phase.STOPPING:
            self._here.note(f"died while {was}: {reason}", member.name, "warning")
            self._lost(member, f"{member.name} died while {was}: {reason}", event.at)
        if member.phase is Phase.FAILED:
            self._here.say(do.Remove(member.name))
            member.asked_at = event.at

    def _lost(self, member: Member, reason: str, at: float) -> None:
        """An instance that served is lost. If that soon befalls most of the new ones, they are not fit to serve.

        Most, and not just some: of ten thousand a few will die early whatever they run.
        """
        soon = at < member.times.get(Phase.ADMITTED, at) + self._here.rules.progress_deadline
        if soon and self._here.course.status is Status.ROLLING and member.template == self._here.course.goal:
            self._here.course = replace(self._here.course, deaths=self._here.course.deaths + 1)
            if self._here.course.deaths >= max(MAX_FAILURES, self._here.course.admissions / 2):
                self._heading.undo(reason)

    def _failed_to_start(self, member: Member, reason: str, at: float) -> None:
        self._here.note(reason, member.name, "warning")
        if member.template not in (self._here.course.goal, self._here.course.previous):
            return
        failures, starting = self._here.course.failures + 1, self._here.fleet.count(STARTING, member.template)
        self._here.course = replace(self._here.course, failures=failures)
        hopeless = failures >= max(MAX_FAILURES, starting / 2)
        new = member.template == self._here.course.goal
        if self._here.course.status is Status.ROLLING and new and not self._here.stopped:
            if not hopeless:
                return
            self._heading.undo(reason)
        elif self._here.course.status is Status.UNDOING and hopeless:
            # There is nowhere else to go. The tier is left to healing, and whoever waits for the end is told.
            self._here.course = replace(self._here.course, status=Status.RESTING)
            self._here.say(do.Finish("failed", f"the way back is barred too: {reason}"))
        if member.template in (self._here.course.goal, self._here.course.previous) and failures > starting:
            pause = min(MAX_BACKOFF, 2.0 ** min(failures - 1, 10))
            self._here.course = replace(self._here.course, not_before=at + pause)
            self._here.say(do.WakeAt(at + pause))

    # -- draining -----------------------------------------------------------------------------------------------------

    def _begin_drain(self, member: Member, at: float) -> None:
        member.quiet = 0
        if Phase.READY not in member.times:
            # No router was ever told of it, so nothing is in flight. What never got ready may never say so itself.
            self._here.fleet.move(member, Cause.EMPTIED, at)
            self.ask(member, at)
        elif not self._kept(member):
            self._give_deadline(member, at)

    def _give_deadline(self, member: Member, at: float) -> None:
        member.deadline = at + self._here.rules.drain_deadline
        self._here.say(do.WakeAt(member.deadline))

    def _count(self, member: Member, event: on.InFlightSeen) -> None:
        self._here.fleet.see(member, event.in_flight)
        if event.in_flight.busy:
            member.quiet = 0
            if member.phase in (Phase.LEAVING, Phase.DRAINING):
                member.last_busy = event.at
            self._check_deadline(member, event.at)
            return
        if member.phase is Phase.DRAINING:
            member.quiet += 1
            self._check_empty(member, event.at)

    def _check_empty(self, member: Member, at: float) -> None:
        if (
            member.quiet >= QUIET_OBSERVATIONS
            and not self._kept(member)
            and self._here.fleet.move(member, Cause.EMPTIED, at)
        ):
            self.ask(member, at)

    def _check_deadline(self, member: Member, at: float) -> None:
        if member.phase is not Phase.DRAINING or member.deadline is None or at < member.deadline or member.overdue:
            return
        left = member.in_flight
        if self._here.rules.cut_at_deadline:
            self._here.note(
                f"drain deadline passed: cutting {left or 'what could not be counted'}",
                member.name,
                "warning",
            )
            member.cut = str(left or "unknown")
            self._here.fleet.move(member, Cause.DEADLINE_CUT, at)
            self.ask(member, at)
        else:
            member.overdue = True
            self._here.note(
                f"drain deadline passed: still waiting for {left or 'what could not be counted'}",
                member.name,
                "warning",
            )

    def _kept(self, member: Member) -> bool:
        """The old colour of a blue-green rollout is kept running, empty, until it can no longer be wanted back."""
        return self._here.moves.warm and member.template == self._here.course.previous

    def time_drains(self, at: float) -> None:
        """While instances are kept warm their deadlines do not count; when they no longer are, these begin."""
        draining = list(self._here.fleet.where(Phase.DRAINING))
        for member in draining:
            if self._kept(member):
                member.deadline = None
            elif member.deadline is None:
                self._give_deadline(member, at)
            self._here.fleet.touch(member)
        self._here.fleet.retime(draining)

    # -- what time brings ---------------------------------------------------------------------------------------------

    def tick(self, at: float) -> None:
        """Time has passed."""
        for member in self._here.fleet.due(at, self._due):
            match member.phase:
                case Phase.CREATING | Phase.READY:
                    self._check_start(member, at)
                case Phase.WARMING:
                    self._warm(member, at)
                case Phase.DRAINING:
                    self._check_deadline(member, at)
            if at >= member.asked_at + RETRY:
                self.ask(member, at)

    def _due(self, member: Member) -> float:
        """From when on a Tick may do something with a member. Whatever `tick` compares with `at` belongs in here."""
        retry = member.asked_at + RETRY
        match member.phase:
            case Phase.READY if self.holds_back(member):
                return inf
            case Phase.CREATING | Phase.READY:
                patience = member.patience_from + self._here.rules.progress_deadline
                asked = member.phase is Phase.READY or Phase.LEAVING in member.times
                return min(patience, retry) if asked else patience
            case Phase.WARMING:
                return member.since + self._here.rules.min_ready
            case Phase.ADMITTED if member.weight != member.weight_seen:
                return retry
            case Phase.DRAINING:
                return inf if member.deadline is None or member.overdue else member.deadline
            case Phase.STOPPING:
                return max(retry, member.since + STOP_GRACE)
            case Phase.LEAVING | Phase.DRAINED | Phase.FAILED:
                return retry
            case _:
                return inf

    def _warm(self, member: Member, at: float) -> None:
        if at >= member.since + self._here.rules.min_ready and self._here.fleet.move(
            member, Cause.READY_LONG_ENOUGH, at
        ):
            self.ask(member, at)

    def holds_back(self, member: Member) -> bool:
        """It is ready, and waits for the others of its colour."""
        return not self._here.moves.admit and member.template == self._here.course.goal

    def _check_start(self, member: Member, at: float) -> None:
        if at < member.patience_from + self._here.rules.progress_deadline:
            return
        waited = at - member.patience_from
        missing = "ready" if member.phase is Phase.CREATING else "healthy in the eyes of its router"
        reason = f"{member.name} was not {missing} after {waited:.0f} s (progress_deadline)"
        member.given_up = True
        self.retire(member, at)
        new = member.template == self._here.course.goal
        if self._here.course.status is Status.ROLLING and new and self._here.course.admitted_at <= member.patience_from:
            self._heading.undo(reason)  # nor was any other in all that time
        else:
            self._failed_to_start(member, reason, at)

    # -- what is to happen --------------------------------------------------------------------------------------------

    def create(self, template: str, at: float) -> None:
        """Have one made from that template."""
        serial = self._here.course.serial + 1
        self._here.course = replace(self._here.course, serial=serial)
        name = f"{self._here.rules.tier}-{template}-{serial}"
        times = {"created": at, Phase.CREATING: at}
        member = Member(name, template, serial, times=times, patience_from=at, asked_at=at)
        self._here.fleet.add(member)
        self._here.say(
            do.CreateInstance(name, member.template),
            do.WakeAt(at + self._here.rules.progress_deadline),
        )

    def let_in(self, at: float) -> None:
        """Those that waited for others waited through no fault of their own, and need wait no longer."""
        waited = list(self._here.fleet.where(Phase.READY))
        for member in waited:
            member.patience_from = at
            self.ask(member, at)
        self._here.fleet.retime(waited)

    def retire(self, member: Member, at: float) -> None:
        """Have it leave."""
        if self._here.fleet.move(member, Cause.RETIRED, at):
            self.ask(member, at)

    def readmit(self, member: Member, at: float) -> None:
        """Have it come back."""
        if self._here.fleet.move(member, Cause.READMITTED, at):
            member.deadline, member.overdue, member.quiet = None, False, 0
            member.patience_from = at
            self.ask(member, at)

    def ask(self, member: Member, at: float) -> None:
        """Give, or give again, the commands whose effect the member's phase waits for."""
        match member.phase:
            case Phase.CREATING if Phase.LEAVING in member.times:
                self._here.say(do.LameDuck(member.name, on=False))
            case Phase.READY:
                if self.holds_back(member):
                    return
                self._here.say(do.Admit(member.name, member.weight))
            case Phase.ADMITTED:
                self._here.say(do.SetWeight(member.name, member.weight))
            case Phase.LEAVING:
                self._here.say(do.LameDuck(member.name, on=True), do.Remove(member.name))
            case Phase.FAILED:
                self._here.say(do.Remove(member.name))
            case Phase.DRAINED:
                self._here.say(do.Stop(member.name, kill=bool(member.cut)))
            case Phase.STOPPING:
                if at < member.since + STOP_GRACE:
                    return
                self._here.note(
                    f"still there {STOP_GRACE:.0f} s after its stop signal, with nothing in flight: killed",
                    member.name,
                )
                self._here.say(do.Stop(member.name, kill=True))
            case _:
                return
        member.asked_at = at
