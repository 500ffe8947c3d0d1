"""A preview shows the instances that wait for the switch, also when its balancer forgot them, and then no longer."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import cast

from changeover.engine.preview import show, until_shown
from changeover.engine.timing import EngineTiming
from changeover.model.instance import Address, Instance
from changeover.ports import Unknown
from changeover.rollout.tier.machine import Machine

AT_ONCE = EngineTiming(preview_look=0.0)
HERE = Address("127.0.0.1", 1)
INSTANCES = {name: Instance(name, "web", "v2", HERE, HERE) for name in ("web-v2-3", "web-v2-4")}


@dataclass
class Waiting:
    """A machine, as far as a preview looks at it: the instances that wait for the switch."""

    held_back: tuple[str, ...] = ()


@dataclass
class Listed:
    """A preview that records what it is to show. `silent`: how often it does not respond first."""

    silent: int = 0
    shown: list[list[str]] = field(default_factory=list)

    async def show(self, instances: Collection[Instance]) -> bool:
        if self.silent:
            self.silent -= 1
            raise Unknown("no answer")
        self.shown.append([instance.name for instance in instances])
        return bool(instances)


async def looks(machine: Waiting, preview: Listed, *later: tuple[str, ...]) -> None:
    """Run a preview for some looks with each of these sets of waiting instances."""
    task = asyncio.create_task(show(cast(Machine, machine), preview, INSTANCES, AT_ONCE))
    for held_back in (machine.held_back, *later):
        machine.held_back = held_back
        for _ in range(6):
            await asyncio.sleep(0)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


def test_instances_that_wait_are_shown_at_every_look_and_removed_once() -> None:
    preview = Listed()
    asyncio.run(looks(Waiting(("web-v2-3", "web-v2-4")), preview, ()))
    assert preview.shown[0] == ["web-v2-3", "web-v2-4"]
    assert preview.shown.count(["web-v2-3", "web-v2-4"]) > 1
    assert preview.shown.count([]) == 1
    assert preview.shown[-1] == []


def test_a_list_that_was_not_confirmed_empty_is_emptied_again() -> None:
    preview = Listed(silent=2)
    asyncio.run(looks(Waiting(), preview))
    assert preview.shown == [[]]


def test_an_instance_without_a_record_is_not_shown() -> None:
    preview = Listed()
    asyncio.run(looks(Waiting(("web-v2-3", "web-v2-9")), preview))
    assert preview.shown[0] == ["web-v2-3"]


def test_the_hooks_before_the_switch_wait_until_the_preview_has_confirmed() -> None:
    preview = Listed(silent=3)
    machine = cast(Machine, Waiting(("web-v2-3",)))
    asyncio.run(until_shown(machine, preview, INSTANCES, AT_ONCE))
    assert preview.shown == [["web-v2-3"]]


def test_they_do_not_wait_when_nothing_waits_for_the_switch_any_more() -> None:
    preview = Listed(silent=10**6)
    asyncio.run(until_shown(cast(Machine, Waiting()), preview, INSTANCES, AT_ONCE))
    assert preview.shown == []
