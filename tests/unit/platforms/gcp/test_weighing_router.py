"""The weights of a URL map as the router of a tier: who gets requests, and who may leave."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from changeover.doctor.facts import UrlMap
from changeover.model.chain import Tier
from changeover.model.instance import Address, Instance
from changeover.platforms.gcp.api.services import Service
from changeover.platforms.gcp.records import GroupRecord, Records, TierRecord, VmRecord
from changeover.platforms.gcp.weighing_router import WeighingGcpRouter
from changeover.ports import Unknown

BLUE, GREEN = "zones/z/instanceGroups/blue", "zones/z/instanceGroups/green"
HEALTHY, UNHEALTHY = ("HEALTHY",), ("UNHEALTHY",)


class StubApi:
    """Two services, one for each group, and the map between them."""

    def __init__(self) -> None:
        self.weights = {"blue": 1000, "green": 0}
        self.states: dict[str, dict[str, tuple[str, ...]]] = {
            BLUE: {"old": HEALTHY, "older": HEALTHY},
            GREEN: {"new": HEALTHY},
        }
        self.changes: list[Mapping[str, int]] = []
        self.asked = 0
        """How often for health."""
        self.answers = True
        self.silent = set[str]()
        """Groups whose health is not known."""

    async def health(self, one: Service, group: str) -> Mapping[str, tuple[str, ...]]:
        assert group in one.groups
        self.asked += 1
        if group in self.silent:
            raise Unknown(f"{group}: no answer")
        return self.states[group]

    async def read(self, tier: str, service: Service) -> Service:
        return service

    async def get(self, name: str) -> UrlMap:
        if not self.answers:
            raise Unknown("URL map web: no answer")
        return UrlMap(name, ({f"global/backendServices/{one}": it for one, it in self.weights.items()},), frozenset())

    async def set_weights(self, name: str, weights: Mapping[str, int]) -> UrlMap:
        self.weights = {path.rpartition("/")[2]: weight for path, weight in weights.items()}
        self.changes.append(dict(self.weights))
        return await self.get(name)


class Joined:
    """A router over the stub; `old` and `older` serve, `new` is held back."""

    def __init__(self, folder: Path, propagation: float = 0.0) -> None:
        self.api, self.records, self.lame = StubApi(), Records(folder), set[str]()
        services = tuple(
            Service(name, "", (link,), (), "HTTP", "http", 300, "EXTERNAL_MANAGED", "NONE")
            for name, link in (("blue", BLUE), ("green", GREEN))
        )
        groups = {"blue": GroupRecord(BLUE, 80), "green": GroupRecord(GREEN, 80)}
        self.records.keep_tiers({"web": TierRecord(2, groups, services, "blue", "v1")})
        for name, group, weight in (("old", "blue", 100), ("older", "blue", 100), ("new", "green", 0)):
            self.records.keep_vm(VmRecord(name, "web", "v", group, weight=weight))
        tier = {
            "name": "web",
            "kind": "app",
            "group": "blue",
            "second_group": "green",
            "backend_services": ["blue"],
            "traffic": {"url_map": "web", "second_service": "green"},
            "templates": {"v1": {}},
        }

        async def exists(names: frozenset[str]) -> frozenset[str]:
            return names

        async def is_lame(name: str) -> bool:
            return name in self.lame

        def group_of(name: str) -> str:
            return "green" if name.startswith("new") else "blue"

        api: Any = self.api
        self.router = WeighingGcpRouter(
            Tier.model_validate(tier),
            lambda: self.records.tiers()["web"],
            api,
            exists,
            is_lame,
            group_of,
            api,
            propagation,
            "web",
            api,
            self.records,
        )

    def restores(self) -> list[str]:
        """What a controller does beside its looks, also while nothing changes, and what it says of it."""
        return [one.text for one in asyncio.run(self.router.restore())]

    def does(self, name: str) -> str:
        found = asyncio.run(self.router.membership(frozenset({name})))[name]
        return "admitted" if found.admitted else "removed" if found.removed else found.pending

    def seen(self, name: str) -> int | None:
        return asyncio.run(self.router.membership(frozenset({name})))[name].weight

    def admit(self, name: str, weight: int = 100) -> None:
        asyncio.run(self.router.admit(instance(name), weight))

    def weigh(self, name: str, weight: int) -> None:
        asyncio.run(self.router.weigh(instance(name), weight))

    def leaves(self, name: str) -> None:
        asyncio.run(self.router.may_leave(instance(name)))


def instance(name: str) -> Instance:
    return Instance(name, "web", "v", Address("h", 80), Address("h", 9180))


@pytest.fixture
def joined(tmp_path: Path) -> Joined:
    return Joined(tmp_path)


def test_the_weight_of_a_service_is_the_sum_of_the_weights_of_its_instances(joined: Joined) -> None:
    assert joined.does("new") != "admitted", "healthy, and the map sends its group nothing"
    joined.admit("new", 171)
    joined.weigh("old", 256)
    joined.weigh("older", 256)
    assert joined.api.weights == {"blue": 750, "green": 250}
    assert joined.does("new") == "admitted"
    assert [joined.seen(name) for name in ("new", "old", "older")] == [171, 256, 256]


def test_what_serves_already_changes_nothing_when_it_is_admitted_again(joined: Joined) -> None:
    joined.admit("old")
    assert set(map(str, joined.api.changes)) <= {str({"blue": 1000, "green": 0})}
    joined.does("old")
    before = len(joined.api.changes)
    joined.admit("older")
    assert len(joined.api.changes) == before


def test_an_instance_gets_no_share_before_its_service_has_found_it_healthy_for_the_time_of_propagation(
    tmp_path: Path,
) -> None:
    joined = Joined(tmp_path, propagation=60.0)
    joined.does("new")
    with pytest.raises(Unknown, match="healthy first"):
        joined.admit("new")
    joined = Joined(tmp_path)
    joined.api.states[GREEN]["new"] = UNHEALTHY
    joined.does("new")
    with pytest.raises(Unknown, match="healthy first"):
        joined.admit("new")
    assert joined.api.weights == {"blue": 1000, "green": 0}


def test_the_last_instance_of_a_group_leaves_only_after_its_group_gets_nothing(joined: Joined) -> None:
    joined.does("new")
    joined.admit("new")
    joined.leaves("old")
    with pytest.raises(Unknown, match="still sends requests"):
        joined.leaves("older")
    asyncio.run(joined.router.remove(instance("old")))
    asyncio.run(joined.router.remove(instance("older")))
    assert joined.api.weights == {"blue": 0, "green": 1000}
    joined.does("older")
    joined.leaves("older")
    assert joined.does("older") == "removed", "whether or not its health check fails already"


def test_the_only_instances_of_a_tier_keep_their_share(joined: Joined) -> None:
    for name in ("old", "older"):
        asyncio.run(joined.router.remove(instance(name)))
    assert joined.api.weights == {"blue": 1000, "green": 0}
    with pytest.raises(Unknown):
        joined.leaves("older")


def test_a_canary_that_is_not_healthy_any_more_loses_its_share_until_it_is(joined: Joined) -> None:
    joined.does("new")
    joined.admit("new")
    joined.api.states[GREEN]["new"] = UNHEALTHY
    assert joined.does("new") != "admitted"
    (said,) = joined.restores()
    assert "were blue 667, green 333; they are blue 1000, green 0 now" in said
    assert joined.api.weights == {"blue": 1000, "green": 0}
    joined.api.states[GREEN]["new"] = HEALTHY
    joined.restores()
    assert joined.does("new") == "admitted"
    assert joined.api.weights["green"] == 333
    assert joined.restores() == []


def test_a_group_whose_service_answers_late_keeps_its_share(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A controller that has just started sees the group of the canary first."""
    joined = Joined(tmp_path, propagation=60.0)
    joined.records.keep_vm(VmRecord("new", "web", "v", "green", weight=100))
    joined.api.weights = {"blue": 667, "green": 333}
    joined.api.silent.add(BLUE)
    joined.restores()
    clock = time.monotonic
    monkeypatch.setattr("changeover.platforms.gcp.weighing_router.time.monotonic", lambda: clock() + 61)
    joined.api.silent.clear()
    joined.restores()
    assert joined.does("old") == "admitted"
    assert joined.api.changes == []
    joined.api.states[BLUE] = {"old": UNHEALTHY, "older": UNHEALTHY}
    joined.restores()
    assert joined.api.weights == {"blue": 0, "green": 1000}, "it is judged from then on"


