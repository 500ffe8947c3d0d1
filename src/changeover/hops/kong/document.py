"""Kong's declarative configuration: what a chain needs of a Kong, as decK and `POST /config` take it. Pure.

It sets everything that Kong would otherwise assume: its own defaults buffer every upload and check no target.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from changeover.hops.kong.settings import KongSettings
from changeover.model.affinity import AffinityRule
from changeover.model.chain import Tier
from changeover.model.instance import Address
from changeover.model.readiness import Readiness

Document = dict[str, Any]

OWNER = "changeover"
"""The tag of an upstream whose affinity and health checks the controller keeps as the chain file has them."""

_DEFAULTS = {
    "algorithm": "round-robin",
    "hash_on": "none",
    "hash_fallback": "none",
    "interval": 0,
    "type": "http",
    "http_path": "/",
}
"""What Kong takes for a key that a document leaves out."""

SPREADING_COOKIE = "changeover_spread"
"""Kong sets this cookie for clients without the header of a header affinity, and hashes it."""


@dataclass(frozen=True)
class KongTarget:
    """One instance of the tier behind, as Kong sees it. At weight 0 Kong sends it nothing new."""

    address: Address
    weight: int


def document(
    name: str, tier: Tier, settings: KongSettings, readiness: Readiness | None, *, first: bool = True
) -> Document:
    """Service, routes and upstream, all of that name, for a tier behind; no targets yet.

    `first`: routes that name no tier lead to this one.
    """
    return {
        "_format_version": "3.0",
        "services": [
            {
                "name": name,
                "host": name,
                "protocol": "http",
                "port": 80,
                "retries": settings.retries,
                "connect_timeout": _milliseconds(settings.connect_timeout),
                "read_timeout": _milliseconds(settings.response_timeout),
                "write_timeout": _milliseconds(settings.response_timeout),
                "routes": [
                    {
                        "name": f"{name}-{number}",
                        "paths": [route.path],
                        "strip_path": False,
                        "preserve_host": True,
                        "request_buffering": route.buffering == "buffer",
                        "response_buffering": False,
                    }
                    for number, route in enumerate(settings.routes, start=1)
                    if (first if route.to is None else route.to == tier.name)
                ],
            }
        ],
        "upstreams": [{**upstream(name, tier, readiness), "targets": []}],
    }


def upstream(name: str, tier: Tier, readiness: Readiness | None) -> Document:
    """The upstream of that name for that tier, with active checks where its targets answer readiness at their address.

    Kong asks at no other address. Passive checks stay off: they would remove an instance for errors of the
    application's own.
    """
    return {
        "name": name,
        "tags": [OWNER],
        **_affinity(tier.affinity),
        "healthchecks": {"active": _checks(tier, readiness)},
    }


def _checks(tier: Tier, readiness: Readiness | None) -> Document:
    if readiness is None:
        return {"healthy": {"interval": 0}, "unhealthy": {"interval": 0}}
    health = tier.health
    asks = {"type": "tcp"} if readiness.tcp else {"type": "http", "http_path": readiness.path}
    good, bad = _statuses(readiness)
    return {
        **asks,
        **({"headers": {name: [value] for name, value in readiness.headers.items()}} if readiness.headers else {}),
        "timeout": health.timeout,
        "healthy": {"interval": health.steady, "successes": health.rise, **good},
        "unhealthy": {
            "interval": health.steady,
            "http_failures": health.fall,
            "tcp_failures": health.fall,
            "timeouts": health.fall,
            **bad,
        },
    }


def _statuses(readiness: Readiness) -> tuple[Document, Document]:
    """The statuses that count as a success and as a failure; by default those of Kong, which include 200.

    Kong ignores an answer whose status is in neither list.
    """
    if readiness.tcp or readiness.status == (200,):
        return {}, {}
    others = [int(status) for status in HTTPStatus if status >= 200 and status not in readiness.status]
    return {"http_statuses": list(readiness.status)}, {"http_statuses": others}


def joined(documents: Iterable[Document]) -> Document:
    """One document with the services and upstreams of all."""
    return {
        "_format_version": "3.0",
        **{key: [entity for one in documents for entity in one[key]] for key in ("services", "upstreams")},
    }


def with_targets(document: Mapping[str, Any], upstream: str, targets: Mapping[str, KongTarget]) -> Document:
    """The document with these as the only targets of that upstream. Raises ValueError if there is no such upstream."""
    try:
        upstreams = list(document["upstreams"])
        at = [one["name"] for one in upstreams].index(upstream)
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"there is no upstream {upstream} in it") from error
    upstreams[at] = {**upstreams[at], "targets": list(_targets(targets))}
    # Targets can also stand beside the upstreams, each with the name of its upstream.
    others = [one for one in document.get("targets") or () if one.get("upstream") not in (upstream, {"name": upstream})]
    return {**document, "upstreams": upstreams, **({"targets": others} if others else {})}


def with_upstream(document: Mapping[str, Any], upstream: Mapping[str, Any]) -> Document:
    """The document with that upstream's affinity and health checks. Raises ValueError where `changes` does."""
    upstreams = [
        merged(one, changes(upstream, one)) if one.get("name") == upstream["name"] else one
        for one in document["upstreams"]
    ]
    return {**document, "upstreams": upstreams}


