"""The keeper replaces what died, holds the lease only for that, and leaves rollouts alone."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from contextlib import closing
from dataclasses import replace
from itertools import count
from math import inf
from pathlib import Path

import pytest
from tests.unit.engine.fake_chain import FakePlatform, FakeRouter, chain, runtime

from changeover.engine.journal.journal import Journal
from changeover.engine.keeper import crash_loops
from changeover.engine.keeper.keeper import KeeperTiming, abandoned_policy, keep
from changeover.engine.lifecycle import LifecycleTiming, bring_up
from changeover.engine.runtime import Progress, ProgressListener
from changeover.ports.routers import Broken
from changeover.rollout.members.fleet import Fleet
from changeover.rollout.members.phases import Phase
from changeover.rollout.tier.state import Rolling, Rollout, Undoing

SOON = KeeperTiming(look=0.02, heal=40.0)


def ignore(_: Progress) -> None: ...


@pytest.fixture
def up(held: Journal, platform: FakePlatform) -> Journal:
    """A chain of one tier with two instances is up, and the lease is free."""
    world = runtime(chain("app", size=2), platform)
    asyncio.run(bring_up(world, held, ignore, LifecycleTiming(admission_looks=1)))
    held.release_lease()
    return held


def kept(
    journal: Journal,
    platform: FakePlatform,
    looks: int,
    *,
    abandoned: str = "wait",
    router: FakeRouter | None = None,
    listener: ProgressListener = ignore,
    carried: Callable[[], Awaitable[None]] | None = None,
    each: Callable[[int], None] = lambda _: None,
    reread: float = SOON.router_look,
) -> None:
    """Keep the chain for that many looks. `each`: done before each look, with its number."""
    left = iter(range(looks + 1))

    def changed() -> bool:
        each(look := next(left))
        return look == looks

    of = chain("app", size=2, abandoned=abandoned)
    with closing(Journal(journal.folder / "journal.db")) as own:
        made = runtime(of, platform, {"app": router or everywhere(platform)})
        asyncio.run(keep(made, own, listener, changed, replace(SOON, router_look=reread), carried))


def everywhere(platform: FakePlatform) -> FakeRouter:
    """A router that lists every instance there is."""
    router = FakeRouter()
    router.members |= set(platform.running)
    return router


def abandon(journal: Journal) -> None:
    """Begin a rollout to v2 whose controller ends after its first step."""
    journal.take_lease("roll app to v2", 200.0)
    journal.begin_release(200.0, {"app": "v2"}, {"app": "v1"})
    journal.begin_rollout(200.0, "app", "v1", "v2")
    resting = journal.tier("app")
    assert resting is not None
    moving = replace(resting, goal="v2", state=Rolling(Rollout("v1", serial_before=resting.serial)))
    journal.write_step(200.0, "app", moving, (), ())
    journal.release_lease()


def test_a_dead_instance_is_replaced_and_the_lease_given_back(up: Journal, platform: FakePlatform) -> None:
    platform.die("app-v1-1")
    kept(up, platform, looks=1)
    assert platform.running == ["app-v1-2", "app-v1-3"]
    assert up.holder() is None


class BusyRouter(FakeRouter):
    """Clients go on sending requests to instances that are gone, so its counts never stand still."""

    def __init__(self) -> None:
        super().__init__()
        self.ended = count()

    async def broken(self, names: frozenset[str]) -> Mapping[str, Mapping[str, Broken]]:
        return {name: {"the router": Broken(next(self.ended), 1)} for name in names}


def test_instances_that_die_are_replaced_while_clients_go_on_sending_requests(
    up: Journal, platform: FakePlatform
) -> None:
    router = BusyRouter()
    router.members |= set(platform.running)
    for name in ("app-v1-1", "app-v1-2"):
        platform.die(name)
    kept(up, platform, looks=1, router=router)
    assert platform.running == ["app-v1-3", "app-v1-4"]


def test_a_load_balancer_that_is_down_is_opened_again(up: Journal, platform: FakePlatform) -> None:
    platform.opened = False
    kept(up, platform, looks=1)
    assert platform.is_open()
    assert platform.running == ["app-v1-1", "app-v1-2"]


def test_a_whole_chain_is_left_alone(up: Journal, platform: FakePlatform) -> None:
    before = list(platform.events)
    kept(up, platform, looks=3)
    assert platform.events == before


def test_a_look_at_a_chain_at_rest_reads_the_journal_only_when_it_has_changed(
    up: Journal, platform: FakePlatform, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads: list[str] = []
    fleet = Journal.fleet

    def read(journal: Journal, tier: str) -> Fleet:
        reads.append(tier)
        return fleet(journal, tier)

    monkeypatch.setattr(Journal, "fleet", read)
    kept(up, platform, looks=20, reread=600.0)
    at_rest = len(reads)
    assert at_rest <= 5, "once, and once more for the question to its routers"

    def written(_: int) -> None:
        up.take_lease("roll app to v2", 200.0)
        up.release_lease()

    kept(up, platform, looks=20, each=written, reread=600.0)
    assert len(reads) >= at_rest + 20


def test_an_instance_whose_record_was_deleted_is_replaced_though_the_journal_is_as_it_was(
    up: Journal, platform: FakePlatform
) -> None:
    kept(up, platform, looks=20, each=lambda look: platform.lose_record("app-v1-1") if look == 1 else None, reread=0.0)
    assert "app-v1-3" in platform.running


def test_nothing_is_replaced_while_a_command_holds_the_lease(up: Journal, platform: FakePlatform) -> None:
    platform.die("app-v1-1")
    up.take_lease("roll app to v2", 200.0)
    kept(up, platform, looks=2)
    assert platform.running == ["app-v1-2"]
    holder = up.holder()
    assert holder is not None
    assert holder.purpose == "roll app to v2"


@pytest.mark.parametrize("begun", [True, False], ids=["begun", "before its first step"])
def test_a_rollout_whose_controller_has_ended_is_paused_and_its_dead_instances_are_replaced(
    up: Journal, platform: FakePlatform, begun: bool
) -> None:
    up.take_lease("roll app to v2", 200.0)
    up.begin_rollout(200.0, "app", "v1", "v2")
    resting = up.tier("app")
    assert resting is not None
    if begun:
        moving = replace(resting, goal="v2", state=Rolling(Rollout("v1", serial_before=resting.serial)))
        up.write_step(200.0, "app", moving, (), ())
    up.release_lease()
    platform.die("app-v1-1")
    kept(up, platform, looks=2)
    assert platform.running == ["app-v1-2", "app-v1-3"]
    assert up.holder() is None
    after = up.tier("app")
    assert after is not None
    assert bool(after.paused) is begun


def test_a_whole_chain_in_a_rollout_whose_controller_has_ended_is_left_alone(
    up: Journal, platform: FakePlatform
) -> None:
    up.take_lease("roll app to v2", 200.0)
    up.begin_rollout(200.0, "app", "v1", "v2")
    up.release_lease()
    before = list(platform.events)
    kept(up, platform, looks=2)
    assert platform.events == before


def test_an_attempt_that_does_not_succeed_gives_back_the_lease(up: Journal, platform: FakePlatform) -> None:
    platform.die("app-v1-1")
    platform.broken.add(("app", "v1"))
    left = iter([False, True])
    with closing(Journal(up.folder / "journal.db")) as own:
        impatient = KeeperTiming(look=0.02, heal=0.1)
        asyncio.run(keep(runtime(chain("app", size=2), platform), own, ignore, lambda: next(left), impatient))
    assert platform.running == ["app-v1-2"]
    assert up.holder() is None


def test_the_keeper_ends_when_the_chain_is_down(up: Journal, platform: FakePlatform) -> None:
    up.take_lease("down", 200.0)
    up.clear_tiers(200.0)
    up.release_lease()
    kept(up, platform, looks=10**6)


@pytest.mark.parametrize(("policy", "outcome", "serves"), [("resume", "completed", "v2"), ("undo", "undone", "v1")])
def test_a_rollout_whose_controller_has_ended_goes_the_way_that_its_tier_names(
    up: Journal, platform: FakePlatform, policy: str, outcome: str, serves: str
) -> None:
    abandon(up)
    kept(up, platform, looks=1, abandoned=policy)
    (row,) = [row for row in up.rollouts() if row.to_template == "v2"]
    assert row.outcome == outcome
    assert {name.split("-")[1] for name in platform.running} == {serves}
    assert len(platform.running) == 2
    assert (up.unfinished_release(), up.holder()) == (None, None)


def test_what_follows_a_rollout_that_the_keeper_carried_to_its_end_holds_no_lease(
    up: Journal, platform: FakePlatform
) -> None:
    holders: list[object] = []

    async def carried() -> None:
        holders.append(up.holder())

    kept(up, platform, looks=1, abandoned="resume", carried=carried)
    assert holders == []
    abandon(up)
    kept(up, platform, looks=1, abandoned="resume", carried=carried)
    assert holders == [None]


def test_an_undo_that_lost_its_controller_is_carried_on_by_undo(up: Journal, platform: FakePlatform) -> None:
    abandon(up)
    up.take_lease("abort", 201.0)
    release, moving = up.unfinished_release(), up.tier("app")
    assert release is not None
    assert moving is not None
    up.write_step(201.0, "app", replace(moving, goal="v1", state=Undoing("requested", 2)), (), ())
    up.release_lease()
    kept(up, platform, looks=1, abandoned="undo")
    assert up.unfinished_release() is None
    assert platform.running == ["app-v1-1", "app-v1-2"]


def test_a_rollout_that_cannot_be_carried_on_waits_and_what_died_is_replaced(
    up: Journal, platform: FakePlatform
) -> None:
    abandon(up)
    up.take_lease("roll", 202.0)
    up.begin_release(202.0, {"app": "v2"}, {"app": "v1"})
    up.release_lease()
    platform.die("app-v1-1")
    said: list[str] = []
    refusing = chain("app", size=2, abandoned="resume")
    made = replace(runtime(refusing, platform), hashes_in_use=lambda: {"app": {"v1": "edited", "v2": "v2"}})
    left = iter([False, False, False, True])
    with closing(Journal(up.folder / "journal.db")) as own:
        asyncio.run(keep(made, own, lambda event: said.append(event.text), lambda: next(left), SOON))
    (why,) = [text for text in said if "waits for an operator" in text]
    assert "Template v1 of tier app was changed" in why
    assert platform.running == ["app-v1-2", "app-v1-3"]


def test_an_instance_that_its_router_has_lost_is_listed_again(up: Journal, platform: FakePlatform) -> None:
    router = everywhere(platform)
    router.members.discard("app-v1-2")
    kept(up, platform, looks=1, router=router)
    assert router.members == {"app-v1-1", "app-v1-2"}
    assert platform.running == ["app-v1-1", "app-v1-2"]


@pytest.mark.parametrize(
    ("settings", "policy"),
    [(("resume", "resume"), "resume"), (("resume", "undo"), "undo"), (("undo", "wait"), "wait")],
)
def test_a_release_goes_the_most_careful_way_that_its_tiers_name(
    up: Journal, platform: FakePlatform, settings: tuple[str, str], policy: str
) -> None:
    up.take_lease("roll", 200.0)
    up.begin_release(200.0, {"edge": "v2", "app": "v2"}, {"edge": "v1", "app": "v1"})
    tiers = tuple(chain(name, abandoned=one).tiers[0] for name, one in zip(("edge", "app"), settings, strict=True))
    made = runtime(chain("edge", "app").model_copy(update={"tiers": tiers}), platform)
    assert abandoned_policy(made, up) == policy


def test_an_instance_that_an_abandoned_rollout_left_ready_is_admitted(up: Journal, platform: FakePlatform) -> None:
    abandon(up)
    up.take_lease("roll app to v2", 201.0)
    member = up.fleet("app").get("app-v1-2")
    assert member is not None
    member.phase = Phase.READY
    up.write_member("app", member)
    up.release_lease()
    kept(up, platform, looks=1)
    assert [one.phase for one in up.fleet("app")] == [Phase.ADMITTED] * 2
    assert platform.running == ["app-v1-1", "app-v1-2"]


def test_where_no_keeper_stays_behind_the_command_that_rolls_reports_a_crash_loop(
    up: Journal, platform: FakePlatform, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(crash_loops, "LOOK", 0.01)
    told, cleaned = tmp_path / "told", list[bool]()
    hook = {"point": "on_crash_loop", "command": ["sh", "-c", f"cat > {told}.new; mv {told}.new {told}"]}
    world = runtime(chain("app", size=2, hooks=[hook]), platform, {"app": everywhere(platform)})
    up.take_lease("test", up.latest())
    state = up.tier("app")
    assert state is not None
    up.write_step(up.latest(), "app", replace(state, failures=9, not_before=inf), (), ())

    async def rolling() -> str:
        async with asyncio.timeout(40):
            while not told.exists():
                await asyncio.sleep(0.01)
        return "completed"

    async def endless() -> str:
        try:
            begun.set()
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0.01)
            cleaned.append(True)
        return ""

    async def left() -> None:
        task = asyncio.ensure_future(crash_loops.reported_meanwhile(endless(), world, up, ignore))
        await begun.wait()
        task.cancel()
        await asyncio.wait({task})

    begun = asyncio.Event()
    assert asyncio.run(crash_loops.reported_meanwhile(rolling(), world, up, ignore)) == "completed"
    asyncio.run(left())
    assert cleaned == [True], "a command that leaves waits until its rollout has let go"


def test_a_crash_loop_runs_its_hook_once_until_an_instance_stays(
    up: Journal, platform: FakePlatform, tmp_path: Path
) -> None:
    def failing(failures: int) -> None:
        up.take_lease("test", up.latest())
        state = up.tier("app")
        assert state is not None
        up.write_step(up.latest(), "app", replace(state, failures=failures, not_before=inf), (), ())
        up.release_lease()

    hook = {"point": "on_crash_loop", "command": ["sh", "-c", f"cat >> {tmp_path}/told"]}
    looks = iter([1, 9, 9, 9, 0, 9])  # failures before each look

    def changed() -> bool:
        if (failures := next(looks, None)) is not None:
            failing(failures)
        return failures is None

    with closing(Journal(up.folder / "journal.db")) as own:
        world = runtime(chain("app", size=2, hooks=[hook]), platform, {"app": everywhere(platform)})
        asyncio.run(keep(world, own, ignore, changed, SOON))
    first, second = map(json.loads, (tmp_path / "told").read_text().splitlines())
    assert (first["point"], first["tier"], first["to"]) == ("on_crash_loop", "app", "v1")
    assert first["reason"].startswith("instances of v1 keep failing: 9 in a row")
    assert first["counts"] == {"admitted": 2}
    assert second["reason"] == first["reason"]
