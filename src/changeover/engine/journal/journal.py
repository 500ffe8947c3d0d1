"""The durable record of a chain: its file, the state of every tier and instance, and every decision with its time.

A step is written, in one transaction, before it is performed. Only the process that holds the lease writes, and every
write checks that it still does: when another controller has taken over, the next write of the first one is refused.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from changeover.engine.journal import serialise, tier_state
from changeover.engine.journal.reading import JournalReader
from changeover.engine.journal.records import REQUEST, Holder, KeeperProcess, LogLine, RolloutRow
from changeover.engine.journal.schema import FORMAT
from changeover.kit import process
from changeover.kit.user import current_user
from changeover.model.errors import fail
from changeover.model.update import Strategy
from changeover.rollout.members.member import Member
from changeover.rollout.tier.actions import Answer
from changeover.rollout.tier.state import TierState


class LeaseHeld(Exception):
    """Another process holds the lease."""

    def __init__(self, holder: Holder) -> None:
        super().__init__(f"{holder.purpose} (process {holder.pid})")
        self.holder = holder


class Journal(JournalReader):
    """One chain's journal. All that is written needs the lease, except requests to the controller."""

    def __init__(self, file: Path) -> None:
        super().__init__(file)
        self._epoch: int | None = None

    # -- the lease ---------------------------------------------------------------------------------------------------

    def take_lease(self, purpose: str, at: float) -> None:
        """Become the writer, and migrate a journal of an older format.

        Raises LeaseHeld while the process that holds the lease lives; from a dead one it is taken over. Raises
        ChangeoverError where the processes of the chain are in another PID namespace: all of them would seem dead.
        """
        pid = os.getpid()
        with self._db.transaction(migrates=True):
            holder = self.holder()
            self._check_namespace(holder)
            if holder is not None and holder.is_alive() and self._epoch != holder.epoch:
                raise LeaseHeld(holder)
            last = self._db.one("select epoch from lease")
            epoch = (last["epoch"] if last else 0) + 1
            self._db.execute(
                "insert or replace into lease (id, epoch, pid, born, purpose, since, format) "
                "values (1, ?, ?, ?, ?, ?, ?)",
                epoch,
                pid,
                process.start_time(pid),
                purpose,
                at,
                FORMAT,
            )
            self._set_fact("namespace", f"{process.start_time(pid)} {process.pid_namespace()}")
        self._epoch = epoch

    def _check_namespace(self, holder: Holder | None) -> None:
        born, _, namespace = (self._fact("namespace") or "").partition(" ")
        if not namespace or namespace == process.pid_namespace() or not process.is_this_boot(int(born)):
            return
        if holder is not None or self.is_up() or self._db.one("select 1 from members") is not None:
            raise fail(
                f"the processes of this chain run in another PID namespace ({namespace}), such as that of a container, "
                f"and this command runs in {process.pid_namespace()}: it can neither see nor stop them",
                state="Nothing was changed.",
                next="Run the command in that container. If it has ended, its processes have, too: delete the state "
                "folder, and run `changeover up`.",
            )

    def release_lease(self) -> None:
        if self._epoch is not None:
            with self._db.transaction():
                self._db.execute("update lease set pid = null, born = null where epoch = ?", self._epoch)
            self._epoch = None

    @contextmanager
    def _write(self) -> Iterator[None]:
        """A transaction of the lease's holder."""
        with self._db.transaction():
            row = self._db.one("select epoch from lease")
            if self._epoch is None or row is None or row["epoch"] != self._epoch:
                raise fail(
                    "this controller no longer holds the lease of the chain: another one has taken over",
                    state="This controller has stopped; the other one goes on.",
                    next="`changeover status` shows which process holds the lease.",
                )
            yield

    # -- the chain ---------------------------------------------------------------------------------------------------

    def set_chain_file(self, file: Path) -> None:
        with self._write():
            self._set_fact("file", str(file))

    def set_up(self) -> None:
        """An `up` has been completed."""
        with self._write():
            self._set_fact("up", "yes")

    def set_keeper(self, pid: int, born: int) -> None:
        """The keeper that this process has left behind."""
        with self._write():
            self._set_fact("keeper", serialise.dump_keeper(KeeperProcess(pid, born, FORMAT)))

    def _set_fact(self, name: str, value: str) -> None:
        self._db.execute("insert or replace into facts values (?, ?)", name, value)

    def clear_tiers(self, at: float) -> None:
        """The chain is down: it has no tiers and no instances. The log and the rollouts stay."""
        with self._write():
            self._db.execute("delete from facts where name = 'up'")
            self._db.execute("delete from tiers")
            self._db.execute("delete from members")
            self._db.execute(
                "update rollouts set ended = ?, outcome = 'failed', reason = 'the chain was taken down' "
                "where ended is null",
                at,
            )
            self._db.execute("update releases set ended = ?, outcome = 'failed' where ended is null", at)

    # -- tiers and instances -----------------------------------------------------------------------------------------

    def write_step(
        self,
        at: float,
        tier: str,
        state: TierState,
        changed: Iterable[Member],
        lines: Iterable[LogLine],
        ended: tuple[str, str] | None = None,
    ) -> int | None:
        """One step of one tier, whole: the tier's state, the members that changed, the commands about to be performed.

        `ended`: outcome and reason, when the step ends the tier's rollout. Returns the number of that rollout, if the
        step belongs to one.
        """
        with self._write():
            row = self._db.one("select max(id) as id from rollouts where ended is null and tier = ?", tier)
            rollout = None if row is None else row["id"]
            self._db.execute("insert or replace into tiers values (?, ?)", tier, tier_state.dump_tier(state))
            for member in {member.name: member for member in changed}.values():
                self._put_member(tier, member)
            for line in lines:
                self._put_line(at, rollout, tier, line)
            if ended is not None:
                outcome, reason = ended
                self._db.execute(
                    "update rollouts set ended = ?, outcome = ?, reason = ? where id = ?", at, outcome, reason, rollout
                )
        return None if rollout is None else int(rollout)

    def write_member(self, tier: str, member: Member) -> None:
        """One member, outside of a step."""
        with self._write():
            self._put_member(tier, member)

    def _put_member(self, tier: str, member: Member) -> None:
        self._db.execute(
            "insert or replace into members (name, tier, phase, serial, member) values (?, ?, ?, ?, ?)",
            member.name,
            tier,
            member.phase.value,
            member.serial,
            serialise.dump_member(member),
        )

    def _put_line(self, at: float, rollout: int | None, tier: str, line: LogLine) -> None:
        self._db.execute(
            "insert into log (at, rollout, tier, instance, kind, text) values (?, ?, ?, ?, ?, ?)",
            at,
            rollout,
            tier,
            line.instance,
            line.kind,
            line.text,
        )

    # -- rollouts ----------------------------------------------------------------------------------------------------

    def begin_rollout(self, at: float, tier: str, from_template: str, to_template: str) -> RolloutRow:
        """Open a rollout, with the user and the command that asked for it, or find the unfinished one."""
        with self._write():
            for row in self.rollouts(unfinished=True):
                if row.tier == tier and row.to_template == to_template:
                    return row
            self._db.execute(
                "insert into rollouts (tier, from_template, to_template, started, hooks_done) values (?, ?, ?, ?, 0)",
                tier,
                from_template,
                to_template,
                at,
            )
            begun, holder = self.rollouts()[-1], self.holder()
            purpose = holder.purpose if holder is not None else ""
            self._put_line(at, begun.id, tier, LogLine(REQUEST, f"{current_user()}: {purpose}"))
            return begun

    def end_rollout(self, number: int, at: float, outcome: str, reason: str) -> None:
        with self._write():
            self._db.execute(
                "update rollouts set ended = ?, outcome = ?, reason = ? where id = ?", at, outcome, reason, number
            )

    def mark_hooks_done(self, rollout: int) -> None:
        """The hooks after that rollout have run."""
        with self._write():
            self._db.execute("update rollouts set hooks_done = 1 where id = ?", rollout)

    def write_line(self, at: float, rollout: int, tier: str, line: LogLine) -> None:
        """Something that happened beside the steps of a rollout."""
        with self._write():
            self._put_line(at, rollout, tier, line)

    def write_incident(self, at: float, line: LogLine) -> None:
        """Write a line into the log of the rollout in progress, whichever tier it is about. Between two rollouts of a
        release it belongs to the first of them."""
        for row in self.in_progress():
            self.write_line(at, row.id, row.tier, line)

    # -- releases ----------------------------------------------------------------------------------------------------

    def begin_release(
        self,
        at: float,
        to_templates: Mapping[str, str],
        from_templates: Mapping[str, str],
        strategy: Strategy | None = None,
    ) -> int:
        """Open a release of several tiers, or find the unfinished one."""
        with self._write():
            open_one = self.unfinished_release()
            if open_one is not None:
                return open_one.id
            done = self._db.execute(
                "insert into releases (to_templates, from_templates, strategy, started) values (?, ?, ?, ?)",
                serialise.dump_templates(to_templates),
                serialise.dump_templates(from_templates),
                strategy,
                at,
            )
            return int(done.lastrowid or 0)

    def undo_release(self, number: int, reason: str) -> None:
        """From here on the release goes back, whichever process carries it on."""
        with self._write():
            self._db.execute("update releases set undo_reason = ? where id = ?", reason, number)

    def end_release(self, number: int, at: float, outcome: str, reason: str) -> None:
        with self._write():
            self._db.execute(
                "update releases set ended = ?, outcome = ?, reason = ? where id = ?", at, outcome, reason, number
            )

    # -- requests of other commands ----------------------------------------------------------------------------------

    def request_action(self, tier: str, action: str, requested_by: str, at: float) -> int:
        """Leave a request for the controller that holds the lease. Needs no lease; returns the request's number."""
        with self._db.transaction():
            done = self._db.execute(
                "insert into action_requests (tier, action, requested_by, at) values (?, ?, ?, ?)",
                tier,
                action,
                requested_by,
                at,
            )
            return int(done.lastrowid or 0)

    def answer(self, number: int, answer: Answer) -> None:
        """Answer a request."""
        with self._write():
            self._db.execute(
                "update action_requests set answer = ? where id = ?", serialise.dump_answer(answer), number
            )
