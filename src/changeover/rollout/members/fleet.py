"""The instances of one tier, indexed so that a decision costs what it changes and never looks at the whole fleet.

Indexed by phase and template (counts), by age or load (which leaves next) and by time (which a Tick concerns). Refuses
to decide anything: `lifecycle` moves members by the phase table, strategies read the counts.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from heapq import heapify, heappop, heappush
from operator import attrgetter
from types import MappingProxyType
from typing import NamedTuple

from changeover.model.instance import InFlight
from changeover.rollout.members.due import DueTimes
from changeover.rollout.members.member import Member
from changeover.rollout.members.phases import ALIKE, STARTING, STAYING, TABLE, Cause, Phase

_NO_MEMBERS: Mapping[str, Member] = MappingProxyType({})

Phases = frozenset[Phase] | tuple[Phase, ...]

_UNNOTICED = frozenset((before, after) for alike in ALIKE for before in alike for after in alike)
"""Steps that change nothing that a strategy looks at."""
_SUMMED: Mapping[Phase | None, tuple[Phases, ...]] = MappingProxyType(
    {phase: tuple(phases for phases in (STARTING, STAYING) if phase in phases) for phase in (*Phase, None)}
)
"""The sums that a member in that phase is part of."""

_Queue = list[tuple[int, int, str]]
"""A heap of load (where it counts), serial and name."""


class Moved(NamedTuple):
    """One step of one member along the phase table."""

    member: Member
    before: Phase
    after: Phase
    cause: Cause


class Fleet:
    """All members of a tier that are not gone."""

    def __init__(self, members: Iterable[Member] = ()) -> None:
        self.members: dict[str, Member] = {}
        self.version = 0
        """Changes with everything that the next actions of a strategy depend on."""
        self._places: set[str] = set()
        self._moved: list[Moved] = []
        self._touched: dict[str, Member] = {}
        self._joined: list[Member] = []
        self._weights_unseen: set[str] = set()
        self._at: dict[tuple[Phase, str], dict[str, Member]] = defaultdict(dict)
        self._in_phase = dict.fromkeys(Phase, 0)
        """How many there are, of all templates: a rollout asks several times at every event."""
        self._sums: dict[Phases, dict[str | None, int]] = {phases: defaultdict(int) for phases in (STARTING, STAYING)}
        """How many there are in phases that are counted together, by template, and of all templates at None."""
        self._templates: dict[str, None] = {}
        # Heaps that are cleaned when they are read: an entry whose member has moved on since is passed over.
        self._by_age: dict[str, _Queue] = defaultdict(list)
        self._by_load: dict[str, _Queue] | None = None  # built at the first request for it
        self._times = DueTimes[Member]()
        self._returning: dict[str, set[str]] = defaultdict(set)
        self._unready: set[str] = set()
        self._given_up: dict[str, set[str]] = defaultdict(set)
        for member in members:
            self.add(member)

    def __iter__(self) -> Iterator[Member]:
        return iter(self.members.values())

    def get(self, name: str) -> Member | None:
        return self.members.get(name)

    def add(self, member: Member) -> None:
        self.members[member.name] = member
        self._count(member.template, None, member.phase)
        self._places.add(member.place)
        self._touched[member.name] = member
        self._file(member)
        if member.weight != member.weight_seen:
            self._weights_unseen.add(member.name)
        if member.phase in STAYING:
            self._joined.append(member)

    def take_changes(self) -> tuple[tuple[Moved, ...], tuple[Member, ...]]:
        """Steps along the phase table, and members that are new or changed without one, since the last call."""
        if not (self._moved or self._touched):
            return (), ()
        moved, self._moved = tuple(self._moved), []
        touched, self._touched = tuple(self._touched.values()), {}
        return moved, touched

    def take_joined(self) -> list[Member]:
        """Members that became one of those that are to stay, since the last call."""
        joined, self._joined = self._joined, []
        return joined

    def _count(self, template: str, before: Phase | None, after: Phase | None) -> None:
        if (before, after) not in _UNNOTICED:
            self.version += 1
        if before is not None:
            self._in_phase[before] -= 1
        if after is not None:
            self._in_phase[after] += 1
        if (left := _SUMMED[before]) != (joined := _SUMMED[after]):
            for phases, change in (*((one, -1) for one in left), *((one, 1) for one in joined)):
                sums = self._sums[phases]
                sums[template] += change
                sums[None] += change

    def _file(self, member: Member) -> None:
        self._templates[member.template] = None
        self._at[member.phase, member.template][member.name] = member
        self._times.untimed[member.name] = member
        if member.phase is Phase.ADMITTED:
            heappush(self._by_age[member.template], (0, member.serial, member.name))
            self._queue_by_load(member)
        if member.phase in STARTING and member.returns:
            self._returning[member.template].add(member.name)
        else:
            self._returning[member.template].discard(member.name)
        self._file_unready(member)

    def _file_unready(self, member: Member) -> None:
        self._unready.discard(member.name)
        self._given_up[member.template].discard(member.name)
        if member.served and member.phase in STARTING:
            (self._given_up[member.template] if member.given_up else self._unready).add(member.name)

    def give_up(self, member: Member, given_up: bool = True) -> None:
        """Note whether a member is expected to become ready."""
        if member.given_up != given_up:
            self.version += 1
            member.given_up = given_up
            self.touch(member)
            self._file_unready(member)

    def place(self, member: Member, place: str) -> None:
        """Note where a member runs."""
        self.version += 1
        member.place = place
        self._places.add(place)
        self.touch(member)

    @property
    def is_spread(self) -> bool:
        """Whether its members are in several places, or were."""
        return len(self._places) > 1

    def see(self, member: Member, in_flight: InFlight) -> None:
        """Take in what a member has in flight."""
        before = member.load
        member.in_flight = in_flight
        if member.phase is Phase.ADMITTED and self._by_load is not None and member.load != before:
            self.version += 1
            self._queue_by_load(member)

    def _queue_by_load(self, member: Member) -> None:
        if self._by_load is None:
            return
        queue = self._by_load[member.template]
        if len(queue) > 2 * len(self.members):  # mostly of loads that were
            others = self.where(Phase.ADMITTED, template=member.template)
            queue[:] = [(other.load, other.serial, other.name) for other in others]
            heapify(queue)
        heappush(queue, (member.load, member.serial, member.name))

    def touch(self, member: Member) -> None:
        """Have a member written down that changed without moving."""
        self._touched[member.name] = member

    def set_weight(self, member: Member, weight: int) -> None:
        """Give a member the weight that its routers are to have."""
        member.weight = weight
        self._weigh(member)

    def see_weight(self, member: Member, weight: int) -> None:
        """Take in the weight that the routers of a member have."""
        if member.weight_seen != weight:
            member.weight_seen = weight
            self._weigh(member)

    def _weigh(self, member: Member) -> None:
        self.touch(member)
        if member.weight == member.weight_seen:
            self._weights_unseen.discard(member.name)
        else:
            self._weights_unseen.add(member.name)

    @property
    def weights_seen(self) -> bool:
        """Whether every weight that was given has been seen at the routers."""
        return not self._weights_unseen

    def move(self, member: Member, cause: Cause, at: float) -> bool:
        """Walk one row of the table; False when the table has none for this phase."""
        to = TABLE.get((member.phase, cause))
        if to is None:
            return False
        self._moved.append(Moved(member, member.phase, to, cause))
        group = self._at[member.phase, member.template]
        del group[member.name]
        self._count(member.template, member.phase, None if to is Phase.GONE else to)
        if not group:  # looking through an emptied dict costs as much as when it was full
            del self._at[member.phase, member.template]
        member.phase = to
        member.times[to] = at
        if to is Phase.GONE:
            del self.members[member.name]
            self._returning[member.template].discard(member.name)
            self._weights_unseen.discard(member.name)
            self._file_unready(member)
        else:
            self._file(member)
            if to in STAYING and self._moved[-1].before not in STAYING:
                self._joined.append(member)
        return True

    def where(self, *phases: Phase, template: str | None = None, other_than: str | None = None) -> Iterator[Member]:
        """Members in these phases, of one template or of every template but one; oldest first within each.

        None of them may take a step before the last one has been looked at.
        """
        for phase in phases:
            for version in self._templates if template is None else (template,):
                if version != other_than:
                    yield from self._at.get((phase, version), _NO_MEMBERS).values()

    def first(
        self, limit: int, *, by_load: bool = False, template: str | None = None, other_than: str | None = None
    ) -> list[Member]:
        """Of those admitted the oldest, or those with least in flight. Costs what it returns, not what there is."""
        if limit <= 0:
            return []
        queues = [
            queue
            for version, queue in (self._loads() if by_load else self._by_age).items()
            if (template is None or version == template) and version != other_than
        ]
        found: list[tuple[_Queue, Member]] = []
        while len(found) < limit and (queue := min(filter(None, queues), default=None)):
            load, _, name = heappop(queue)
            member = self.members.get(name)
            if member is None or member.phase is not Phase.ADMITTED or (by_load and member.load != load):
                continue  # gone, on its way out, or of another load by now
            if not found or found[-1][1] is not member:  # it may stand there twice
                found.append((queue, member))
        for queue, one in found:
            heappush(queue, (one.load if by_load else 0, one.serial, one.name))
        return [member for _, member in found]

    def _loads(self) -> dict[str, _Queue]:
        if self._by_load is None:
            self._by_load = defaultdict(list)
            for member in self.where(Phase.ADMITTED):
                self._queue_by_load(member)
        return self._by_load

    def due(self, at: float, when: Callable[[Member], float]) -> list[Member]:
        """Members whose time has come, oldest first. `when` returns the time of a member: `DueTimes`."""
        return sorted(self._times.due(self.members, at, when), key=attrgetter("serial"))

    def retime(self, members: Iterable[Member]) -> None:
        """These members may be due earlier than `when` returned."""
        for member in members:
            self._times.untimed[member.name] = member

    def count(self, phases: Phases, template: str | None = None, other_than: str | None = None) -> int:
        """How many there are, without touching them."""
        if (sums := self._sums.get(phases)) is not None:
            found = sums.get(template, 0)
            return found if template is not None or other_than is None else found - sums.get(other_than, 0)
        at, found = self._at, 0
        for phase in phases:
            if template is None:
                found += self._in_phase[phase]
                if other_than is not None and (others := at.get((phase, other_than))) is not None:
                    found -= len(others)
            elif (group := at.get((phase, template))) is not None:
                found += len(group)
        return found

    @property
    def existing(self) -> int:
        """Instances that take up a machine, draining ones included."""
        return len(self.members) - self._in_phase[Phase.FAILED]

    @property
    def serving(self) -> int:
        """Instances that every router sends traffic to."""
        return self._in_phase[Phase.ADMITTED]

    def returning(self, template: str) -> int:
        """Instances of that template that were on their way out, and are to be admitted again."""
        return len(self._returning.get(template, ()))

    @property
    def unready(self) -> int:
        """Instances that have served, are not ready at the moment, and are expected to become ready again."""
        return len(self._unready)

    def given_up(self, template: str) -> list[str]:
        """Instances of that template that have served, do not become ready again, and stay until another one serves."""
        names = self._given_up.get(template)
        return sorted(names) if names else []

    def staying(self, template: str) -> int:
        """Instances of that template that are meant to stay."""
        return self.count(STAYING, template)
