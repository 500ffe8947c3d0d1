"""The template of an Envoy tier. Every default has its reason beside it."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from changeover.model.config_model import Branch, Headers, RoutePath, each_once
from changeover.model.stop import TemplateSettings
from changeover.model.units import Seconds


class EnvoyRoute(Branch):
    """Where requests below one path go."""

    path: RoutePath = Field("/", description="Prefix of the path; the longest one that fits decides.")


class EnvoySettings(TemplateSettings):
    """A gateway over the tier behind it. Changes of its members need no reload."""

    concurrency: int = Field(1, ge=1, le=64, description="Worker threads.")
    connect_timeout: Seconds = Field(2.0, gt=0, description="To an instance behind.")
    idle_timeout: Seconds = Field(
        3600.0,
        gt=0,
        description="Idle time after which a connection from the tier in front is closed. Above the idle time of that "
        "tier's pool, so that it is always the client of a connection that closes it.",
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

    @model_validator(mode="after")
    def _paths_differ(self) -> Self:
        each_once([route.path for route in self.routes])
        return self
