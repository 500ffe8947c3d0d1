"""A chain whose instances exist only in memory, for tests of what the engine decides: journal and controller are real.

An instance is ready at once, holds no requests, and ends on its stop signal. A test marks templates that cannot start,
kills instances, and reads in `events` in which order things were done.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from signal import SIGTERM, Signals
from typing import Any, ClassVar

from changeover.engine.runtime import ChainRuntime
from changeover.hops.app.settings import AppSettings
from changeover.model.chain import Chain, Tier
from changeover.model.hop_traits import HopTraits
from changeover.model.instance import Address, InFlight, Instance, LaunchSpec
from changeover.model.stop import StopTo
from changeover.ports import CannotStart, LaunchContext, Membership, Preview, Router

TRAITS = HopTraits("fake", AppSettings, "http", "/ready", SIGTERM)


def chain(*tiers: str, hooks: Collection[Mapping[str, Any]] = (), size: int = 1, abandoned: str = "wait") -> Chain:
    """Tiers with templates v1 and v2, which need no time to be admitted."""
    update = {"min_ready": "0s", "progress_deadline": "5s", "abandoned": abandoned}
    return Chain.model_validate(
        {
            "tiers": [
                {"name": name, "kind": "fake", "size": size, "templates": {"v1": {}, "v2": {}}, "update": update}
                for name in tiers
            ],
            "hooks": list(hooks),
        }
    )


class FakePlatform:
    """Instances are entries of a dict; `broken` holds templates that cannot be launched."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self.broken: set[tuple[str, str]] = set()
        self.opened = False
        self._instances: dict[str, Instance] = {}
        self._gone: set[str] = set()

    @property
    def running(self) -> list[str]:
        return sorted(name for name in self._instances if name not in self._gone)

    def die(self, name: str) -> None:
        """The process of that instance ends by itself."""
        self._gone.add(name)

    def lose_record(self, name: str) -> None:
        """The record of that instance is deleted by hand."""
        del self._instances[name]

    async def open(self, *, fresh: bool) -> None:
        self.events.append("open")
        self.opened = True

    def mark_whole(self) -> None:
        self.opened = True

    def is_open(self) -> bool:
        return self.opened

    def entry(self, tier: str) -> Address:
        return Address("127.0.0.1", 1)

    def router(self, tier: Tier) -> Router:
        raise NotImplementedError

    def preview(self, tier: Tier) -> Preview | None:
        return None

    def recorded(self, name: str) -> Instance | None:
        return self._instances.get(name)

    async def create(self, name: str, tier: Tier, template: str) -> Instance:
        if (tier.name, template) in self.broken:
            raise CannotStart(f"{template} has no server")
        self.events.append(f"create {name}")
        address = Address("127.0.0.1", 1)
        return self._instances.setdefault(name, Instance(name, tier.name, template, address, address))

    async def start(self, instance: Instance, tier: Tier) -> Instance:
        """Start it again in its place; from a broken template it ends at once."""
        self.events.append(f"start {instance.name} {instance.template}")
        self._instances[instance.name] = instance
        if (tier.name, instance.template) not in self.broken:
            self._gone.discard(instance.name)
        return instance

    async def gone(self, instances: Collection[Instance], stopped: Collection[str] = ()) -> Mapping[str, str]:
        return {instance.name: "it ended" for instance in instances if instance.name in self._gone}

    async def connections(self, instance: Instance) -> None: ...

    async def lame_duck(self, instance: Instance, on: bool) -> None: ...

    async def stop(self, instance: Instance, signal: Signals, to: StopTo) -> None:
        self.events.append(f"stop {instance.name}")
        self._gone.add(instance.name)

    async def kill(self, instance: Instance) -> None:
        self._instances.pop(instance.name, None)

    async def close(self) -> None:
        self.events.append("close")
        self.opened = False
        self._instances.clear()


class FakeHop:
    """Ready while it runs, idle always."""

    traits: ClassVar[HopTraits] = TRAITS

    def __init__(self, client: object = None, platform: FakePlatform | None = None) -> None:
        self._platform = platform

    def launch(self, settings: object, context: LaunchContext) -> LaunchSpec:
        raise NotImplementedError

    async def not_ready(self, instance: Instance, timeout: float) -> str:
        return "" if self._platform is None or instance.name in self._platform.running else "it does not run"

    async def lame_duck(self, instance: Instance, on: bool) -> None: ...

    async def in_flight(self, instance: Instance) -> InFlight:
        return InFlight(0, 0)


class FakeRouter:
    """Confirms at once what was asked of it, unless `deaf`."""

    def __init__(self) -> None:
        self.members: set[str] = set()
        self.deaf = False

    async def open(self, keep: Collection[Instance] = ()) -> None: ...

    async def admit(self, instance: Instance, weight: int) -> None:
        self.members.add(instance.name)

    async def remove(self, instance: Instance) -> None:
        self.members.discard(instance.name)

    async def membership(self, names: frozenset[str]) -> Mapping[str, Membership]:
        return {
            name: Membership(admitted=name in self.members and not self.deaf, removed=name not in self.members)
            for name in names
        }

    async def forget(self, name: str) -> None:
        self.members.discard(name)


def runtime(of: Chain, platform: FakePlatform, routers: Mapping[str, FakeRouter] | None = None) -> ChainRuntime:
    """That chain on that platform. The same hashes stand for the file and for its copy: no template was changed."""
    hashes = {tier.name: {name: name for name in tier.templates} for tier in of.tiers}
    return ChainRuntime(
        chain=of,
        platform=platform,
        hops={tier.name: FakeHop(platform=platform) for tier in of.tiers},
        routers=routers or {tier.name: FakeRouter() for tier in of.tiers},
        hashes=hashes,
        hashes_in_use=lambda: hashes,
        instances={},
        guarding={},
        folder=Path(),
        stops={tier.name: {} for tier in of.tiers},
        previews={},
        carrying={},
    )
