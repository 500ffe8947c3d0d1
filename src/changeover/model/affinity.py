"""Affinity: what a balancer uses to send the requests of one client to one instance.

Whether the balancer of a tier sees cookies or the client's address depends on the tiers in front of it; the chain rules
check that.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import PlainSerializer, PlainValidator, WithJsonSchema

# A token of RFC 9110 5.6.2, without characters that a configuration language would have to quote.
_NAME = r"[A-Za-z0-9_.-]{1,64}"


@dataclass(frozen=True)
class AffinityRule:
    """How a balancer recognises a client. `name` is the name of the cookie or the header, otherwise empty.

    `cookie`: the balancer sets it with its first response. `header`: clients send it.
    """

    by: Literal["none", "client-ip", "cookie", "header"] = "none"
    name: str = ""

    def __str__(self) -> str:
        return f"{{{self.by}: {self.name}}}" if self.name else self.by


def _parse(value: Any) -> AffinityRule:
    match value:
        case AffinityRule():
            return value
        case "none" | "client-ip":
            return AffinityRule(value)
        case {"cookie": str(name), **others} if not others and re.fullmatch(_NAME, name):
            return AffinityRule("cookie", name)
        case {"header": str(name), **others} if not others and re.fullmatch(_NAME, name):
            return AffinityRule("header", name)
    raise ValueError(
        "one of none, client-ip, {cookie: NAME} and {header: NAME} is needed; a name is 1 to 64 letters, digits, "
        "dashes, dots and underscores"
    )


def _serialise(affinity: AffinityRule) -> str | Mapping[str, str]:
    return {affinity.by: affinity.name} if affinity.name else affinity.by


def _schema(by: str) -> dict[str, Any]:
    names = {by: {"type": "string", "pattern": f"^{_NAME}$"}}
    return {"type": "object", "properties": names, "required": [by], "additionalProperties": False}


Affinity = Annotated[
    AffinityRule,
    PlainValidator(_parse),
    PlainSerializer(_serialise),
    WithJsonSchema({"anyOf": [{"enum": ["none", "client-ip"]}, _schema("cookie"), _schema("header")]}),
]
"""`none`, `client-ip`, `{cookie: NAME}` or `{header: NAME}` in a chain file."""
