"""What Kong 3.9.1 knows of services, routes, upstreams and targets: fields, defaults, and how it words a violation.

Taken from recorded answers. A field of Kong's that was not recorded is refused as unknown.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

Entity = dict[str, Any]
Check = Callable[[Any], str | None]


def _integer(low: int, high: int) -> Check:
    def check(value: Any) -> str | None:
        if isinstance(value, bool) or not isinstance(value, int):
            return "expected an integer"
        return None if low <= value <= high else f"value should be between {low} and {high}"

    return check


def _number(value: Any) -> str | None:
    return None if isinstance(value, int | float) and not isinstance(value, bool) else "expected a number"


def _string(value: Any) -> str | None:
    return None if isinstance(value, str) else "expected a string"


def _boolean(value: Any) -> str | None:
    return None if isinstance(value, bool) else "expected a boolean"


def _strings(value: Any) -> str | None:
    return None if isinstance(value, list) and all(isinstance(one, str) for one in value) else "expected an array"


def _paths(value: Any) -> str | None:
    return _strings(value) or (None if all(one[:1] in "/~" for one in value) else "should start with: /")


def _target(value: Any) -> str | None:
    fine = isinstance(value, str) and re.fullmatch(r"[A-Za-z0-9.-]+(:\d{1,5})?", value)
    return None if fine else "Invalid target; not a valid hostname or ip address"


def _one_of(*known: str) -> Check:
    return lambda value: None if value in known else f"expected one of: {', '.join(known)}"


def _none(value: Any) -> str | None:
    return None if value is None else "not recorded, so not known to the double"


def _lists_by_name(value: Any) -> str | None:
    return None if isinstance(value, dict) and not any(map(_strings, value.values())) else "expected a map"


def _integers(value: Any) -> str | None:
    return None if isinstance(value, list) and all(isinstance(one, int) for one in value) else "expected an array"


_COUNT = _integer(0, 255)
_HTTP = [200, 302]
_SERVED = [*range(200, 209), 226, *range(300, 309)]
_ERRORS = [429, 404, *range(500, 506)]
Field = tuple[Any, Check | Mapping[str, Any]]
_HEALTHCHECKS: dict[str, Any] = {
    "active": {
        "type": ("http", _one_of("http", "tcp")),
        "https_sni": (None, _none),
        "https_verify_certificate": (True, _boolean),
        "headers": (None, _lists_by_name),
        "healthy": {"http_statuses": (_HTTP, _integers), "interval": (0, _number), "successes": (0, _COUNT)},
        "unhealthy": {
            "interval": (0, _number),
            "http_statuses": (_ERRORS, _integers),
            "tcp_failures": (0, _COUNT),
            "timeouts": (0, _COUNT),
            "http_failures": (0, _COUNT),
        },
        "timeout": (1, _number),
        "http_path": ("/", _string),
        "concurrency": (10, _integer(1, 2**31)),
    },
    "passive": {
        "type": ("http", _one_of("http")),
        "healthy": {"successes": (0, _COUNT), "http_statuses": (_SERVED, _integers)},
        "unhealthy": {
            "http_statuses": ([429, 500, 503], _integers),
            "tcp_failures": (0, _COUNT),
            "timeouts": (0, _COUNT),
            "http_failures": (0, _COUNT),
        },
    },
    "threshold": (0, _number),
}
_HASHING = ("hash_on_header", "hash_on_query_arg", "hash_on_uri_capture", "hash_on_cookie")
_FALLBACK = ("hash_fallback_header", "hash_fallback_query_arg", "hash_fallback_uri_capture")
SCHEMAS: dict[str, dict[str, Any]] = {
    "services": {
        "name": (None, _string),
        "host": (None, _string),
        "protocol": ("http", _one_of("http", "https")),
        "port": (80, _integer(0, 65535)),
        "retries": (5, _integer(0, 32767)),
        "connect_timeout": (60000, _integer(1, 2**31 - 2)),
        "read_timeout": (60000, _integer(1, 2**31 - 2)),
        "write_timeout": (60000, _integer(1, 2**31 - 2)),
        "path": (None, _string),
        "enabled": (True, _boolean),
        "tags": (None, _strings),
        **dict.fromkeys(("client_certificate", "ca_certificates", "tls_verify", "tls_verify_depth"), (None, _none)),
    },
    "routes": {
        "name": (None, _string),
        "paths": (None, _paths),
        "strip_path": (True, _boolean),
        "preserve_host": (False, _boolean),
        "request_buffering": (True, _boolean),
        "response_buffering": (True, _boolean),
        "protocols": (["http", "https"], _strings),
        "methods": (None, _strings),
        "tags": (None, _strings),
        "regex_priority": (0, _integer(0, 2**31)),
        "path_handling": ("v0", _one_of("v0", "v1")),
        "https_redirect_status_code": (426, _integer(301, 426)),
        **dict.fromkeys(("hosts", "snis", "headers", "sources", "destinations"), (None, _none)),
    },
    "upstreams": {
        "name": (None, _string),
        "algorithm": ("round-robin", _one_of("round-robin", "consistent-hashing", "least-connections", "latency")),
        "slots": (10000, _integer(10, 65536)),
        "hash_on": ("none", _one_of("none", "ip", "header", "cookie")),
        "hash_fallback": ("none", _one_of("none", "ip", "header", "cookie")),
        "hash_on_cookie_path": ("/", _string),
        **dict.fromkeys((*_HASHING, *_FALLBACK), (None, _string)),
        "host_header": (None, _string),
        "use_srv_name": (False, _boolean),
        "client_certificate": (None, _none),
        "tags": (None, _strings),
        "healthchecks": _HEALTHCHECKS,
    },
    "targets": {"target": (None, _target), "weight": (100, _integer(0, 65535)), "tags": (None, _strings)},
}
_REQUIRED = {"services": ("host",), "routes": (), "upstreams": ("name",), "targets": ("target",)}


def violations(kind: str, given: Mapping[str, Any], *, whole: bool = True) -> dict[str, Any]:
    """Field -> what is wrong with it; empty when nothing is. `whole`: required fields must be there."""
    found = _violations(SCHEMAS[kind], given)
    if whole:
        found |= {name: "required field missing" for name in _REQUIRED[kind] if given.get(name) is None}
    return found


def _violations(schema: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in given.items():
        known = schema.get(name)
        if known is None:
            found[name] = "unknown field"
        elif isinstance(known, tuple):
            default, check = known
            if (why := None if value is None and default is None else check(value)) is not None:
                found[name] = why
        elif not isinstance(value, dict):
            found[name] = "expected a record"
        elif inner := _violations(known, value):
            found[name] = inner
    return found


def filled(kind: str, given: Mapping[str, Any]) -> Entity:
    """With every default."""
    entity = _filled(SCHEMAS[kind], given)
    if kind == "targets" and ":" not in entity["target"]:
        entity["target"] += ":8000"
    return entity


def _filled(schema: Mapping[str, Any], given: Mapping[str, Any]) -> Entity:
    return {
        name: (given[name] if given.get(name) is not None else json.loads(json.dumps(known[0])))
        if isinstance(known, tuple)
        else _filled(known, given.get(name) or {})
        for name, known in schema.items()
    }


def merged(old: Entity, given: Mapping[str, Any]) -> Entity:
    """A PATCH: records are merged, everything else is replaced."""
    return {
        **old,
        **{
            name: merged(old[name], value) if isinstance(value, dict) and isinstance(old.get(name), dict) else value
            for name, value in given.items()
        },
    }


def lua(value: Any) -> str:
    """A violation as Kong's messages write it."""
    if isinstance(value, dict):
        return "{" + ",".join(f"{name}={lua(inner)}" for name, inner in sorted(value.items())) + "}"
    if isinstance(value, list):
        return "{" + ",".join(map(lua, value)) + "}"
    return f'"{value}"'


def schema_violation(fields: Mapping[str, Any]) -> Entity:
    reported = "; ".join(f"{name}: {value if isinstance(value, str) else lua(value)}" for name, value in fields.items())
    return {"code": 2, "name": "schema violation", "fields": fields, "message": f"schema violation ({reported})"}


def unique_violation(fields: Mapping[str, Any]) -> Entity:
    return {
        "code": 5,
        "name": "unique constraint violation",
        "fields": fields,
        "message": f"UNIQUE violation detected on '{lua(fields)}'",
    }
