"""What every registered hop is tested with: its smallest template, a place in a chain, and servers that misbehave."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any, TypeVar

import httpx
from tests.unit.answered import Answered
from tests.unit.hops.contexts import INNER, instance, launch_context, tier

from changeover.hops import registry
from changeover.model.config_model import ConfigModel
from changeover.ports import Hop, LaunchContext

Value = TypeVar("Value")
KINDS = sorted(registry.HOPS)


def smallest(hop: type[Hop]) -> ConfigModel:
    """The template that names nothing but what it must: each required key with the example that its schema gives."""
    schema = hop.traits.settings.model_json_schema()
    return hop.traits.settings.model_validate({key: _example(schema["properties"][key]) for key in _required(schema)})


def _required(schema: dict[str, Any]) -> list[str]:
    return list(schema.get("required", ()))


def _example(schema: dict[str, Any]) -> Any:
    return [_example(schema["items"])] if schema["type"] == "array" else schema["examples"][0]


def context(hop: type[Hop], **changes: Any) -> LaunchContext:
    """The place of an instance of that kind: in front of an application, or at the end of its chain."""
    traits = hop.traits
    plain: dict[str, Any] = {"instance": instance(), "tier": tier(traits.kind)}
    if not traits.passes_on:
        plain |= {"behind": ()}
    elif traits.routes_inward:
        plain |= {"behind": (replace(INNER, address=None),)}
    return launch_context(**{**plain, **changes})


def ask(
    hop: type[Hop], question: Callable[[Hop], Coroutine[Any, Any, Value]], answer: Callable[[httpx.Request], Any]
) -> Value:
    """What a hop makes of a control address that answers like that."""

    return asyncio.run(question(hop(Answered(answer=answer))))


def silence(request: httpx.Request) -> httpx.Response:
    raise httpx.ConnectError("Connection refused", request=request)


def not_http(request: httpx.Request) -> httpx.Response:
    raise httpx.RemoteProtocolError("illegal status line: b'SSH-2.0'", request=request)
