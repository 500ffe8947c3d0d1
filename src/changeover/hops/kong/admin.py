"""One node's Admin API, with its traps. Every answer is judged here; what is not understood is Unknown, never a value.

Measured on Kong 3.9.1. Its published description differs where it matters: creating a target answers 201 and not 200,
PUT on a target updates and never creates, deleting one that is gone is a 404.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from changeover.hops.kong.access import Access
from changeover.ports import Unknown

if TYPE_CHECKING:
    import httpx

_SIZE = 1000
"""Targets asked for at once: the most that Kong gives."""
_PAGES = 100
"""Pages after which a listing counts as endless."""


@dataclass(frozen=True)
class Target:
    """A target as it is configured. What a node does with it is another matter: `Host`."""

    address: str
    weight: int
    tags: tuple[str, ...]


@dataclass(frozen=True)
class Host:
    """A target as a node's own balancer has it."""

    weight: int
    healthy: bool


@dataclass(frozen=True)
class Balancer:
    """What one node does with the requests to an upstream: `hosts` by `address:port`."""

    node: str
    hosts: Mapping[str, Host]


class Busy(Unknown):
    """A node still loads an earlier document, and wants to be left alone for `patience` seconds."""

    def __init__(self, url: str, patience: float) -> None:
        super().__init__(f"{url} still loads what it was given before, and asks for {patience:g} s of patience")
        self.patience = patience


class Admin:
    """The Admin API at one address. Every method raises Unknown when it cannot tell or was refused."""

    def __init__(self, access: Access, url: str) -> None:
        self._access = access
        self.url = url.rstrip("/")

    # -- what a node does --------------------------------------------------------------------------------------------

    async def balancer(self, upstream: str) -> Balancer:
        """The node's own word. The list of targets is the database's, and so is everything in `/health` that follows
        it: a target that was deleted is missing there at once, while this node may go on sending to it for seconds.
        """
        answer = await self._ask("GET", f"{_upstream(upstream)}/health?balancer_health=1")
        if answer.status_code == 404:
            raise Unknown(f"{self.url} has no upstream {upstream}")
        told = self._json(answer, 200)
        try:
            # For the first seconds of an upstream the node has no balancer, and leaves `data` out.
            if told.get("data") is None:
                raise Unknown(f"{self.url} has not begun to balance {upstream} yet")
            hosts = told["data"]["details"]["hosts"]
            found = {
                # `healthy` is asked for, and not the state's name: at weight 0 that is HEALTHCHECKS_OFF, checks or not.
                f"{host['host']}:{host['port']}": Host(
                    int(host["nodeWeight"]), any(bool(address["healthy"]) for address in host["addresses"])
                )
                for host in (hosts or ())  # an empty list comes as an object, `{}`: Lua knows no difference
            }
            return Balancer(str(told["node_id"]), found)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise self._foreign(answer, error) from error

    async def has_database(self) -> bool:
        """Whether it keeps its configuration in a database, instead of being handed all of it at once."""
        answer = await self._ask("GET", "/status")
        told = self._json(answer, 200)
        try:
            if ("database" in told) == ("configuration_hash" in told):
                raise KeyError("database")
            return "database" in told
        except (KeyError, TypeError) as error:
            raise self._foreign(answer, error) from error

    # -- with a database ---------------------------------------------------------------------------------------------

    async def targets(self, upstream: str) -> tuple[Target, ...]:
        """All targets, in pages."""
        found: list[Target] = []
        where = f"{_upstream(upstream)}/targets"
        for _ in range(_PAGES):
            # `next` leaves `size` out, and from the second page on there would be a hundred: it is put back.
            answer = await self._ask("GET", f"{where}{'&' if '?' in where else '?'}size={_SIZE}")
            if answer.status_code == 404:
                raise Unknown(f"{self.url} has no upstream {upstream}")
            told = self._json(answer, 200)
            try:
                found += [
                    Target(str(one["target"]), int(one["weight"]), tuple(one["tags"] or ())) for one in told["data"]
                ]
                where = told["next"]
                if where is None:
                    return tuple(found)
                if not where.startswith("/upstreams/"):
                    raise ValueError(where)
            except (KeyError, TypeError, ValueError, AttributeError) as error:
                raise self._foreign(answer, error) from error
        raise Unknown(f"{self.url} lists the targets of {upstream} without end")

    async def create_upstream(self, body: Mapping[str, Any]) -> None:
        """Create it; one of that name that is there already is left as it is."""
        answer = await self._ask("POST", "/upstreams", body)
        if answer.status_code != 409:
            self._json(answer, 201)

    async def has_upstream(self, upstream: str) -> bool:
        answer = await self._ask("GET", _upstream(upstream))
        if answer.status_code == 404:
            return False
        self._json(answer, 200)
        return True

    async def set_target(self, upstream: str, address: str, weight: int, tags: tuple[str, ...]) -> None:
        """Create a target, or change the one that is there."""
        said = {"weight": weight, "tags": list(tags)}
        answer = await self._ask("POST", f"{_upstream(upstream)}/targets", {"target": address, **said})
        if answer.status_code == 409:
            # There already: an earlier request that got no answer, or an address that is used anew. A PUT first would
            # spare this, but it creates nothing.
            self._json(await self._ask("PATCH", _target(upstream, address), said), 200)
            return
        self._json(answer, 201)

    async def weigh_target(self, upstream: str, address: str, weight: int) -> None:
        """Change a target's weight, 0 to 65535, if there is one. With 0 it gets nothing new from then on."""
        answer = await self._ask("PATCH", _target(upstream, address), {"weight": weight})
        if answer.status_code != 404:
            self._json(answer, 200)

    async def delete_target(self, upstream: str, address: str) -> None:
        answer = await self._ask("DELETE", _target(upstream, address))
        if answer.status_code not in (204, 404):  # the second time it is a 404, which is as good
            raise self._refused(answer)

    # -- without a database ------------------------------------------------------------------------------------------

    async def load(self, document: Mapping[str, Any]) -> None:
        """Replace everything that the node is configured with.

        The document goes as a string in an object: only then does Kong compare its hash with what it has, and leave
        everything alone (304) when there is nothing new.
        """
        text = json.dumps(document, sort_keys=True)
        answer = await self._ask("POST", "/config?check_hash=1", {"config": text})
        if answer.status_code == 304:
            return
        if answer.status_code == 429:
            after = answer.headers.get("Retry-After", "")
            raise Busy(self.url, float(after) if after.isdecimal() else 1.0)
        self._json(answer, 201)

    # -- answers -----------------------------------------------------------------------------------------------------

    async def _ask(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> httpx.Response:
        return await self._access.ask(method, f"{self.url}{path}", json=body)

    def _json(self, answer: httpx.Response, wanted: int) -> dict[str, Any]:
        if answer.status_code != wanted:
            raise self._refused(answer)
        try:
            told = answer.json()
        except ValueError as error:
            raise self._foreign(answer, error) from error
        if not isinstance(told, dict):
            raise self._foreign(answer, TypeError(type(told).__name__))
        return told

    def _refused(self, answer: httpx.Response) -> Unknown:
        """A status that was not hoped for, with Kong's reason. Some are HTML, from the server below Kong."""
        try:
            told = answer.json()
            reason, code = str(told["message"]), told.get("code")
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