def test_weights_that_another_client_sets_are_set_again(joined: Joined) -> None:
    joined.does("new")
    joined.admit("new")
    joined.api.weights = {"blue": 0, "green": 1000}
    assert len(joined.restores()) == 1
    assert joined.api.weights == {"blue": 667, "green": 333}


def test_a_question_changes_no_weights(joined: Joined) -> None:
    """Any number of commands may ask, at any time and without the lease."""
    joined.records.keep_vm(VmRecord("new", "web", "v", "green", weight=100))
    joined.does("new")
    joined.does("old")
    assert joined.api.changes == []


def test_a_map_that_does_not_answer_confirms_nothing(joined: Joined) -> None:
    joined.api.answers = False
    assert joined.restores() == []
    assert "not known" in joined.does("old")
    assert "not known" in joined.does("new")


def test_instances_that_leave_at_once_ask_for_health_once_and_the_last_one_stays(joined: Joined) -> None:
    async def leave() -> list[BaseException | None]:
        return await asyncio.gather(
            *(joined.router.may_leave(instance(name)) for name in ("old", "older")), return_exceptions=True
        )

    first, last = asyncio.run(leave())
    assert first is None
    assert isinstance(last, Unknown)
    assert joined.api.asked == 1


def test_what_an_instance_costs_to_weigh_does_not_grow_with_those_that_are_weighed_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, right = 0, Path.read_text

    def reading(path: Path, encoding: str | None = None) -> str:
        nonlocal read
        read += 1
        return right(path, encoding=encoding)

    def reads(size: int) -> float:
        nonlocal read
        joined = Joined(tmp_path / str(size))
        names = [f"old-{n}" for n in range(size)]
        joined.api.states[BLUE] = dict.fromkeys(names, HEALTHY)
        for name in names:
            joined.records.keep_vm(VmRecord(name, "web", "v", "blue", weight=100))
        read = 0

        async def weigh_and_leave() -> None:
            await asyncio.gather(*(joined.router.weigh(instance(name), 256) for name in names))
            await asyncio.gather(*(joined.router.may_leave(instance(name)) for name in names), return_exceptions=True)

        asyncio.run(weigh_and_leave())
        return read / size

    monkeypatch.setattr(Path, "read_text", reading)
    assert reads(200) <= reads(20)
