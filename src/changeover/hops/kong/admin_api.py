"""One node's Admin API, with its traps. Every answer is judged here; one that makes no sense is Unknown, never a value.

Measured on Kong 3.9.1. Its published description differs where it matters: creating a target answers 201 and not 200,
PUT on a target updates and never creates, deleting one that is gone is a 404.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from changeover.hops.kong.admin_access import AdminAccess
from changeover.ports import Unknown

if TYPE_CHECKING:
    import httpx


DEFAULT_POOL_IDLE = 60.0
"""Seconds, where the configuration of a node may not be read: Kong's default of `upstream_keepalive_idle_timeout`."""


@dataclass(frozen=True)
class PageLimits:
    """How lists are read: `size` targets at once, which is the most that Kong gives, and no more than `pages`."""

    size: int = 1000
    pages: int = 100


@dataclass(frozen=True)
class StoredTarget:
    """A target as Kong's configuration has it. What a node does with it is another matter: `ActiveTarget`."""

    address: str
    weight: int
    tags: tuple[str, ...]


@dataclass(frozen=True)
class ActiveTarget:
    """A target as a node's own balancer has it."""

    weight: int
    healthy: bool


@dataclass(frozen=True)
class NodeBalancer:
    """What one node does with the requests to an upstream: `targets` by `address:port`."""

    node: str
    targets: Mapping[str, ActiveTarget]


class NodeBusy(Unknown):
    """A node still loads an earlier document, and asks for a pause of `pause` seconds."""

    def __init__(self, url: str, pause: float) -> None:
        super().__init__(f"{url} still loads its last document, and asks for a pause of {pause:g} s")
        self.pause = pause


