"""Performs commands on instances: those of one instance in their order, those of different instances side by side.

What fails is not retried here: the machine gives a command again whose effect it does not see. Refuses to decide.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import Callable, Iterable
from signal import SIGKILL

from changeover.engine.runtime import ChainRuntime
from changeover.model.errors import ChangeoverError
from changeover.model.instance import Instance
from changeover.ports import CannotStart, CanWeigh, Unknown
from changeover.rollout import commands as do
from changeover.rollout import events as on

Feed = Callable[[str, on.Event], object]
"""Takes what was seen of a tier to its machine."""


class Performer:
    """Acts on the instances of all tiers of a chain."""

    def __init__(self, runtime: ChainRuntime, tasks: asyncio.TaskGroup, feed: Feed, now: Callable[[], float]) -> None:
        self._runtime = runtime
        self._tasks = tasks
        self._feed = feed
        self._now = now
        self._locks: dict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._pending: dict[str, list[do.Command]] = defaultdict(list)
        self._gone: dict[str, str] = {}
        self._not_stopped: dict[str, str] = {}
        """Instance -> why its last stop failed: nothing else shows that, and each reason is reported once."""

    @property
    def busy(self) -> frozenset[str]:
        """Names of the instances that a command is on its way to."""
        return frozenset(self._pending)

    def start(self, tier: str, commands: Iterable[do.Command]) -> None:
        """Begin to perform commands. One that is on its way already is not begun again."""
        by_instance: dict[str, list[do.Command]] = defaultdict(list)
        for command in commands:
            by_instance[getattr(command, "name", "")].append(command)
        for name, batch in by_instance.items():
            new = [command for command in batch if command not in self._pending.get(name, ())]
            if new:
                self._pending[name] += new
                self._tasks.create_task(self._perform(tier, name, new))

    async def _perform(self, tier: str, name: str, commands: Iterable[do.Command]) -> None:
        async with self._locks[name]:
            for command in commands:
                try:
                    with contextlib.suppress(Unknown):  # not seen to have worked, so the machine gives it again
                        await self._do(tier, command)
                finally:
                    self._pending[name].remove(command)
                    if not self._pending[name]:
                        del self._pending[name]

    async def _do(self, tier: str, command: do.Command) -> None:
        runtime = self._runtime
        if isinstance(command, do.CreateInstance):
            await self._create(tier, command)
            return
        instance = runtime.instances.get(getattr(command, "name", ""))
        if instance is None:
            return
        router = runtime.routers[tier]
        match command:
            case do.Admit():
                await router.admit(instance, command.weight)
            case do.SetWeight() if isinstance(router, CanWeigh):
                await router.weigh(instance, command.weight)
            case do.Remove():
                await router.remove(instance)
            case do.LameDuck():
                await runtime.platform.lame_duck(instance, command.on)
                await runtime.hops[tier].lame_duck(instance, command.on)
            case do.Stop():
                await self._stop(tier, instance, command)

    async def _stop(self, tier: str, instance: Instance, command: do.Stop) -> None:
        signal, to = self._runtime.stop_of(instance)
        try:
            await self._runtime.platform.stop(instance, SIGKILL if command.kill else signal, to)
        except Unknown as error:
            if self._not_stopped.get(instance.name) != str(error):
                self._not_stopped[instance.name] = str(error)
                self._feed(tier, on.Unconfirmed(self._now(), instance.name, str(error), silent=True))
            raise
        self._feed(tier, on.StopSent(self._now(), instance.name))

    async def _create(self, tier: str, command: do.CreateInstance) -> None:
        runtime = self._runtime
        owner = runtime.chain.tier(tier)
        assert owner is not None
        try:
            if command.template not in owner.templates:
                raise CannotStart(f"template {command.template} is not in the chain file any more")
            made = await runtime.platform.create(command.name, owner, command.template)
            runtime.instances[command.name] = made
            if made.place:
                self._feed(tier, on.InstancePlaced(self._now(), command.name, made.place))
        except (CannotStart, ChangeoverError, OSError) as error:
            self._feed(tier, on.InstanceGone(self._now(), command.name, str(error)))
            self._feed(tier, on.RouterConfirmed(self._now(), command.name, admitted=False))

    # -- instances that are gone ---------------------------------------------------------------------------------

    def forget(self, tier: str, name: str) -> None:
        """The instance is gone: it is dropped at the next `drop_gone`."""
        self._gone[name] = tier

    async def drop_gone(self, tier: str) -> None:
        """Take gone instances off the routers' lists, and end what they may have left running."""
        for name in [name for name, owner in self._gone.items() if owner == tier]:
            try:
                if (instance := self._runtime.instances.get(name)) is not None:
                    await self._runtime.platform.kill(instance)
                await self._runtime.routers[tier].forget(name)
            except Unknown:
                continue
            self._gone.pop(name, None)
            self._runtime.instances.pop(name, None)
            self._locks.pop(name, None)
            self._not_stopped.pop(name, None)

    async def drop_last(self) -> None:
        """Drop the instances that went at the very end, except those that a router holds on to."""
        for _ in range(self._runtime.timing.drop_looks):
            for tier in self._runtime.chain.tiers:
                await self.drop_gone(tier.name)
            if not self._gone:
                return
            await asyncio.sleep(self._runtime.timing.busy_look)
