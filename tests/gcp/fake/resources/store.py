"""The resources of the project, by path, each with its identifier and its fingerprint."""

from __future__ import annotations

import base64
import copy
import itertools
from collections.abc import Iterator

from tests.gcp.fake.clock import Clock
from tests.gcp.fake.resources.links import link
from tests.gcp.fake.wire.errors import Json, already_exists, not_found, stale_fingerprint


class Store:
    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._resources: dict[str, Json] = {}
        self._numbers = itertools.count(4_000_000_000_000_000_001)

    def number(self) -> str:
        """An identifier that nothing else has."""
        return str(next(self._numbers))

    def fingerprint(self) -> str:
        return base64.b64encode(next(self._numbers).to_bytes(8, "big")).decode()

    def add(self, path: str, body: Json, kind: str, *, fingerprint: bool) -> Json:
        """Raises ApiError where the path is taken."""
        if path in self._resources:
            raise already_exists(path)
        self._resources[path] = resource = {
            **body,
            "kind": kind,
            "id": self.number(),
            "creationTimestamp": self._clock.stamp(),
            "selfLink": link(path),
        }
        if fingerprint:
            resource["fingerprint"] = self.fingerprint()
        return resource

    def get(self, path: str) -> Json:
        """The resource itself, not a copy. Raises ApiError where there is none."""
        if (resource := self._resources.get(path)) is None:
            raise not_found(path)
        return resource

    def find(self, path: str) -> Json | None:
        return self._resources.get(path)

    def under(self, collection: str) -> Iterator[Json]:
        """Those whose path is `collection/NAME`, in the order of their names."""
        yield from (self._resources[path] for path in sorted(self._resources) if path.rpartition("/")[0] == collection)

    def of_kind(self, kind: str) -> Iterator[Json]:
        yield from (resource for resource in self._resources.values() if resource["kind"] == kind)

    def remove(self, path: str) -> None:
        del self._resources[path]

    def touch(self, resource: Json) -> None:
        """Give a changed resource its next fingerprint."""
        if "fingerprint" in resource:
            resource["fingerprint"] = self.fingerprint()


def check_fingerprint(resource: Json, body: Json) -> None:
    """A change with another fingerprint than the present one is refused; a change without one is not."""
    if "fingerprint" in body and body["fingerprint"] != resource.get("fingerprint"):
        raise stale_fingerprint()


def merged(resource: Json, change: Json) -> Json:
    """JSON merge patch (RFC 7396): null removes, objects are merged, lists are replaced whole."""
    result = copy.deepcopy(resource)
    for name, value in change.items():
        if value is None:
            result.pop(name, None)
        elif isinstance(value, dict):
            old = result.get(name)
            result[name] = merged(old if isinstance(old, dict) else {}, value)
        else:
            result[name] = copy.deepcopy(value)
    return result
