"""What the agent answers, as documents: readiness, status, lame duck, members. Refuses to know HTTP."""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import asdict
from math import isfinite
from typing import Any

from changeover.agent.lame_duck import ASKED, LameDuck
from changeover.agent.look import Counts, Readiness, Software
from changeover.agent.members import Members
from changeover.agent.metadata import Metadata
from changeover.model.connections import Connection
from changeover.ports import Unknown

FORMAT = 1
AGAIN = 2.0
"""Seconds after which the agent repeats a lame duck that the software did not confirm."""
log = logging.getLogger("changeover.agent")


class Refused(Exception):
    """A control call that the agent does not carry out, in words, and what to do next."""

    def __init__(self, what: str, next: str) -> None:
        super().__init__(what)
        self.next = next


class Agent:
    def __init__(self, kind: str, software: Software, lame_duck: LameDuck, members: Members) -> None:
        self.members = members
        self._kind = kind
        self._software = software
        self._lame_duck = lame_duck
        self._started = time.time()
        self._tasks: set[asyncio.Task[None]] = set()
        self.metadata: Metadata | None = None
        """None: its notices are not asked for."""

    async def readiness(self) -> Readiness:
        """Whether the machine may get new requests."""
        if reason := self._lame_duck.reason:
            return Readiness(reason, answers=True)
        if reason := self.members.missing:
            return Readiness(reason, answers=True)
        seen = await self._software.readiness()
        # It may have become a lame duck while the software was asked.
        return Readiness(self._lame_duck.reason or seen.why_not, seen.answers)

    async def alive(self) -> Readiness:
        """Whether the software answers at all, lame duck or not: autohealing must not replace a machine that drains."""
        seen = await self._software.readiness()
        return Readiness("" if seen.answers else seen.why_not, seen.answers)

    async def status(self) -> dict[str, Any]:
        readiness, counts = await asyncio.gather(self.readiness(), self._software.counts())
        lame = self._lame_duck.reason
        return {
            "format": FORMAT,
            "name": self._software.instance.name,
            "kind": self._kind,
            "ready": not readiness.why_not,
            "lame_duck": bool(lame),
            "reason": lame or readiness.why_not or None,
            "in_flight": None if counts.unknown else asdict(counts.highest),
            "unknown": counts.unknown or None,
            "witnesses": _witnesses(counts),
            "members": self.members.hashes(),
            "metadata": self.metadata.state if self.metadata else "not asked",
            "time": time.time(),
            "started": self._started,
        }

    async def set_lame_duck(self, on: bool) -> None:
        """Raises Unknown where a part of it failed, and Refused where a notice keeps the instance a lame duck."""
        if on:
            await self._begin(ASKED)
        elif others := self._lame_duck.lasting(ASKED):
            raise Refused(
                f"the instance stays a lame duck: {others}",
                "Leave it out of its routers, and let the group make another VM.",
            )
        else:
            await self._end(ASKED)

    def notice(self, words: str, on: bool) -> None:
        """A notice of the machine's end has come, or does not hold any more."""
        if on:
            log.warning("%s: the agent answers not ready from now on", words)
        elif words in self._lame_duck.reason:
            log.warning("the notice does not hold any more: %s", words)
        else:
            return
        task = asyncio.ensure_future(self._noticed(words, on))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _noticed(self, words: str, on: bool) -> None:
        while True:
            try:
                await (self._begin(words) if on else self._end(words))
            except Unknown as error:
                log.warning("%s", error)
                await asyncio.sleep(AGAIN)
            else:
                return

    async def _begin(self, cause: str) -> None:
        was = self._lame_duck.reason
        self._lame_duck.begin(cause, time.time())
        if not was:
            log.warning("%s", self._lame_duck.reason)
        await self._software.lame_duck(True)

    async def _end(self, cause: str) -> None:
        if not self._lame_duck.reason:
            return
        if not self._lame_duck.lasting(cause):
            await self._software.lame_duck(False)
        self._lame_duck.end(cause)
        log.warning("no longer a lame duck by %s", cause)


def _witnesses(counts: Counts) -> dict[str, Any]:
    """What each witness saw, so that the controller can judge it as it judges instances on its own machine."""
    kernel = counts.kernel
    return {
        "own": None if counts.own is None or isinstance(counts.own, str) else asdict(counts.own),
        "kernel": None
        if kernel is None
        else {
            "connections": [_connection(one) for one in kernel.routers],
            "others": dict(kernel.others),
            "waiting": kernel.waiting,
            "one_process": kernel.one_process,
        },
    }


def _connection(one: Connection) -> dict[str, Any]:
    """`age` is null for a connection that the first look found."""
    return {"quiet": one.quiet, "answered": one.answered, "age": one.age if isfinite(one.age) else None}
