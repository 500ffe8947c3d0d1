"""What the agent sees of the software beside it: whether it is ready, what it has in flight, and its connections.

It asks at the moment of a question and remembers nothing, so that no answer is older than the question that it came
for. Questions that arrive together share one look.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, replace

from changeover.engine.witnesses import Witnesses
from changeover.hops.questions import Questions
from changeover.kit import tcp
from changeover.kit.direct_http import DirectClient, NoResponse
from changeover.kit.http import cannot_connect, wrong
from changeover.model.connections import Connection, Connections
from changeover.model.instance import InFlight, Instance
from changeover.platforms.local.peers import Peers
from changeover.ports import Unknown


@dataclass(frozen=True)
class Readiness:
    """`why_not`: empty while the software can take traffic. `answers`: whether it gave any answer at all."""

    why_not: str
    answers: bool


@dataclass(frozen=True)
class Counts:
    """What is in flight. `own` is the reason in words where the software does not answer."""

    own: InFlight | str | None
    kernel: Connections | None

    @property
    def unknown(self) -> str:
        """Why it is not known what is in flight; empty: it is known."""
        if isinstance(self.own, str):
            return self.own
        return "" if self._witnesses.known else "the software counts nothing, and the kernel shows no connections"

    @property
    def highest(self) -> InFlight:
        """With every open connection: which of a pool are idle is for the controller to judge, by its chain file."""
        return self._witnesses.highest

    @property
    def _witnesses(self) -> Witnesses:
        own = None if isinstance(self.own, str) else self.own
        return Witnesses(own, self.kernel, sessions=None, checked_here=False, pools=False, idle_after=0.0)


class Software:
    """`counts_at`: where it counts; empty: at the usual place of its kind."""

    def __init__(self, instance: Instance, questions: Questions, client: DirectClient, counts_at: str) -> None:
        self.instance = instance
        self._questions = questions
        self._client = client
        self._counts_at = counts_at or questions.counts_at
        self._peers = Peers()
        self._asking: asyncio.Future[Readiness] | None = None

    async def readiness(self) -> Readiness:
        if self._asking is None:
            self._asking = asyncio.ensure_future(self._readiness())
            self._asking.add_done_callback(self._asked)
        return await asyncio.shield(self._asking)

    def _asked(self, _: asyncio.Future[Readiness]) -> None:
        self._asking = None

    async def _readiness(self) -> Readiness:
        began, asked = time.monotonic(), self.instance.readiness
        path, at = asked.path or self._questions.ready_path, self.instance.control
        try:
            if asked.tcp:
                if why := await cannot_connect(at.host, at.port, self._client.timeout):
                    raise NoResponse(why)
                return Readiness("", answers=True)
            response = await self._questions.ask(self._client, "GET", self.instance, path, asked.request_headers)
        except NoResponse as error:
            late = time.monotonic() - began >= self._client.timeout
            why = f"the software did not answer within {self._client.timeout:g} s" if late else "the software is not up"
            return Readiness(f"{why}: {error}", answers=False)
        return Readiness(wrong(response, path, asked.status, asked.body), answers=True)

    async def counts(self) -> Counts:
        # The kernel first: what the software counts then includes what these connections brought.
        kernel = self._kernel()
        own: InFlight | str | None
        try:
            own = await self._questions.in_flight(self._client, self.instance, self._counts_at)
        except Unknown as error:
            own = str(error)
        return Counts(own, kernel)

    def _kernel(self) -> Connections | None:
        """Also the connections that the software has closed while their last bytes are under way.

        Where instances share a machine, its kernel sends them when the instance has ended. This one ends with it.
        """
        address = self.instance.address
        kernel = self._peers.of(self.instance, routers=None)
        try:
            count = tcp.undelivered(address.port, address.host)
        except OSError:
            return None
        return kernel and replace(kernel, routers=kernel.routers + (Connection(quiet=0.0, answered=False),) * count)

    async def lame_duck(self, on: bool) -> None:
        """What a lame duck needs beyond its file. Raises Unknown."""
        if self._questions.lame_duck is not None:
            await self._questions.lame_duck(self._client, self.instance, on)
