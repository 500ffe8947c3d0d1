"""What the journal stores, as JSON with words of its own: a field that is renamed in Python keeps its word in the file.
The state of a tier is in `tier_state`.

Every word here is part of the journal's format (`schema.FORMAT`). Refuses what it does not know: a journal of an older
format has been migrated before anything of it is read here.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from changeover.engine.journal.records import KeeperProcess
from changeover.rollout.members.member import Member
from changeover.rollout.members.phases import Phase
from changeover.rollout.tier.actions import Answer


def dump_member(member: Member) -> str:
    """All but what is in flight and how often nothing was: a new controller has to see that for itself."""
    return json.dumps(
        {
            "name": member.name,
            "template": member.template,
            "serial": member.serial,
            "phase": member.phase.value,
            "times": {str(phase): at for phase, at in member.times.items()},
            "patience_from": member.patience_from,
            "asked_at": member.asked_at,
            "deadline": member.deadline,
            "last_busy": member.last_busy,
            "overdue": member.overdue,
            "cut": member.cut,
            "weight": member.weight,
            "weight_seen": member.weight_seen,
            "served": member.served,
            "given_up": member.given_up,
        }
        | ({"place": member.place} if member.place else {})
    )


def load_member(text: str) -> Member:
    stored: dict[str, Any] = json.loads(text)
    return Member(
        name=stored["name"],
        template=stored["template"],
        serial=stored["serial"],
        phase=Phase(stored["phase"]),
        times=stored["times"],
        patience_from=stored["patience_from"],
        asked_at=stored["asked_at"],
        deadline=stored["deadline"],
        last_busy=stored["last_busy"],
        overdue=stored["overdue"],
        cut=stored["cut"],
        weight=stored["weight"],
        weight_seen=stored["weight_seen"],
        served=stored["served"],
        given_up=stored["given_up"],
        place=stored.get("place", ""),
    )


def dump_templates(templates: Mapping[str, str]) -> str:
    """Templates of a release, keyed by tier."""
    return json.dumps(dict(templates))


def load_templates(text: str) -> dict[str, str]:
    stored: dict[str, str] = json.loads(text)
    return stored


def dump_keeper(keeper: KeeperProcess) -> str:
    return json.dumps({"pid": keeper.pid, "born": keeper.born, "journal_format": keeper.journal_format})


def load_keeper(text: str) -> KeeperProcess:
    stored: dict[str, int] = json.loads(text)
    return KeeperProcess(stored["pid"], stored["born"], stored["journal_format"])


def dump_answer(answer: Answer) -> str:
    return json.dumps({"done": answer.done, "text": answer.text})


def load_answer(text: str) -> Answer:
    stored: dict[str, Any] = json.loads(text)
    return Answer(done=stored["done"], text=stored["text"])
