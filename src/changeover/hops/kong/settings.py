"""The template of a Kong tier. Every default has its reason beside it."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from changeover.model.config_model import Branch, RoutePath, each_once
from changeover.model.stop import TemplateSettings
from changeover.model.units import Seconds

LONGEST = 2_147_483
"""Seconds. Kong holds a timeout in milliseconds, below 2^31 - 1."""


class KongRoute(Branch):
    """How requests below one path are passed on."""

    path: Annotated[RoutePath, Field(pattern=r"^[A-Za-z0-9._~/:@!$&'()*+,=-]*$")] = Field(
        "/", description="Prefix of the path; the longest one that fits decides."
    )
    buffering: Literal["stream", "buffer"] = Field(
        "stream",
        description="`stream`: pass a body on as it comes. `buffer`: take it whole, to disk, first. Its instance is "
        "chosen when its head arrives, though, and gets it even if it was removed meanwhile: each one behind that "
        "leaves is then held for its `drain.deadline` before its drain begins.",
    )


class KongSettings(TemplateSettings):
    """A gateway over the tier behind it, without a database: its Admin API gets the members with every change."""

    worker_processes: int = Field(1, ge=1, le=64, description="Fixed: a count that changes on reload resets peers.")
    retries: int = Field(
        1,
        ge=0,
        le=100,
        description="Other instances tried when one cannot be reached. Kong's default of 5, at 60 s each, holds a "
        "request for six minutes.",
    )
    connect_timeout: Seconds = Field(2.0, gt=0, le=LONGEST, description="To an instance behind.")
    response_timeout: Seconds = Field(
        300.0, gt=0, le=LONGEST, description="Longest silence of the tier behind, or of a body to it."
    )
    keepalive_time: Seconds = Field(
        60.0,
        gt=0,
        description="A connection from the tier in front is asked to close with the first answer after this long: Kong "
        "has no other way to be rid of it, and its drain ends when its connections have.",
    )
    keepalive_timeout: Seconds = Field(
        3600.0,
        gt=0,
        description="An idle connection from the tier in front is closed after this. Above the idle time of that "
        "tier's pool, so that it is always the client of a connection that closes it.",
    )
    upstream_keepalive_timeout: Seconds = Field(
        30.0,
        ge=1,
        le=LONGEST,
        description="Idle time of a pooled connection inward, in whole seconds; below the keep-alive of the servers "
        "there. Kong's default of 60 s is above that of many.",
    )
    routes: tuple[KongRoute, ...] = Field((KongRoute(),), min_length=1, description="By path; without one: everything.")

    @model_validator(mode="after")
    def _paths_differ(self) -> Self:
        each_once([route.path for route in self.routes])
        return self

    @model_validator(mode="after")
    def _pool_has_whole_seconds(self) -> Self:
        if self.upstream_keepalive_timeout % 1:
            raise ValueError("Kong holds upstream_keepalive_timeout in whole seconds")
        return self
