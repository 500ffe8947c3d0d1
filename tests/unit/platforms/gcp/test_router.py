"""The backend services of a tier as its router: of one group, and of two that take turns."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from changeover.model.chain import Tier
from changeover.model.instance import Address, Instance
from changeover.platforms.gcp.api.calls import Refused
from changeover.platforms.gcp.api.retry import Failure
from changeover.platforms.gcp.api.services import Service
from changeover.platforms.gcp.backends import Backends
from changeover.platforms.gcp.records import GroupRecord, Records, TierRecord
from changeover.platforms.gcp.router import GcpRouter
from changeover.ports import Unknown

BLUE, GREEN = "zones/z/instanceGroups/blue", "zones/z/instanceGroups/green"
HEALTHY, UNHEALTHY = ("HEALTHY",), ("UNHEALTHY",)


class StubServices:
    """Two services: what the API has, and what it answers about health. `broken`: what fails next."""

    def __init__(self) -> None:
        self.backends: dict[str, tuple[str, ...]] = {"a": (BLUE,), "b": (BLUE,)}
        self.states: dict[str, Mapping[str, tuple[str, ...]]] = {
            BLUE: {"old": HEALTHY},
            GREEN: {"new": HEALTHY, "newer": HEALTHY},
        }
        self.broken: list[str] = []
        self.changes: list[tuple[str, str, str]] = []

    async def get(self, name: str) -> Service:
        return service(name, self.backends[name])

    async def change_backends(self, one: Service, *, add: str = "", like: str = "", remove: str = "") -> Service:
        if f"change {one.name}" in self.broken:
            raise Refused(one.name, Failure(403, "forbidden", "compute.backendServices.update"))
        there = tuple(group for group in self.backends[one.name] if group != remove)
        self.backends[one.name] = (*there, add) if add and add not in there else there
        self.changes.append((one.name, add, remove))
        if f"answer of {one.name}" in self.broken:
            raise Unknown("no answer")
        return await self.get(one.name)

    async def health(self, one: Service, group: str) -> Mapping[str, tuple[str, ...]]:
        if group not in self.backends[one.name]:
            raise Refused(one.name, Failure(400, "invalid", "not a backend"))
        return self.states[group]


def service(name: str, groups: tuple[str, ...]) -> Service:
    return Service(name, "", groups, ("global/healthChecks/ready",), "HTTP", "http", 300)


class Joined:
    """A router over stand-ins, and what it is asked with."""

    def __init__(self, folder: Path, *, second: bool = True) -> None:
        self.services, self.records = StubServices(), Records(folder)
        groups = {"blue": GroupRecord(BLUE, 80)} | ({"green": GroupRecord(GREEN, 80)} if second else {})
        services = (service("a", (BLUE,)), service("b", (BLUE,)))
        self.records.keep_tiers({"web": TierRecord(2, groups, services, "blue", "v1")})
        self.lame: set[str] = set()
        stand_in: Any = self.services
        backends = Backends(lambda tier: self.record, self.records, stand_in)
        tier = {"name": "web", "kind": "app", "group": "blue", "templates": {"v1": {}}}
        more = {"second_group": "green"} if second else {}

        async def exists(names: frozenset[str]) -> frozenset[str]:
            return names

        async def is_lame(name: str) -> bool:
            return name in self.lame

        self.router = GcpRouter(
            Tier.model_validate({**tier, **more}),
            lambda: self.record,
            stand_in,
            exists,
            is_lame,
            lambda name: "green" if name.startswith("new") else "blue",
            backends,
            0.0,
        )

    @property
    def record(self) -> TierRecord:
        return self.records.tiers()["web"]

    def both(self, name: str) -> Service:
        """That service, with both groups as its backends."""
        return service(name, (BLUE, GREEN))

    def admit(self, name: str) -> None:
        asyncio.run(self.router.admit(Instance(name, "web", "v2", Address("h", 80), Address("h", 9180)), 100))

    def does(self, name: str) -> str:
        found = asyncio.run(self.router.membership(frozenset({name})))[name]
        return "admitted" if found.admitted else "removed" if found.removed else found.pending


@pytest.fixture
def joined(tmp_path: Path) -> Joined:
    return Joined(tmp_path)


def test_healthy_vms_of_a_group_that_is_no_backend_get_nothing_until_one_of_them_is_admitted(joined: Joined) -> None:
    assert joined.does("new") == "removed"
    assert joined.does("old") == "admitted"
    joined.admit("new")
    joined.admit("newer")
    assert joined.services.changes == [("a", GREEN, ""), ("b", GREEN, "")], "one change of each service for all"
    assert [joined.does(name) for name in ("new", "newer", "old")] == ["admitted"] * 3


def test_the_old_group_leaves_by_lame_ducks_once_another_one_has_healthy_instances(joined: Joined) -> None:
    joined.lame, joined.services.states[BLUE] = {"old"}, {"old": UNHEALTHY}
    assert "no other instance is healthy" in joined.does("old")
    joined.admit("new")
    joined.does("old")
    assert joined.does("old") == "removed"


def test_in_one_of_two_services_is_not_admitted_and_a_switch_that_was_refused_halfway_can_be_taken_back(
    joined: Joined,
) -> None:
    joined.services.broken = ["change b"]
    with pytest.raises(Unknown, match=r"compute\.backendServices\.update"):
        joined.admit("new")
    assert "backend service b, which does not have its group" in joined.does("new")
    joined.lame, joined.services.states[GREEN] = {"new"}, {"new": UNHEALTHY}
    joined.does("new")
    assert joined.does("new") == "removed"


def test_a_change_whose_answer_was_lost_counts_as_made_until_the_service_says_otherwise(joined: Joined) -> None:
    joined.services.broken = ["answer of a"]
    with pytest.raises(Unknown):
        joined.admit("new")
    joined.services.broken = []
    joined.admit("new")
    assert joined.does("new") == "admitted"


def test_a_group_that_another_client_takes_out_is_admitted_anew(joined: Joined) -> None:
    joined.admit("new")
    joined.services.backends["b"] = (BLUE,)
    assert joined.does("new") != "admitted"
    joined.admit("new")
    assert joined.does("new") == "admitted"


def test_a_tier_of_one_group_changes_no_backend(tmp_path: Path) -> None:
    joined = Joined(tmp_path, second=False)
    joined.admit("old")
    assert not joined.services.changes
    assert joined.does("old") == "admitted"


def test_each_of_two_groups_has_its_own_template_also_on_the_way_back(joined: Joined) -> None:
    record = joined.record
    assert [record.group_for(one) for one in ("v1", "v2", "v3")] == ["blue", "green", "green"]
    after = replace(record, serving="green", template="v2")
    assert [after.group_for(one) for one in ("v1", "v2")] == ["blue", "green"]


def test_the_record_of_a_tier_with_one_group_that_an_earlier_version_wrote_is_read(tmp_path: Path) -> None:
    old = (
        '{"format": 1, "tiers": {"web": {"size": 2, "link": "zones/z/instanceGroups/web", "port": 8080, '
        '"services": [], "policy": {"type_": "PROACTIVE"}}}}'
    )
    (tmp_path / "gcp.json").write_text(old, encoding="utf-8")
    record = Records(tmp_path).tiers()["web"]
    assert record.groups == {"web": GroupRecord("zones/z/instanceGroups/web", 8080, {"type_": "PROACTIVE"})}
    assert record.group_for("any") == "web"


def test_what_an_instance_costs_to_judge_does_not_grow_with_its_tier(tmp_path: Path) -> None:
    def calls(size: int) -> float:
        joined = Joined(tmp_path / str(size))
        names = [f"old-{n:04}" for n in range(size)]
        joined.lame = set(names[: size // 2])
        joined.services.states = {
            BLUE: {name: UNHEALTHY if name in joined.lame else HEALTHY for name in names},
            GREEN: {f"new-{n}": HEALTHY for n in range(size)},
        }
        joined.services.backends = dict.fromkeys(("a", "b"), (BLUE, GREEN))
        joined.records.keep_tier("web", replace(joined.record, services=tuple(map(joined.both, "ab"))))
        counted = 0

        def count(frame: FrameType, event: str, _: object) -> None:
            nonlocal counted
            counted += event in ("call", "c_call")

        sys.setprofile(count)
        try:
            asyncio.run(joined.router.membership(frozenset(names)))
        finally:
            sys.setprofile(None)
        return counted / size

    assert calls(1_000) < 1.2 * calls(100)
