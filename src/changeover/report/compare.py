"""Compare what a report says about rollouts with the journal that it was made from. Refuses to guess.

The log of a rollout stays for ever. The instances do not: `down` removes them, and a later rollout moves them on. What
the journal can no longer tell is named as not compared, and is no fault of the report.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from changeover.engine.journal.reading import JournalReader
from changeover.engine.journal.records import RolloutRow
from changeover.engine.release.outcome import incidents
from changeover.report.content import InstanceLine, Report, RolloutPart
from changeover.report.rollouts import moved_in, rollout_part, serving_of

_ALWAYS = ("tier", "from_template", "to_template", "restart", "started", "requested_by")
_AFTER_ITS_END = ("ended", "outcome", "reason", "long_lived", "deaths", "disagreements")
_FROM_THE_LOG = ("is_new", "spans", "drained_in")


@dataclass
class Comparison:
    """Sentences. `untrue`: what is not so; `unknown`: what could not be compared."""

    untrue: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)


def with_journal(report: Report, journal: JournalReader) -> Comparison:
    """Compare every rollout of the report."""
    found = Comparison()
    rows = {row.id: row for row in journal.rollouts()}
    for mine in report.rollouts:
        if (row := rows.get(mine.id)) is None:
            found.untrue.append(f"Rollout {mine.id} is not in the journal.")
        else:
            _rollout(found, mine, row, journal)
    return found


def _rollout(found: Comparison, mine: RolloutPart, row: RolloutRow, journal: JournalReader) -> None:
    now = rollout_part(journal, row, mine.floor)
    found.untrue += _differing(mine, now, _ALWAYS)
    if mine.ended is None:
        found.unknown.append(f"Rollout {mine.id}: it was unfinished when the report was made.")
        return
    found.untrue += _differing(mine, now, _AFTER_ITS_END)
    members = {one.name: one for one in journal.members_since(row.tier, 0.0)}
    settled = {name for name, one in members.items() if max(one.times.values(), default=0.0) <= mine.ended}
    moved = moved_in(journal.log(row.id))
    if moved <= settled:
        found.untrue += _differing(mine, now, ("broke",))
    else:
        logged = incidents(journal, row).interruptions
        found.untrue += [
            f"Rollout {mine.id}: the report leaves out: {text}" for text in logged if text not in mine.broke
        ]
        found.unknown.append(
            f"Rollout {mine.id}: cut and killed instances: the journal no longer has them as they were."
        )
    found.untrue += _instances(mine, now, settled, moved)
    left = sum(line.name not in settled | moved for line in mine.instances)
    if left:
        found.unknown.append(f"Rollout {mine.id}: {left} instances that did not move are no longer in the journal.")
    if mine.instances_in_all > len(mine.instances):
        found.unknown.append(f"Rollout {mine.id}: the report shows only some of its instances.")
    elif mine.serving not in ((), serving_of(mine.instances, row)) or (now.serving and not mine.serving):
        found.untrue.append(f"Rollout {mine.id}: the number in service is not that of its instances.")


def _differing(mine: RolloutPart, now: RolloutPart, names: tuple[str, ...]) -> Iterator[str]:
    for name in names:
        if (one := getattr(mine, name)) != (other := getattr(now, name)):
            yield f"Rollout {mine.id}: {name} is {one!r} in the report, and {other!r} in the journal."


def _instances(mine: RolloutPart, now: RolloutPart, settled: set[str], moved: set[str]) -> Iterator[str]:
    here = {line.name: line for line in mine.instances}
    there = {line.name: line for line in now.instances}
    for name in sorted((settled | moved) & (here.keys() | there.keys())):
        if name not in here:
            if mine.instances_in_all == len(mine.instances):
                yield f"Rollout {mine.id}: the report leaves out instance {name}."
        elif name not in there:
            if now.instances_in_all == len(now.instances):
                yield f"Rollout {mine.id}: instance {name} had no part in it."
        elif not _is_same(here[name], there[name], whole=name in settled):
            yield f"Rollout {mine.id}: instance {name} is not as in the journal."


def _is_same(mine: InstanceLine, now: InstanceLine, *, whole: bool) -> bool:
    return mine == now if whole else all(getattr(mine, name) == getattr(now, name) for name in _FROM_THE_LOG)