def changes(wanted: Mapping[str, Any], stored: Mapping[str, Any]) -> Document:
    """What makes the stored upstream the wanted one; empty where it is that already.

    Only an upstream with the tag of this program is changed. Raises ValueError for another one that differs.
    """
    owned = {key: value for key, value in wanted.items() if key not in ("name", "tags")}
    differences = list(_differences(owned, stored, ""))
    if not differences:
        return {}
    if OWNER not in (stored.get("tags") or ()):
        raise ValueError(
            f"upstream {wanted['name']} has no tag `{OWNER}`, so the controller does not change it, and it differs "
            f"from the chain file: {'; '.join(differences)}. Change the upstream or the chain file, or add the tag: "
            "then the controller sets these keys"
        )
    return owned


def merged(old: Mapping[str, Any], new: Mapping[str, Any]) -> Document:
    """Records are merged, other values are replaced: as a PATCH does it."""
    return {
        **old,
        **{
            key: merged(old.get(key) or {}, value) if isinstance(value, Mapping) else value
            for key, value in new.items()
        },
    }


def _differences(wanted: Mapping[str, Any], stored: Mapping[str, Any], at: str) -> Iterable[str]:
    for key, value in wanted.items():
        found = stored.get(key)
        if isinstance(value, Mapping):
            yield from _differences(value, found if isinstance(found, Mapping) else {}, f"{at}{key}.")
        elif found != value and at.endswith(".headers."):  # it may hold a token
            yield f"{at}{key} is not the value of the chain file"
        elif found != value and not (found is None and value == _DEFAULTS.get(key)):
            yield f"{at}{key} is {'not set' if found is None else found}, not {value}"


def buffers(document: Mapping[str, Any]) -> bool:
    """Whether any route takes a whole body before it sends it on, as Kong does by default."""
    services = document.get("services") or ()
    routes = [route for service in services for route in service.get("routes") or ()]
    return any(route.get("request_buffering", True) for route in (*routes, *(document.get("routes") or ())))


def _affinity(affinity: AffinityRule) -> Document:
    """Kong hashes the client's address, header or cookie; it sets the cookie where there is none."""
    match affinity.by:
        case "none":
            # Weighted round robin keeps to a canary's share; least-connections would bend it by what is in flight.
            return {"algorithm": "round-robin", "hash_on": "none", "hash_fallback": "none"}
        case "client-ip":
            return {"algorithm": "consistent-hashing", "hash_on": "ip", "hash_fallback": "none"}
        case "cookie":
            hashed = {"hash_on": "cookie", "hash_fallback": "none", "hash_on_cookie": affinity.name}
            return {"algorithm": "consistent-hashing", **hashed}
        case "header":
            return {
                "algorithm": "consistent-hashing",
                "hash_on": "header",
                # Kong 3.8.0 to 3.9.3 reads nginx's variable `http_NAME`, and such names have `_` for `-`: with a `-`
                # every request has the same hash. Kong 3.4 reads OpenResty's table of headers, which takes both.
                "hash_on_header": affinity.name.lower().replace("-", "_"),
                # Without a fallback every request without the header goes to one instance. A client without the
                # cookie gets a new one, at random.
                "hash_fallback": "cookie",
                "hash_on_cookie": SPREADING_COOKIE,
            }


def _targets(targets: Mapping[str, KongTarget]) -> Iterable[Document]:
    for name, target in sorted(targets.items()):
        yield {"target": str(target.address), "weight": target.weight, "tags": [name]}


def _milliseconds(seconds: float) -> int:
    return round(seconds * 1000)