class AdminApi:
    """The Admin API at one address. Every method raises Unknown where Kong refuses or gives no usable answer."""

    def __init__(self, access: AdminAccess, url: str, limits: PageLimits = PageLimits()) -> None:
        self._access = access
        self._limits = limits
        self.url = url.rstrip("/")

    # -- what a node does --------------------------------------------------------------------------------------------

    async def balancer(self, upstream: str) -> NodeBalancer:
        """What the node itself does.

        The list of targets is the database's, and so is everything in `/health` that follows it: a deleted target is
        missing there at once, while this node may go on sending to it for seconds.
        """
        answer = await self._ask("GET", f"{_upstream(upstream)}/health?balancer_health=1")
        if answer.status_code == 404:
            raise Unknown(f"{self.url} has no upstream {upstream}")
        body = self._json(answer, 200)
        try:
            # For the first seconds of an upstream the node has no balancer, and leaves `data` out.
            if body.get("data") is None:
                raise Unknown(f"{self.url} has not begun to balance {upstream} yet")
            hosts = body["data"]["details"]["hosts"]
            targets = {
                # `healthy`, and not the state's name: at weight 0 that is HEALTHCHECKS_OFF, with checks and without.
                f"{host['host']}:{host['port']}": ActiveTarget(
                    int(host["nodeWeight"]), any(bool(address["healthy"]) for address in host["addresses"])
                )
                for host in (hosts or ())  # an empty list comes as an object, `{}`: Lua knows no difference
            }
            return NodeBalancer(str(body["node_id"]), targets)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise self._foreign(answer, error) from error

    async def has_database(self) -> bool:
        """Whether it keeps its configuration in a database; otherwise it receives all of it at once."""
        answer = await self._ask("GET", "/status")
        body = self._json(answer, 200)
        try:
            if ("database" in body) == ("configuration_hash" in body):
                raise KeyError("database")
            return "database" in body
        except (KeyError, TypeError) as error:
            raise self._foreign(answer, error) from error

    async def pool_idle(self) -> float:
        """Seconds for which the node keeps an idle connection to a target, of whatever weight."""
        answer = await self._ask("GET", "/")
        if answer.status_code in (401, 403):
            return DEFAULT_POOL_IDLE  # a token may be valid for upstreams alone
        body = self._json(answer, 200)
        try:
            return float(body["configuration"]["upstream_keepalive_idle_timeout"])
        except (KeyError, TypeError, ValueError) as error:
            raise self._foreign(answer, error) from error

    # -- with a database ---------------------------------------------------------------------------------------------

    async def targets(self, upstream: str) -> tuple[StoredTarget, ...]:
        """All targets, in pages."""
        found: list[StoredTarget] = []
        where = f"{_upstream(upstream)}/targets"
        for _ in range(self._limits.pages):
            # `next` leaves `size` out, and the second page would hold a hundred targets: it is put back.
            answer = await self._ask("GET", f"{where}{'&' if '?' in where else '?'}size={self._limits.size}")
            if answer.status_code == 404:
                raise Unknown(f"{self.url} has no upstream {upstream}")
            body = self._json(answer, 200)
            try:
                found += [
                    StoredTarget(str(one["target"]), int(one["weight"]), tuple(one["tags"] or ()))
                    for one in body["data"]
                ]
                where = body["next"]
                if where is None:
                    return tuple(found)
                if not where.startswith("/upstreams/"):
                    raise ValueError(where)
            except (KeyError, TypeError, ValueError, AttributeError) as error:
                raise self._foreign(answer, error) from error
        raise Unknown(f"{self.url} lists the targets of {upstream} without end")

    async def create_upstream(self, body: Mapping[str, Any]) -> None:
        """Create it; one of that name that is there already stays as it is."""
        answer = await self._ask("POST", "/upstreams", body)
        if answer.status_code != 409:
            self._json(answer, 201)

    async def upstream(self, upstream: str) -> Mapping[str, Any] | None:
        """Its configuration; None where there is none of that name."""
        answer = await self._ask("GET", _upstream(upstream))
        return None if answer.status_code == 404 else self._json(answer, 200)

    async def change_upstream(self, upstream: str, changes: Mapping[str, Any]) -> None:
        """Set these keys. Kong merges records with what they hold."""
        self._json(await self._ask("PATCH", _upstream(upstream), changes), 200)

    async def set_target(self, upstream: str, address: str, weight: int, tags: tuple[str, ...]) -> None:
        """Create a target, or change the one that is there."""
        body = {"weight": weight, "tags": list(tags)}
        answer = await self._ask("POST", f"{_upstream(upstream)}/targets", {"target": address, **body})
        if answer.status_code == 409:
            # There already: an earlier request got no answer, or a new instance has the address of an old one. A PUT
            # would spare this, but it creates nothing.
            self._json(await self._ask("PATCH", _target(upstream, address), body), 200)
            return
        self._json(answer, 201)

    async def weigh_target(self, upstream: str, address: str, weight: int) -> None:
        """Change a target's weight, 0 to 65535, if there is one. At 0 Kong sends it nothing new from then on."""
        answer = await self._ask("PATCH", _target(upstream, address), {"weight": weight})
        if answer.status_code != 404:
            self._json(answer, 200)

    async def delete_target(self, upstream: str, address: str) -> None:
        answer = await self._ask("DELETE", _target(upstream, address))
        if answer.status_code not in (204, 404):  # the second time it is a 404, which is as good
            raise self._refused(answer)

    # -- without a database ------------------------------------------------------------------------------------------

    async def load(self, document: Mapping[str, Any]) -> None:
        """Replace the whole configuration of the node.

        The document goes as a string in an object: only then does Kong compare its hash with the current one, and
        change nothing (304) when the document is the same.
        """
        text = json.dumps(document, sort_keys=True)
        answer = await self._ask("POST", "/config?check_hash=1", {"config": text})
        if answer.status_code == 304:
            return
        if answer.status_code == 429:
            after = answer.headers.get("Retry-After", "")
            raise NodeBusy(self.url, float(after) if after.isdecimal() else 1.0)
        self._json(answer, 201)

    # -- answers -----------------------------------------------------------------------------------------------------

    async def _ask(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> httpx.Response:
        return await self._access.ask(method, f"{self.url}{path}", json=body)

    def _json(self, answer: httpx.Response, wanted: int) -> dict[str, Any]:
        if answer.status_code != wanted:
            raise self._refused(answer)
        try:
            body = answer.json()
        except ValueError as error:
            raise self._foreign(answer, error) from error
        if not isinstance(body, dict):
            raise self._foreign(answer, TypeError(type(body).__name__))
        return body

    def _refused(self, answer: httpx.Response) -> Unknown:
        """A status that means failure, with Kong's reason. Some are HTML, from the server below Kong."""
        try:
            body = answer.json()
            reason, code = str(body["message"]), body.get("code")
        except (ValueError, KeyError, TypeError, AttributeError):
            reason, code = f"a body of type {answer.headers.get('Content-Type', 'unknown')}", None
        if answer.status_code == 405 and code == 12:
            reason += " (its configuration comes from files, or from a control plane)"
        request = answer.request
        return Unknown(
            self._access.hide(f"{request.method} {request.url} answered {answer.status_code}: {reason[:200]}")
        )

    def _foreign(self, answer: httpx.Response, error: Exception) -> Unknown:
        request = answer.request
        return Unknown(self._access.hide(f"{request.method} {request.url} is not what a Kong answers: {error!r}"[:300]))


def _upstream(name: str) -> str:
    return f"/upstreams/{quote(name, safe='')}"


def _target(upstream: str, address: str) -> str:
    return f"{_upstream(upstream)}/targets/{quote(address, safe=':')}"
