"""A double of Kong 3.9.1, strict: what it answers was recorded from a real one, and what was not recorded it refuses.

Several nodes over one database learn of a change one after the other; nodes without one are handed a whole document.
Every node has a balancer of its own, and really sends requests on. Time comes from `clock`, so that a replay can tell
it. `test_double.py` holds every recorded answer against it.
"""

from __future__ import annotations

import copy
import hashlib
import json
import math
import random
import re
import time
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from http.cookies import SimpleCookie
from typing import Any
from urllib.parse import parse_qs, parse_qsl, unquote

import yaml
from tests.kong.entities import Entity, filled, lua, merged, schema_violation, unique_violation, violations

SERVER = "kong/3.9.1"
JSON = "application/json; charset=utf-8"
CHECKED_AFTER = 0.02
"""Seconds after which a new upstream is balanced; a real one takes up to 5."""
KINDS = ("services", "routes", "upstreams", "targets")
EMPTY_HASH = "0" * 32
HTML_400 = (
    "<html>\r\n<head><title>400 Bad Request</title></head>\r\n<body>\r\n<center><h1>400 Bad Request</h1></center>\r\n"
    "</body>\r\n</html>\r\n"
)
ALLOWED = {
    "target": "DELETE, GET, HEAD, OPTIONS, PATCH, PUT",
    "targets": "GET, HEAD, OPTIONS, POST",
}


@dataclass
class Answer:
    status: int
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)

    def encoded(self) -> bytes:
        if self.body is None:
            return b""
        if isinstance(self.body, str):
            return self.body.encode()
        return json.dumps(self.body, separators=(",", ":")).replace("/", "\\/").encode()  # as Lua's cjson does


class NotRecorded(Exception):
    """Nobody knows what a real Kong answers to that."""


NOT_FOUND = Answer(404, {"message": "Not found"})
NOT_ALLOWED = Answer(405, {"message": "Method not allowed"})
UNPARSED = Answer(400, {"message": "Cannot parse JSON body"})
OCCURRED = Answer(500, {"message": "An unexpected error occurred"})


def empty() -> dict[str, dict[str, Entity]]:
    return {kind: {} for kind in KINDS}


@dataclass
class Database:
    """What the nodes of a cluster share. `delay`: seconds until another node than the one that wrote has a change."""

    delay: float = 0.0
    reachable: bool = True
    data: dict[str, dict[str, Entity]] = field(default_factory=empty)
    nodes: list[Node] = field(default_factory=list)
    weights: list[dict[str, int]] = field(default_factory=list)
    """The weight of every target, after each change."""

    def changed(self, by: Node) -> None:
        now = by.clock()
        for node in self.nodes:
            node.due = min(node.due, now if node is by else now + self.delay)
        self.weights.append({t["target"]: t["weight"] for t in self.data["targets"].values()})


@dataclass
class Health:
    healthy: bool = True
    streak: int = 0
    """Checks in a row that say otherwise."""


