"""URL maps, global and regional: the weights of two backend services, changed by the fingerprint of the map.

Nothing but weights is changed. A map that leads to one of the services without a weight is the operator's to correct.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any
from uuid import uuid4

from changeover.doctor.facts import UrlMap
from changeover.platforms.gcp.api.calls import Calls, Refused
from changeover.platforms.gcp.api.groups import path_below_project
from changeover.platforms.gcp.api.operations import Operations, OperationTiming, read
from changeover.ports import Unknown

_ATTEMPTS = 5
"""At a map that other clients keep changing."""


class UrlMaps:
    """The URL maps of a project that can lead to services of a region."""

    def __init__(self, calls: Calls, project: str, region: str, timing: OperationTiming) -> None:
        self._calls = calls
        self._project = project
        self._region = region
        self._timing = timing

    async def get(self, name: str) -> UrlMap:
        """The map of that name: the region's, else the global one. Raises Refused, and Unknown."""
        return url_map_of(await self._find(name))

    async def set_weights(self, name: str, weights: Mapping[str, int]) -> UrlMap:
        """Have these services, which are together wherever one of them is, have these weights; the map as it is then.

        Raises Refused, and Unknown.
        """
        what = f"to change the weights of URL map {name}"
        for _ in range(_ATTEMPTS):
            found = await self._find(name)
            if (body := self._changed(found, weights)) is None:
                return url_map_of(found)
            region = found.region.rpartition("/")[2]
            change = {"url_map_resource": body, "request_id": str(uuid4())}
            operations = Operations(self._calls, self._project, ("region", region) if region else None, self._timing)
            try:
                await operations.finish(what, await self._ask(name, region, "patch", change, read))
            except Refused as error:
                if not error.is_stale:
                    raise
        raise Unknown(f"URL map {name}, which other clients keep changing")

    def _changed(self, found: Any, weights: Mapping[str, int]) -> Any:
        """What to change of it; None: nothing. A list is replaced as a whole, so each is sent as it was read."""
        changed = False
        for action in _actions(found):
            for one in action.weighted_backend_services:
                path = path_below_project(one.backend_service)
                if path in weights and one.weight != weights[path]:
                    one.weight, changed = weights[path], True
        if not changed:
            return None
        body = self._calls.types.UrlMap(fingerprint=found.fingerprint)
        if found.default_route_action.weighted_backend_services:
            body.default_route_action = found.default_route_action
        if found.path_matchers:
            body.path_matchers = found.path_matchers
        return body

    async def _find(self, name: str) -> Any:
        try:
            return await self._ask(name, self._region, "get", {}, lambda answer: answer)
        except Refused as error:
            if error.code != 404:
                raise
        return await self._ask(name, "", "get", {}, lambda answer: answer)

    async def _ask(self, name: str, region: str, method: str, more: Mapping[str, Any], read: Any) -> Any:
        where = {"project": self._project} | ({"region": region} if region else {})
        scope = "Region" if region else ""
        request = getattr(self._calls.types, f"{method.capitalize()}{scope}UrlMapRequest")
        asked = request(url_map=name, **where, **more)
        method = method if method == "get" else f"{method}_unary"
        return await self._calls.ask(f"URL map {name}", f"{scope}UrlMapsClient", method, {"request": asked}, read)


def url_map_of(found: Any) -> UrlMap:
    """What an answer of the API says."""
    weighted = tuple(
        {path_below_project(one.backend_service): int(one.weight) for one in action.weighted_backend_services}
        for action in _actions(found)
        if action.weighted_backend_services
    )
    return UrlMap(found.name, weighted, frozenset(path_below_project(link) for link in _direct(found) if link))


def _actions(found: Any) -> Iterator[Any]:
    yield found.default_route_action
    for matcher in found.path_matchers:
        yield matcher.default_route_action
        yield from (rule.route_action for rule in (*matcher.path_rules, *matcher.route_rules))


def _direct(found: Any) -> Iterator[str]:
    yield found.default_service
    for matcher in found.path_matchers:
        yield matcher.default_service
        yield from (rule.service for rule in (*matcher.path_rules, *matcher.route_rules))
