"""The agent's HTTP server: one request a connection, JSON answers. Readiness needs no token, every other call does."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from changeover.agent.access import Access
from changeover.agent.look import Readiness
from changeover.agent.members import LARGEST
from changeover.agent.service import Agent, Refused
from changeover.http1 import head as heads
from changeover.http1.head import BadHead, RequestHead
from changeover.ports import Unknown

TIME = 20.0
"""Seconds for a request to arrive, and for its answer to be found and taken."""
_MEMBERS = "/v1/members/"
log = logging.getLogger("changeover.agent")

Answer = tuple[int, Any]
"""A status and a document."""


class _Failure(Exception):
    """An answer that is an error: its status, what happened, and what to do next."""

    def __init__(self, status: int, error: str, next: str) -> None:
        super().__init__(error)
        self.answer: Answer = status, {"error": error, "next": next}


class Server:
    def __init__(self, agent: Agent, access: Access) -> None:
        self._agent = agent
        self._access = access

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, one request."""
        try:
            async with asyncio.timeout(TIME):
                head = heads.read_request(await reader.readuntil(b"\r\n\r\n"))
                status, document = await self._answer(head, reader, writer)
                _respond(writer, status, document, bare=head.method == b"HEAD")
                await writer.drain()
        except BadHead as error:
            _respond(writer, error.status, {"error": str(error), "next": "Send a request of HTTP/1.1."})
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, TimeoutError, ConnectionError):
            pass  # without an answer: the client is gone, or sent no whole request
        finally:
            writer.close()

    async def _answer(self, head: RequestHead, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Answer:
        method, path = head.method.decode(), head.path.decode("latin-1")
        try:
            if path in ("/readyz", "/livez"):
                _only(("GET", "HEAD"), method)
                return _health(await (self._agent.readiness() if path == "/readyz" else self._agent.alive()))
            self._authorise(head, writer)
            allowed, perform = self._call(path)
            _only(allowed, method)
            return await perform(method, await _body(head, reader))
        except _Failure as failure:
            return failure.answer
        except Refused as error:
            return 409, {"error": str(error), "next": error.next}
        except Unknown as error:
            return 503, {"error": str(error), "next": "Repeat the call: it does no harm twice."}

    def _authorise(self, head: RequestHead, writer: asyncio.StreamWriter) -> None:
        try:
            allowed = self._access.allows(
                head.fields.get(b"authorization", b""), writer.get_extra_info("peercert", default=None)
            )
        except ValueError as error:
            log.warning("%s", error)
            raise _Failure(500, "the agent cannot read its token", "Its log names the file.") from error
        if not allowed:
            raise _Failure(
                401,
                "this call needs the token of the agent, or a certificate that it trusts",
                "Send `Authorization: Bearer TOKEN`.",
            )

    def _call(self, path: str) -> tuple[tuple[str, ...], Callable[[str, bytes], Awaitable[Answer]]]:
        """The methods of a path, and the coroutine that answers them."""
        if path == "/v1/status":
            return ("GET",), self._status
        if path == "/v1/lame-duck":
            return ("PUT",), self._lame_duck
        if path.startswith(_MEMBERS):
            tier = path.removeprefix(_MEMBERS)
            if tier in self._agent.members:
                return ("GET", "PUT"), lambda method, body: self._members(tier, method, body)
            raise _Failure(404, f"this agent keeps no members of {tier!r}", "Name the tier under `members`.")
        paths = f"/readyz, /livez, /v1/status, /v1/lame-duck and {_MEMBERS}TIER"
        raise _Failure(404, f"there is nothing at {path}", f"There are {paths}.")

    async def _status(self, method: str, body: bytes) -> Answer:
        return 200, await self._agent.status()

    async def _lame_duck(self, method: str, body: bytes) -> Answer:
        try:
            on = json.loads(body)["on"]
        except (ValueError, KeyError, TypeError):
            on = None
        if not isinstance(on, bool):
            raise _Failure(400, f"this is no lame duck: {body[:80]!r}", 'Send {"on": true} or {"on": false}.')
        await self._agent.set_lame_duck(on)
        return 200, await self._agent.status()

    async def _members(self, tier: str, method: str, body: bytes) -> Answer:
        if method == "PUT":
            try:
                self._agent.members.write(tier, body)
            except ValueError as error:
                raise _Failure(400, f"the list was not written: {error}", "Send an EDS document of Envoy.") from error
            return 200, {"sha256": self._agent.members.hashes()[tier]}
        return 200, await self._agent.members.confirmed(tier)


def _only(allowed: tuple[str, ...], method: str) -> None:
    if method not in allowed:
        raise _Failure(405, f"{method} is not for this path", f"Use {' or '.join(allowed)}.")


def _health(seen: Readiness) -> Answer:
    return (503, {"ready": False, "reason": seen.why_not}) if seen.why_not else (200, {"ready": True})


async def _body(head: RequestHead, reader: asyncio.StreamReader) -> bytes:
    if head.chunked:
        raise _Failure(411, "the body has no Content-Length", "Send one.")
    if (length := head.length or 0) > LARGEST:
        raise _Failure(413, f"the body has more than {LARGEST} bytes", "Send a shorter list.")
    return await reader.readexactly(length)


def _respond(writer: asyncio.StreamWriter, status: int, document: Any, *, bare: bool = False) -> None:
    content = json.dumps(document).encode() + b"\n"
    fields = [
        (b"Content-Type", b"application/json"),
        (b"Content-Length", b"%d" % len(content)),
        (b"Cache-Control", b"no-store"),
        (b"Connection", b"close"),
    ]
    if status == 401:
        fields.append((b"WWW-Authenticate", b"Bearer"))
    writer.write(heads.format_response(status, b"", fields) + (b"" if bare else content))