class Node:
    """One Kong. `database` None: it is configured by documents."""

    def __init__(
        self,
        database: Database | None,
        clock: Callable[[], float] = time.time,
        workers: int = 2,
        pool_idle: int = 1,
    ) -> None:
        self.id = str(uuid.uuid4())
        self.database = database
        self.clock = clock
        self.workers = workers
        self.due = float("inf")
        self.known = empty()
        """What this node works with."""
        self.balanced: dict[str, float] = {}
        """Upstream -> since when it has a balancer."""
        self.health: dict[tuple[str, str], Health] = {}
        self.hash = EMPTY_HASH
        self.said_hash = ""
        self.draining = False
        self.pool_idle = pool_idle
        """Seconds for which an idle connection to a target is kept."""
        self.loading = 0
        """How many more documents are turned away, since an earlier one is being loaded."""
        self.busy = 0
        """Requests that are being proxied."""
        self.asked: list[str] = []
        self.refused: list[str] = []
        """What it was asked that was not recorded."""
        self.weights: list[dict[str, int]] = []
        self._turn: dict[str, int] = {}
        if database is not None:
            database.nodes.append(self)

    # -- what it works with ------------------------------------------------------------------------------------------

    def catch_up(self) -> None:
        """Take in what has come by now from the database."""
        if self.database is not None and self.database.reachable and self.clock() >= self.due:
            self.due = float("inf")
            self._take(copy.deepcopy(self.database.data))

    def _take(self, data: dict[str, dict[str, Entity]]) -> None:
        self.known = data
        after = CHECKED_AFTER if self.database is not None else 0.0
        there = set(data["upstreams"])
        self.balanced = {key: self.balanced.get(key, self.clock() + after) for key in there}
        self.weights.append({t["target"]: t["weight"] for t in data["targets"].values()})

    def targets(self, upstream: str) -> list[Entity]:
        """As this node's balancer has them, oldest first."""
        self.catch_up()
        return [t for t in self.known["targets"].values() if t["upstream"]["id"] == upstream]

    def has_balancer(self, upstream: str) -> bool:
        self.catch_up()
        return upstream in self.balanced and self.clock() >= self.balanced[upstream]

    def is_checked(self, upstream: str) -> bool:
        checks = self.known["upstreams"][upstream]["healthchecks"]
        passive = checks["passive"]["unhealthy"]
        active = checks["active"]
        return bool(
            active["healthy"]["interval"]
            or active["unhealthy"]["interval"]
            or passive["http_failures"]
            or passive["tcp_failures"]
        )

    def is_healthy(self, upstream: str, target: str) -> bool:
        return not self.is_checked(upstream) or self.health.setdefault((upstream, target), Health()).healthy

    def checked(self, upstream: str, target: str, passed: bool) -> None:
        """A health check has ended."""
        active = self.known["upstreams"][upstream]["healthchecks"]["active"]
        health = self.health.setdefault((upstream, target), Health())
        if passed == health.healthy:
            health.streak = 0
            return
        health.streak += 1
        needed = active["healthy"]["successes"] if passed else active["unhealthy"]["tcp_failures"]
        if needed and health.streak >= needed:
            health.healthy, health.streak = passed, 0

    def snapshot(self, upstream: str) -> list[Entity]:
        """Targets that may be sent to just now."""
        return [t for t in self.targets(upstream) if t["weight"] and self.is_healthy(upstream, t["target"])]

    def choose(self, snapshot: Iterable[Entity], hashed: str | None = None) -> str | None:
        """One of them by weight: at random, or by what is hashed."""
        usable = list(snapshot)
        if not usable:
            return None
        if hashed is not None:
            return str(max(usable, key=lambda target: _ticket(hashed, target))["target"])
        return str(random.choices(usable, [t["weight"] for t in usable])[0]["target"])

    def hashed(self, upstream: str, headers: Mapping[str, str], client: str) -> tuple[str | None, str]:
        """What is hashed of a request, None with round robin; and the Set-Cookie of its answer, if any.

        As 3.9.1: a header is looked up by nginx's variable `http_NAME`, in which no name has a dash, and requests of
        which nothing is found to hash have all the same hash.
        """
        entity = self.known["upstreams"][upstream]
        if entity["algorithm"] != "consistent-hashing":
            return None, ""
        for on, header in (("hash_on", "hash_on_header"), ("hash_fallback", "hash_fallback_header")):
            match entity[on]:
                case "ip":
                    return client, ""
                case "header":
                    variables = {name.lower().replace("-", "_"): value for name, value in headers.items()}
                    if (found := variables.get(str(entity[header]).lower())) is not None:
                        return found, ""
                case "cookie":
                    name = entity["hash_on_cookie"]
                    sent = SimpleCookie(headers.get("cookie", ""))
                    if name in sent:
                        return sent[name].value, ""
                    fresh = str(uuid.uuid4())
                    path = entity["hash_on_cookie_path"]
                    return fresh, f"{name}={fresh}; Path={path}; Same-Site=Lax; HttpOnly"
        return "", ""

    def route(self, path: str) -> tuple[Entity, Entity] | None:
        """Route and service, by the longest path."""
        self.catch_up()
        found = [
            (len(prefix), route) for route in self.known["routes"].values() for prefix in route["paths"] or ()
            if path.startswith(prefix)
        ]  # fmt: skip
        if not found:
            return None
        route = max(found, key=lambda one: one[0])[1]
        return route, self.known["services"][route["service"]["id"]]

    def upstream_named(self, name: str) -> str | None:
        self.catch_up()
        return next((key for key, one in self.known["upstreams"].items() if one["name"] == name), None)

    # -- the status listener -----------------------------------------------------------------------------------------

    def on_status(self, method: str, path: str, body: bytes) -> Answer:
        self.asked.append(f"{method} {path}")
        if path == "/status" and method == "GET":
            return Answer(200, self._status())
        if path != "/status/ready":
            return NOT_FOUND
        if method == "GET":
            return self._ready()
        if method != "POST":
            raise NotRecorded(f"{method} {path}")
        if _json(body) == {"status": "draining"}:
            self.draining = True
            return Answer(204)
        return Answer(400, HTML_400, {"Content-Type": "text/html; charset=UTF-8", "Connection": "close"})

    def _ready(self) -> Answer:
        why = None
        if self.draining:
            why = "draining"
        elif self.database is not None and not self.database.reachable:
            why = "failed to connect to database"
        elif self.database is None and self.hash == EMPTY_HASH:
            why = "no configuration available (empty configuration present)"
        return Answer(503, {"message": why}) if why else Answer(200, {"message": "ready"})

    def _status(self) -> Entity:
        # Every worker holds a connection to the one that spreads events; each counts as one being written to.
        active = self.workers + 1 + self.busy
        server = {
            "connections_active": active,
            "connections_reading": 0,
            "connections_writing": active,
            "connections_waiting": 0,
            "connections_accepted": active,
            "connections_handled": active,
            "total_requests": len(self.asked),
        }
        memory = {
            "workers_lua_vms": [{"pid": 26866 + n, "http_allocated_gc": "41.51 MiB"} for n in range(self.workers)],
            "lua_shared_dicts": {"kong": {"allocated_slabs": "0.04 MiB", "capacity": "5.00 MiB"}},
        }
        kept = (
            {"database": {"reachable": self.database.reachable}}
            if self.database is not None
            else {"configuration_hash": self.hash}
        )
        return {**kept, "memory": memory, "server": server}

    # -- the Admin API -----------------------------------------------------------------------------------------------

    def on_admin(self, method: str, path: str, query: str, kind: str, body: bytes) -> Answer:
        """Answer a request; `kind` is its Content-Type. Raises NotRecorded."""
        self.asked.append(f"{method} {path}{'?' * bool(query)}{query}")
        self.catch_up()
        asked = dict(parse_qsl(query))
        parts = [unquote(part) for part in path.split("/")[1:]]
        if method == "HEAD":
            answer = self.on_admin("GET", path, query, kind, body)
            return Answer(answer.status, answer.body, {**answer.headers, "X-Double-Head": "1"})
        match parts:
            case ["status"] if method == "GET":
                return Answer(200, self._status())
            case ["status", "ready"]:
                return NOT_FOUND
            case [""] if method == "GET" and self._is_down():
                return Answer(500, {"message": "An unexpected error happened"})
            case [""] if method == "GET":
                return Answer(200, {"version": "3.9.1", "edition": "community", "node_id": self.id, "configuration": {
                    "upstream_keepalive_idle_timeout": self.pool_idle}})  # fmt: skip
            case ["config"]:
                return self._config(method, asked, kind, body)
            case ["schemas", "targets", "validate"] if method == "POST":
                sent = {name: value for name, value in (_json(body) or {}).items() if name != "upstream"}
                wrong = violations("targets", sent)
                return Answer(400, schema_violation(wrong)) if wrong else Answer(
                    200, {"message": "schema validation successful"}
                )  # fmt: skip
            case ["upstreams" | "services", *_] if self._is_down():
                return OCCURRED
            case ["targets", _]:
                return NOT_FOUND
            case ["nope"]:
                return NOT_FOUND
        given: Entity = {}
        if method in ("POST", "PUT", "PATCH") and not path.endswith("healthy"):
            read = _said(kind, body)
            if read is None:
                return UNPARSED
            given = read
        match method, parts:
            case "POST", ["upstreams" | "services" as what]:
                return self._create(what, given, {})
            case "GET", ["upstreams"]:
                return Answer(200, {"next": None, "data": list(self._data["upstreams"].values())[::-1]})
            case "POST", ["services", service, "routes"]:
                found = self._find("services", service)
                return self._create("routes", given, {"service": {"id": found["id"]}}) if found else NOT_FOUND
            case _, ["upstreams", name, *rest]:
                return self._on_upstream(method, name, rest, asked, given)
        raise NotRecorded(f"{method} {path}")

    def _is_down(self) -> bool:
        return self.database is not None and not self.database.reachable

    @property
    def _data(self) -> dict[str, dict[str, Entity]]:
        return self.known if self.database is None else self.database.data

    def _find(self, kind: str, key: str) -> Entity | None:
        return next((one for one in self._data[kind].values() if key in (one["id"], one["name"])), None)

    def _on_upstream(self, method: str, name: str, rest: list[str], asked: Mapping[str, str], given: Entity) -> Answer:
        upstream = self._find("upstreams", name)
        if method == "DELETE" and not rest:
            if upstream is not None:
                return self._write(lambda data: data["upstreams"].pop(upstream["id"]), "remove", "upstreams", 204)
            return Answer(204)
        if upstream is None:
            return NOT_FOUND
        match method, rest:
            case "GET", []:
                return Answer(200, upstream)
            case "PATCH", []:
                return self._patch("upstreams", upstream, given)
            case "GET", ["health"]:
                return self._balancer(upstream) if "balancer_health" in asked else self._health(upstream)
            case _, ["health"]:
                return NOT_ALLOWED
            case "POST", ["targets"]:
                return self._create("targets", given, {"upstream": {"id": upstream["id"]}})
            case "GET", ["targets"]:
                return self._page(name, self._listed(upstream["id"])[::-1], asked)
            case "GET", ["targets", "all"]:
                return Answer(200, {"next": None, "data": self._listed(upstream["id"])})
            case "OPTIONS", ["targets", *one]:
                return Answer(204, None, {"Allow": ALLOWED["target" if one else "targets"]})
            case _, ["targets", key, *more]:
                return self._on_target(method, upstream, key, more, given)
        raise NotRecorded(f"{method} /upstreams/{name}/{'/'.join(rest)}")

    def _on_target(self, method: str, upstream: Entity, key: str, more: list[str], given: Entity) -> Answer:
        listed = self._listed(upstream["id"])
        target = next((one for one in listed if key in (one["id"], one["target"])), None)
        if target is None:
            return NOT_FOUND
        match method, more:
            case "GET", []:
                return Answer(200, target)
            case "PATCH" | "PUT", []:
                return self._patch("targets", target, given)
            case "DELETE", []:
                return self._write(lambda data: data["targets"].pop(target["id"]), "remove", "targets", 204)
            case "PUT", [*_, "healthy" | "unhealthy" as state]:
                if not self.is_checked(upstream["id"]):
                    return Answer(400, {"message": f"no healthchecker found for {upstream['name']}"})
                for node in self.database.nodes if self.database else [self]:
                    node.health[upstream["id"], target["target"]] = Health(state == "healthy")
                return Answer(204)
        raise NotRecorded(f"{method} of a target: {more}")

    def _listed(self, upstream: str) -> list[Entity]:
        return [one for one in self._data["targets"].values() if one["upstream"]["id"] == upstream]

    def _page(self, name: str, listed: list[Entity], asked: Mapping[str, str]) -> Answer:
        size, start = int(asked.get("size", 100)), int(asked.get("offset", 0))
        body: Entity = {"next": None, "data": listed[start : start + size]}
        if start + size < len(listed):
            body["offset"] = str(start + size)
            body["next"] = f"/upstreams/{name}/targets?offset={start + size}"  # without the size that was asked for
        return Answer(200, body)

    def _create(self, kind: str, given: Entity, owner: Entity) -> Answer:
        if self.database is None:
            return self._unsupported("create", kind)
        if wrong := violations(kind, given):
            return Answer(400, schema_violation(wrong))
        entity = self._entity(kind, given, owner, str(uuid.uuid4()))
        key = "target" if kind == "targets" else "name"
        same = (one for one in self._data[kind].values() if one[key] == entity[key] and owner.items() <= one.items())
        if any(same):
            fields = {key: entity[key], **(owner if kind == "targets" else {})}
            return Answer(409, unique_violation(fields))
        return self._write(lambda data: data[kind].update({entity["id"]: entity}), "create", kind, 201, entity)

    def _entity(self, kind: str, given: Entity, owner: Entity, key: str) -> Entity:
        now = round(self.clock(), 3) if kind == "targets" else int(self.clock())
        return {**filled(kind, given), **owner, "id": key, "created_at": now, "updated_at": now}

    def _patch(self, kind: str, entity: Entity, given: Entity) -> Answer:
        if self.database is None:
            return self._unsupported("update", kind)
        if wrong := violations(kind, given, whole=False):
            return Answer(400, schema_violation(wrong))
        now = round(self.clock(), 3) if kind == "targets" else int(self.clock())
        new = {**merged(entity, given), "updated_at": now}
        return self._write(lambda data: data[kind].update({entity["id"]: new}), "update", kind, 200, new)

    def _write(self, change: Callable[[Any], Any], verb: str, kind: str, status: int, body: Any = None) -> Answer:
        if self.database is None:
            return self._unsupported(verb, kind)
        change(self.database.data)
        self.database.changed(self)
        self.catch_up()
        return Answer(status, body)

    def _unsupported(self, verb: str, kind: str) -> Answer:
        message = f"cannot {verb} '{kind}' entities when not using a database"
        return Answer(405, {"code": 12, "name": "operation unsupported", "message": message})

    # -- health ------------------------------------------------------------------------------------------------------

    def _host(self, upstream: str, target: Entity, *, named: bool) -> tuple[str, Entity]:
        """The state's name, and what this node's balancer says of a target: by that name, or as a truth value."""
        weight, healthy = target["weight"], self.is_healthy(upstream, target["target"])
        checked = self.is_checked(upstream) and weight
        state = ("HEALTHY" if healthy else "UNHEALTHY") if checked else "HEALTHCHECKS_OFF"
        host, _, port = target["target"].rpartition(":")
        address = {"ip": host, "port": int(port), "weight": weight}
        address |= {"health": state} if named else {"healthy": healthy or not weight}
        return state, {
            "host": host,
            "port": int(port),
            "dns": "A",
            "nodeWeight": weight,
            "addresses": [address],
            "weight": {
                "total": weight,
                "available": weight if healthy else 0,
                "unavailable": 0 if healthy else weight,
            },
        }

    def _health(self, upstream: Entity) -> Answer:
        """The database's list, with what this node does: nothing yet of a target that it has not heard of."""
        known = {one["target"]: one for one in self.targets(upstream["id"])}
        data = []
        for target in self._listed(upstream["id"])[::-1]:
            if self.has_balancer(upstream["id"]) and target["target"] in known:
                state, host = self._host(upstream["id"], known[target["target"]], named=True)
                data.append({**target, "health": state, "data": host})
            else:
                data.append(target)
        return Answer(200, {"next": None, "data": data, "node_id": self.id})

    def _balancer(self, upstream: Entity) -> Answer:
        body = {"next": None, "node_id": self.id}
        key = upstream["id"]
        if not self.has_balancer(key):
            return Answer(200, body)
        hosts = [self._host(key, target, named=False)[1] for target in self.targets(key)]
        weight = {part: sum(host["weight"][part] for host in hosts) for part in ("total", "available", "unavailable")}
        healthy = weight["available"] > 0
        state = "HEALTHY" if healthy else "UNHEALTHY"
        details = {"hosts": hosts or {}, "healthy": healthy, "weight": weight}
        checked = self.is_checked(key)
        data = {
            "id": key,
            "health": state if checked else "HEALTHCHECKS_OFF",
            "balancer_health": state,
            "details": details,
        }
        return Answer(200, {**body, "data": data})

    # -- documents ---------------------------------------------------------------------------------------------------

    def _config(self, method: str, asked: Mapping[str, str], kind: str, body: bytes) -> Answer:
        if method not in ("GET", "POST"):
            return NOT_ALLOWED
        if self.database is not None:
            message = "this endpoint is only available when Kong is configured to not use a database"
            return Answer(400, {"message": message})
        if method == "GET":
            return Answer(200, {"config": self._dumped()})
        if self.loading:
            self.loading -= 1
            message = "Currently loading previous configuration"
            return Answer(429, {"message": message}, {"Retry-After": "10"})
        given: Any = yaml.safe_load(body) if "yaml" in kind else _said(kind, body)
        if not isinstance(given, dict):
            return UNPARSED
        if isinstance(text := given.get("config"), str):
            # Only a document that comes as a string is compared with the one before.
            digest = hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()
            if asked.get("check_hash") and digest == self.said_hash:
                return Answer(304)
            self.said_hash = digest
            given = yaml.safe_load(text)
        return self.load(given, flat="flatten_errors" in asked)

    def load(self, given: Entity, *, flat: bool = False) -> Answer:
        """Replace everything."""
        fields, errors = _invalid(given)
        if fields or errors:
            found = {} if flat and errors else fields
            reported: Entity = {
                "code": 14,
                "name": "invalid declarative configuration",
                "fields": found,
                "message": f"declarative config is invalid: {lua(found)}",
            }
            return Answer(400, {**reported, **({"flattened_errors": errors} if flat else {})})
        data = empty()
        for service in given.get("services") or ():
            own = self._add(data, "services", service, {}, "routes")
            for route in service.get("routes") or ():
                self._add(data, "routes", route, {"service": {"id": own}})
        for upstream in given.get("upstreams") or ():
            own = self._add(data, "upstreams", upstream, {}, "targets")
            for target in upstream.get("targets") or ():
                self._add(data, "targets", target, {"upstream": {"id": own}})
        text = json.dumps(given, sort_keys=True).encode()
        self.hash = hashlib.md5(text, usedforsecurity=False).hexdigest()
        self._take(data)
        return Answer(201, {kind: found for kind, found in data.items() if found})

    def _add(self, data: dict[str, dict[str, Entity]], kind: str, given: Entity, owner: Entity, *inner: str) -> str:
        own = {name: value for name, value in given.items() if name not in inner}
        # The same name is the same id, whenever it is loaded.
        key = str(uuid.uuid5(uuid.NAMESPACE_URL, f"{kind}/{owner}/{own.get('name', own.get('target'))}"))
        data[kind][key] = self._entity(kind, own, owner, key)
        return key

    def _dumped(self) -> str:
        given = {kind: list(found.values()) for kind, found in self.known.items() if found}
        return yaml.safe_dump({"_format_version": "3.0", "_transform": False, **given}, sort_keys=False)


