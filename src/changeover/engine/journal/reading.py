"""The reading half of the journal: needs no lease, and may be done by any process at any time."""

from __future__ import annotations

from math import inf
from pathlib import Path

from changeover.engine.journal import serialise, tier_state
from changeover.engine.journal.database import Database
from changeover.engine.journal.records import (
    DRAIN_NOW,
    REQUEST,
    ActionRequest,
    Holder,
    KeeperProcess,
    LogEntry,
    LogRow,
    Release,
    RolloutRow,
)
from changeover.kit import process
from changeover.rollout.members.fleet import Fleet
from changeover.rollout.members.member import Member
from changeover.rollout.tier.actions import Action, Answer
from changeover.rollout.tier.state import TierState


class JournalReader:
    """One chain's journal, as it is at the moment of each question."""

    def __init__(self, file: Path) -> None:
        self._db = Database(file)

    def close(self) -> None:
        self._db.close()

    @property
    def folder(self) -> Path:
        """The chain's state folder."""
        return self._db.file.parent

    def version(self) -> tuple[int, int]:
        """Of what the journal holds: while it stays the same, so does every answer here."""
        return self._db.version()

    # -- the chain ---------------------------------------------------------------------------------------------------

    def holder(self) -> Holder | None:
        """The process that took the lease and has not given it back, alive or not."""
        row = self._db.one("select * from lease where pid is not null")
        return None if row is None else Holder(row["epoch"], row["pid"], row["born"], row["purpose"], row["since"])

    def is_up(self) -> bool:
        """Whether an `up` was completed and no `down` since. An `up` that was killed half-way does not count."""
        return self._fact("up") is not None

    def chain_file(self) -> Path | None:
        """The chain file that the chain was started from."""
        file = self._fact("file")
        return None if file is None else Path(file)

    def keeper(self) -> KeeperProcess | None:
        """The keeper that was left behind; it may have ended since."""
        stored = self._fact("keeper")
        return None if stored is None else self._db.parse(serialise.load_keeper, stored)

    def sees_processes(self) -> bool:
        """Whether this process can tell if the chain's processes live: those of another PID namespace all seem dead."""
        namespace = (self._fact("namespace") or "").partition(" ")[2]
        return not namespace or namespace == process.pid_namespace()

    def _fact(self, name: str) -> str | None:
        row = self._db.one("select value from facts where name = ?", name)
        return None if row is None else str(row["value"])

    # -- tiers and instances -----------------------------------------------------------------------------------------

    def tier(self, tier: str) -> TierState | None:
        """The state of a tier; None when it was never started."""
        row = self._db.one("select state from tiers where tier = ?", tier)
        return None if row is None else self._db.parse(tier_state.load_tier, row["state"])

    def tiers(self) -> list[str]:
        """The tiers that were ever started."""
        return [row["tier"] for row in self._db.rows("select tier from tiers order by tier")]

    def fleet(self, tier: str) -> Fleet:
        """The members of a tier that are not gone."""
        rows = self._db.rows("select member from members where tier = ? and phase != 'gone' order by serial", tier)
        return Fleet(self._member(row["member"]) for row in rows)

    def members_since(self, tier: str, since: float) -> list[Member]:
        """Every member that entered a phase at or after `since`, gone ones included; oldest first."""
        rows = self._db.rows("select member from members where tier = ? order by serial", tier)
        members = [self._member(row["member"]) for row in rows]
        return [member for member in members if max(member.times.values(), default=0.0) >= since]

    def failures(self, tier: str, template: str) -> int:
        """Instances of that template that died or did not start since the chain is up."""
        row = self._db.one(
            "select count(*) as n from members where tier = ? and json_extract(member, '$.template') = ? "
            "and json_extract(member, '$.times.failed') is not null",
            tier,
            template,
        )
        return 0 if row is None else int(row["n"])

    def failure_times(self) -> list[tuple[str, float]]:
        """Tier and time of every instance that died or did not start, in rollouts and between them."""
        rows = self._db.rows(
            "select tier, at from log where kind = 'phase' "
            "and (text like '%-> failed:%' or text like 'draining -> gone:%')"
        )
        return [(row["tier"], row["at"]) for row in rows]

    def _member(self, text: str) -> Member:
        return self._db.parse(serialise.load_member, text)

    def tier_state(self) -> dict[str, object]:
        """`moving`: the tier that is being rolled, or None; `phases`: tier -> phase -> instances."""
        row = self._db.one("select tier from rollouts where ended is null order by id desc limit 1")
        phases: dict[str, dict[str, int]] = {}
        counts = "select tier, phase, count(*) as n from members where phase != 'gone' group by tier, phase"
        for line in self._db.rows(counts):
            phases.setdefault(line["tier"], {})[line["phase"]] = line["n"]
        return {"moving": row["tier"] if row else None, "phases": phases}

    # -- rollouts ----------------------------------------------------------------------------------------------------

    def rollouts(self, *, unfinished: bool = False) -> list[RolloutRow]:
        query = "select * from rollouts" + (" where ended is null" if unfinished else "") + " order by id"
        return [
            RolloutRow(
                id=row["id"],
                tier=row["tier"],
                from_template=row["from_template"],
                to_template=row["to_template"],
                started=row["started"],
                ended=row["ended"],
                outcome=row["outcome"],
                reason=row["reason"],
                hooks_done=bool(row["hooks_done"]),
            )
            for row in self._db.rows(query)
        ]

    def in_progress(self) -> list[RolloutRow]:
        """The unfinished rollouts: one, or one for each tier of an `up`. Between two of a release: the first."""
        rows, release = self.rollouts(unfinished=True), self.unfinished_release()
        if not rows and release is not None:
            rows = [row for row in self.rollouts() if row.started >= release.started][-1:]
        return rows

    def unfinished_release(self) -> Release | None:
        """The release that is under way, or was when its controller ended."""
        return self._release("select * from releases where ended is null order by id desc limit 1")

    def last_release(self) -> Release | None:
        """The last one that has ended."""
        return self._release("select * from releases where ended is not null order by id desc limit 1")

    def release_of(self, rollout: RolloutRow) -> Release | None:
        """The release that a rollout is part of; None for the first start of a tier by `up`."""
        query = "select * from releases where started <= ? and (ended is null or ended >= ?) order by id desc limit 1"
        return self._release(query, rollout.started, rollout.started)

    def rollouts_of(self, release: Release) -> list[RolloutRow]:
        """The rollouts of a release in order, those that took one back included."""
        end = inf if release.ended is None else release.ended
        return [row for row in self.rollouts() if release.started <= row.started <= end]

    def _release(self, query: str, *values: float) -> Release | None:
        row = self._db.one(query, *values)
        if row is None:
            return None
        return Release(
            id=row["id"],
            to_templates=self._db.parse(serialise.load_templates, row["to_templates"]),
            from_templates=self._db.parse(serialise.load_templates, row["from_templates"]),
            strategy=row["strategy"],
            started=row["started"],
            undo_reason=row["undo_reason"],
            outcome=row["outcome"],
            ended=row["ended"],
        )

    # -- requests and the log ----------------------------------------------------------------------------------------

    def action_requests(self) -> list[ActionRequest]:
        """Requests without an answer, oldest first."""
        rows = self._db.rows(
            "select id, tier, action, requested_by from action_requests where answer is null order by id"
        )
        return [
            ActionRequest(
                row["id"],
                row["tier"],
                next((one for one in Action if one == row["action"]), None),
                row["requested_by"],
                row["action"].removeprefix(DRAIN_NOW) if row["action"].startswith(DRAIN_NOW) else "",
            )
            for row in rows
        ]

    def answer_to(self, number: int) -> Answer | None:
        """The answer to a request; None while there is none."""
        row = self._db.one("select answer from action_requests where id = ?", number)
        if row is None or row["answer"] is None:
            return None
        return self._db.parse(serialise.load_answer, row["answer"])

    def log(self, rollout: int) -> list[LogRow]:
        """What happened in a rollout, oldest first."""
        rows = self._db.rows("select at, instance, kind, text from log where rollout = ? order by seq", rollout)
        return [LogRow(row["at"], row["instance"], row["kind"], row["text"]) for row in rows]

    def log_after(self, seq: int, since: float = 0.0, most: int = -1) -> list[LogEntry]:
        """Every line of the log after that one, of all rollouts and between them. `since`: those of that time or later.
        `most`: no more of them; -1: all."""
        rows = self._db.rows(
            "select seq, at, rollout, ifnull(tier, '') as tier, ifnull(instance, '') as instance, kind, text from log "
            "where seq > ? and at >= ? order by seq limit ?",
            seq,
            since,
            most,
        )
        return [LogEntry(**dict(row)) for row in rows]

    def created(self) -> dict[str, tuple[str, float]]:
        """Instance -> its tier, and when the controller last decided to create it; gone ones included."""
        rows = self._db.rows(
            "select instance, tier, max(at) as at from log where kind = 'command' and text like 'create instance%' "
            "group by instance"
        )
        return {row["instance"]: (row["tier"], row["at"]) for row in rows}

    def requests(self) -> dict[int, str]:
        """Number of a rollout -> the user and the command that asked for it. An older version wrote none."""
        rows = self._db.rows("select rollout, text from log where kind = ? order by seq desc", REQUEST)
        return {row["rollout"]: row["text"] for row in rows}

    def latest(self) -> float:
        """The time of the newest entry; 0 in an empty journal."""
        row = self._db.one("select at from log order by seq desc limit 1")
        return 0.0 if row is None else float(row["at"])
