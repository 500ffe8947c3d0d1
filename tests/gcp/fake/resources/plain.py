"""Resources that are data alone: templates, checks, parts of balancers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from tests.gcp.fake.resources import listing, rules
from tests.gcp.fake.resources.links import link, with_links
from tests.gcp.fake.resources.operations import Operations, scope_of
from tests.gcp.fake.resources.store import Store, check_fingerprint, merged
from tests.gcp.fake.wire.discovery import Call
from tests.gcp.fake.wire.errors import ApiError, Json, invalid


@dataclass(frozen=True)
class Plain:
    kind: str
    fingerprint: bool = False


COLLECTIONS: Mapping[str, Plain] = {
    "instanceTemplates": Plain("instanceTemplate"),
    "healthChecks": Plain("healthCheck"),
    "backendServices": Plain("backendService", fingerprint=True),
    "urlMaps": Plain("urlMap", fingerprint=True),
    "targetHttpProxies": Plain("targetHttpProxy", fingerprint=True),
    "targetTcpProxies": Plain("targetTcpProxy"),
    "forwardingRules": Plain("forwardingRule", fingerprint=True),
    "autoscalers": Plain("autoscaler"),
}
VERBS = ("get", "list", "insert", "patch", "update", "delete")


class PlainResources:
    """`changed` comes after every change, so that processes follow it."""

    def __init__(
        self, store: Store, operations: Operations, address: Callable[[], str], changed: Callable[[], Awaitable[None]]
    ) -> None:
        self._store = store
        self._operations = operations
        self._address = address
        self._changed = changed

    def answer(self, call: Call, collection: str, verb: str, query: Mapping[str, str], body: Json) -> Json:
        path = f"projects/{call.args['project']}/{scope_of(call.args)}/{collection}"
        if verb == "list":
            items = list(self._store.under(path))
            kind = f"compute#{COLLECTIONS[collection].kind}List"
            return {"kind": kind, "id": path, "selfLink": link(path), **listing.page(items, query)}
        if verb == "insert":
            return self._insert(call, collection, f"{path}/{body['name']}", query, body)
        last = call.spec["path"].rpartition("{")[2].rstrip("}")
        in_path = not call.spec["path"].endswith(collection)  # autoscalers.patch names it in the query or the body
        name = call.args[last] if in_path else query.get("autoscaler", body.get("name"))
        if name is None:
            raise invalid("autoscaler", "", "The resource must be named.")
        resource = self._store.get(f"{path}/{name}")
        match verb:
            case "get":
                return resource
            case "delete":
                return self._delete(call, f"{path}/{name}", query, resource)
            case _:
                return self._change(call, collection, query, resource, body, replace=verb == "update")

    def add(self, collection: str, path: str, body: Json) -> Json:
        """At once, as the world file does."""
        rules.check_plain(collection, body)
        body = with_links(body, path.split("/")[1])
        if collection == "forwardingRules" and "IPAddress" not in body:
            body = {**body, "IPAddress": self._address()}
        plain = COLLECTIONS[collection]
        scope, _, name = path.split("/", 2)[2].rpartition(f"/{collection}")[0].partition("/")
        where = {scope.removesuffix("s"): link("/".join([*path.split("/")[:2], scope, name]))} if name else {}
        return self._store.add(path, {**body, **where}, f"compute#{plain.kind}", fingerprint=plain.fingerprint)

    def _insert(self, call: Call, collection: str, path: str, query: Mapping[str, str], body: Json) -> Json:
        rules.check_plain(collection, body)
        if self._store.find(path):
            self._store.add(path, {}, "", fingerprint=False)  # raises

        async def effect() -> None:
            self.add(collection, path, body)
            await self._changed()

        return self._operations.start(call, query, {"selfLink": link(path)}, effect)

    def _change(
        self, call: Call, collection: str, query: Mapping[str, str], resource: Json, body: Json, *, replace: bool
    ) -> Json:
        check_fingerprint(resource, body)
        body = with_links(body, call.args["project"])
        if collection == "instanceTemplates":
            raise ApiError(400, "invalid", "Instance templates are immutable.")
        own: Json = {
            key: resource[key] for key in ("kind", "id", "creationTimestamp", "selfLink", "name") if key in resource
        }
        result = {**body, **own} if replace else merged(resource, body)
        rules.check_plain(collection, result)

        async def effect() -> None:
            check_fingerprint(resource, body)
            if replace:
                kept: Json = {key: resource[key] for key in ("region", "zone", "fingerprint") if key in resource}
                resource.clear()
                resource.update({**body, **own, **kept})
            else:
                resource.update(merged(resource, {k: v for k, v in body.items() if k != "fingerprint"}))
                for name in [name for name, value in body.items() if value is None]:
                    resource.pop(name, None)
            self._store.touch(resource)
            await self._changed()

        return self._operations.start(call, query, resource, effect)

    def _delete(self, call: Call, path: str, query: Mapping[str, str], resource: Json) -> Json:
        rules.check_unused(path, self._store)

        async def effect() -> None:
            rules.check_unused(path, self._store)
            self._store.remove(path)
            await self._changed()

        return self._operations.start(call, query, resource, effect)