def _ticket(hashed: str, target: Entity) -> float:
    """Highest wins: rendezvous hashing, each target in proportion to its weight."""
    digest = hashlib.md5(f"{hashed} {target['target']}".encode(), usedforsecurity=False).digest()
    return float(target["weight"]) / -math.log((int.from_bytes(digest[:8]) + 1) / (2**64 + 2))


def _invalid(given: Entity) -> tuple[Entity, list[Entity]]:
    """What is wrong with a document: as it nests, and one after the other."""
    fields: Entity = {}
    errors: list[Entity] = []
    if "_format_version" not in given:
        fields["_format_version"] = "required field missing"
    elif given["_format_version"] not in ("1.1", "2.1", "3.0"):
        fields["_format_version"] = "expected one of: 1.1, 2.1, 3.0"
    known = {"_format_version", "_transform", "services", "upstreams"}
    fields |= dict.fromkeys(given.keys() - known, "unknown field")
    for kind, inner in (("services", "routes"), ("upstreams", "targets")):
        found = []
        for one in given.get(kind) or ():
            wrong = violations(kind, {name: value for name, value in one.items() if name != inner})
            if wrong:
                errors.append(_flattened(kind, one, wrong))
            inside = []
            for other in one.get(inner) or ():
                if against := violations(inner, other):
                    errors.append(_flattened(inner, other, against))
                inside.append(against)
            if any(inside):
                wrong[inner] = inside
            found.append(wrong)
        if any(found):
            fields[kind] = found
    return fields, errors


def _flattened(kind: str, entity: Entity, wrong: Mapping[str, Any]) -> Entity:
    errors = [{"message": message, "field": name, "type": "field"} for name, message in wrong.items()]
    return {"entity_type": kind.removesuffix("s"), "entity": entity, "errors": errors}


def _json(body: bytes) -> Any:
    try:
        return json.loads(body)
    except ValueError:
        return None


def _said(kind: str, body: bytes) -> Entity | None:
    if kind.startswith("application/x-www-form-urlencoded"):
        form = {name: values[-1] for name, values in parse_qs(body.decode()).items()}
        # A form has no types: numbers are taken for such.
        return {name: int(value) if re.fullmatch(r"-?\d+", value) else value for name, value in form.items()}
    given = _json(body)
    return given if isinstance(given, dict) else None
