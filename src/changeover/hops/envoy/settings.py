"""The template of an Envoy tier. Every default has its reason beside it."""

from __future__ import annotations

from typing import ClassVar, Self

from pydantic import Field, model_validator

from changeover.hops.own_file import OwnFileKey, nothing_is_ignored
from changeover.model.config_model import Branch, Headers, RoutePath, each_once
from changeover.model.stop import TemplateSettings
from changeover.model.units import Seconds


class EnvoyRoute(Branch):
    """Where requests below one path go."""

    path: RoutePath = Field("/", description="Prefix of the path; the longest one that fits decides.")


class EnvoySettings(TemplateSettings):
    """A gateway over the tier behind it. Changes of its members need no reload."""

    config: OwnFileKey = Field(
        None,
        description="A whole bootstrap of your own instead of a generated one, by its path from the chain file: "
        "docs/own_envoy.md.",
    )
    concurrency: int = Field(1, ge=1, le=64, description="Worker threads.")
    connect_timeout: Seconds = Field(2.0, gt=0, description="To an instance behind.")
    idle_timeout: Seconds = Field(
        3600.0,
        gt=0,
        description="Idle time after which a connection from the tier in front is closed. Above the idle time of that "
        "tier's pool, so that it is always the client of a connection that closes it. At the first tier that "
        "reads HTTP 20 s, unless it is set: a drain waits for the idle connections of clients.",
    )
    upstream_idle_timeout: Seconds = Field(
        30.0,
        gt=0,
        description="Idle time of a pooled connection inward; below the keep-alive of the servers there.",
    )
    stream_idle_timeout: Seconds = Field(300.0, gt=0, description="Longest silence within one request or answer.")
    headers: Headers = Field({}, description="Added to every response.")
    routes: tuple[EnvoyRoute, ...] = Field(
        (EnvoyRoute(),), min_length=1, description="By path; without one: everything."
    )

    beside_config: ClassVar[frozenset[str]] = frozenset(
        {"config", "stop", "concurrency", "connect_timeout", "upstream_idle_timeout"}
    )
    """Keys that have an effect beside a configuration of one's own."""

    @model_validator(mode="after")
    def _nothing_is_ignored(self) -> Self:
        return nothing_is_ignored(self, self.config, self.beside_config)

    @model_validator(mode="after")
    def _paths_differ(self) -> Self:
        each_once([route.path for route in self.routes])
        return self
