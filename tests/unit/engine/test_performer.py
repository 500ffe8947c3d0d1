"""Commands on instances: in order for one, side by side for several, and not again while under way.

A gate that the test opens stands for a router that takes its time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from signal import SIGKILL, SIGTERM, Signals
from typing import Any

from tests.unit.engine.fake_chain import FakePlatform, FakeRouter, chain, runtime

from changeover.engine.performer import Performer
from changeover.engine.timing import EngineTiming
from changeover.model.instance import Instance
from changeover.model.stop import StopTo
from changeover.ports import Unknown
from changeover.rollout.commands import Admit, CreateInstance, LameDuck, Remove, SetWeight, Stop
from changeover.rollout.events import Event, InstanceGone, RouterConfirmed, StopSent, Unconfirmed

NAME, OTHER = "app-v1-1", "app-v1-2"


class GatedRouter(FakeRouter):
    """Performs nothing before its gate is open; `silent`: it raises Unknown then."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = asyncio.Event()
        self.gate.set()
        self.calls: list[str] = []
        self.silent = False

    async def _call(self, what: str) -> None:
        await self.gate.wait()
        self.calls.append(what)
        if self.silent:
            raise Unknown("no answer")

    async def admit(self, instance: Instance, weight: int) -> None:
        await self._call(f"admit {instance.name} {weight}")

    async def remove(self, instance: Instance) -> None:
        await self._call(f"remove {instance.name}")

    async def forget(self, name: str) -> None:
        await self._call(f"forget {name}")


class StoppedPlatform(FakePlatform):
    """Records the signal of each stop. `refusals`: why the next ones fail."""

    def __init__(self) -> None:
        super().__init__()
        self.refusals: list[str] = []

    async def stop(self, instance: Instance, signal: Signals, to: StopTo) -> None:
        if self.refusals:
            raise Unknown(self.refusals.pop(0))
        self.events.append(f"{signal.name} {instance.name}")


class Scene:
    """A performer with one tier of two instances, and the events that it fed."""

    def __init__(self, tasks: asyncio.TaskGroup) -> None:
        self.platform, self.router = StoppedPlatform(), GatedRouter()
        self.runtime = replace(
            runtime(chain("app"), self.platform, {"app": self.router}), timing=EngineTiming(busy_look=0.0, drop_looks=3)
        )
        self.fed: list[Event] = []
        self.performer = Performer(self.runtime, tasks, lambda _, event: self.fed.append(event), lambda: 5.0)

    def start(self, *commands: Any) -> None:
        self.performer.start("app", commands)

    async def idle(self) -> None:
        """Wait until no command is under way."""
        async with asyncio.timeout(5):
            while self.performer.busy:
                await asyncio.sleep(0)

    async def launched(self, *names: str) -> None:
        self.start(*(CreateInstance(name, "v1") for name in names))
        await self.idle()


def play(story: Callable[[Scene], Awaitable[None]]) -> None:
    async def go() -> None:
        async with asyncio.TaskGroup() as tasks:
            await story(Scene(tasks))

    asyncio.run(go())


def test_commands_of_one_instance_are_performed_in_their_order() -> None:
    async def story(s: Scene) -> None:
        s.start(CreateInstance(NAME, "v1"), Admit(NAME, 7), LameDuck(NAME, on=True), Remove(NAME), Stop(NAME))
        assert s.performer.busy == {NAME}
        await s.idle()
        assert s.router.calls == [f"admit {NAME} 7", f"remove {NAME}"]
        assert s.platform.events == [f"create {NAME}", f"SIGTERM {NAME}"]
        assert s.fed == [StopSent(5.0, NAME)]

    play(story)


def test_a_command_that_is_under_way_is_not_begun_again() -> None:
    async def story(s: Scene) -> None:
        await s.launched(NAME)
        s.router.gate.clear()
        for _ in range(3):
            s.start(Remove(NAME))
            await asyncio.sleep(0)
        s.router.gate.set()
        await s.idle()
        assert s.router.calls == [f"remove {NAME}"]
        s.start(Remove(NAME))
        await s.idle()
        assert s.router.calls == [f"remove {NAME}"] * 2

    play(story)


def test_a_slow_router_holds_up_only_the_instance_that_it_is_asked_about() -> None:
    async def story(s: Scene) -> None:
        await s.launched(NAME, OTHER)
        s.router.gate.clear()
        s.start(Remove(NAME), Stop(NAME), Stop(OTHER))
        async with asyncio.timeout(5):
            while s.performer.busy != {NAME}:
                await asyncio.sleep(0)
        assert s.fed == [StopSent(5.0, OTHER)]
        s.router.gate.set()

    play(story)


def test_a_router_that_does_not_answer_fails_no_later_command() -> None:
    async def story(s: Scene) -> None:
        await s.launched(NAME)
        s.router.silent = True
        s.start(Remove(NAME), Stop(NAME))
        await s.idle()
        assert s.fed == [StopSent(5.0, NAME)]

    play(story)


def test_an_instance_that_cannot_be_launched_is_reported_gone_and_out_of_its_routers() -> None:
    async def story(s: Scene) -> None:
        s.platform.broken.add(("app", "v1"))
        await s.launched(NAME)
        assert s.fed == [
            InstanceGone(5.0, NAME, "v1 has no server"),
            RouterConfirmed(5.0, NAME, admitted=False),
        ]
        s.fed.clear()
        s.start(CreateInstance(OTHER, "v9"))
        await s.idle()
        assert s.fed[0] == InstanceGone(5.0, OTHER, "template v9 is not in the chain file any more")

    play(story)


def test_a_command_to_an_instance_without_a_record_does_nothing() -> None:
    async def story(s: Scene) -> None:
        s.start(Admit(NAME), Stop(NAME))
        await s.idle()
        assert (s.router.calls, s.fed) == ([], [])

    play(story)


def test_a_router_that_cannot_weigh_gets_no_weight() -> None:
    async def story(s: Scene) -> None:
        await s.launched(NAME)
        s.start(SetWeight(NAME, 7))
        await s.idle()
        assert s.router.calls == []

    play(story)


def test_a_stop_uses_the_signal_of_the_hop_and_a_kill_uses_sigkill() -> None:
    async def story(s: Scene) -> None:
        await s.launched(NAME)
        s.start(Stop(NAME))
        await s.idle()
        s.start(Stop(NAME, kill=True))
        await s.idle()
        assert s.platform.events[1:] == [f"{SIGTERM.name} {NAME}", f"{SIGKILL.name} {NAME}"]

    play(story)


def test_a_gone_instance_is_dropped_from_its_routers_and_its_record_only_then() -> None:
    async def story(s: Scene) -> None:
        await s.launched(NAME)
        s.performer.forget("app", NAME)
        s.router.silent = True
        await s.performer.drop_gone("app")
        assert NAME in s.runtime.instances
        s.router.silent = False
        await s.performer.drop_gone("app")
        assert NAME not in s.runtime.instances
        assert s.router.calls == [f"forget {NAME}"] * 2
        await s.performer.drop_gone("app")
        assert len(s.router.calls) == 2

    play(story)


def test_at_the_end_a_router_that_holds_on_to_a_gone_instance_is_given_up_after_some_looks() -> None:
    async def story(s: Scene) -> None:
        await s.launched(NAME)
        s.performer.forget("app", NAME)
        s.router.silent = True
        await s.performer.drop_last()
        assert s.router.calls == [f"forget {NAME}"] * 3

    play(story)


def test_a_stop_that_fails_is_reported_once_for_each_reason_and_given_again() -> None:
    async def story(s: Scene) -> None:
        await s.launched(NAME)
        s.platform.refusals = ["no permission", "no permission", "no answer"]
        for _ in range(4):
            s.start(Stop(NAME))
            await s.idle()
        assert s.fed == [
            Unconfirmed(5.0, NAME, "no permission", silent=True),
            Unconfirmed(5.0, NAME, "no answer", silent=True),
            StopSent(5.0, NAME),
        ]

    play(story)
