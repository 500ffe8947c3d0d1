"""The templates of HAProxy tiers. Every default has its reason beside it."""

from __future__ import annotations

from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from changeover.hops.own_file import OwnFileKey, nothing_is_ignored
from changeover.model.config_model import Branch, ConfigModel, Headers, RoutePath, each_once
from changeover.model.stop import TemplateSettings
from changeover.model.units import Seconds


class HaproxyRoute(Branch):
    """Where requests below one path go."""

    path: RoutePath = Field("/", description="Prefix of the path; the longest one that fits decides.")


class HaproxyCertificate(ConfigModel):
    """The certificate of the edge, and renewed ones in the same file: docs/own_haproxy.md."""

    certificate: str = Field(
        min_length=1,
        description="File in PEM with the certificate, its chain and its key, from the chain file. The key may be in a "
        "file beside it, whose name has `.key` at its end.",
    )


class _Common(TemplateSettings):
    config: OwnFileKey = Field(
        None,
        description="A whole haproxy.cfg of your own instead of a generated one, by its path from the chain file: "
        "docs/own_haproxy.md.",
    )
    threads: int = Field(1, ge=1, le=64, description="Worker threads.")
    maxconn: int | None = Field(
        None,
        ge=1,
        description="Connections at once. None: as many as the limit of open files allows, two files for each, and at "
        "most 8192.",
    )
    connect_timeout: Seconds = Field(
        2.0, gt=0, description="A deleted machine never answers, so a longer wait gains nothing."
    )

    beside_config: ClassVar[frozenset[str]] = frozenset({"config", "stop"})
    """Keys that have an effect beside a configuration of one's own."""

    @model_validator(mode="after")
    def _nothing_is_ignored(self) -> Self:
        return nothing_is_ignored(self, self.config, self.beside_config)


class HaproxyHttpSettings(_Common):
    """An L7 tier: terminates TLS where it is the edge, speaks HTTP/1.1 to clients and inward."""

    keepalive_timeout: Seconds = Field(
        20.0,
        gt=0,
        description="An idle connection of a client is closed after this, which bounds a drain: a busy one is asked to "
        "close with its next response.",
    )
    client_timeout: Seconds = Field(60.0, gt=0, description="Longest silence of a client within a request.")
    response_timeout: Seconds = Field(
        300.0, gt=0, description="Longest silence of the tier behind while it answers, and of a WebSocket."
    )
    routes: tuple[HaproxyRoute, ...] = Field(
        (HaproxyRoute(),), min_length=1, description="By path; the longest prefix that fits decides. Without one: all."
    )
    tls: HaproxyCertificate | Literal[False] | None = Field(
        None,
        description="Of the first tier: `{certificate: FILE}`, or `false` where clients send plain HTTP. None: a "
        "certificate for tests, of an authority of this chain alone.",
    )
    headers: Headers = Field({}, repr=False, description="Added to every response.")

    beside_config: ClassVar[frozenset[str]] = _Common.beside_config | {"keepalive_timeout"}

    @model_validator(mode="after")
    def _paths_differ(self) -> Self:
        each_once([route.path for route in self.routes])
        return self


class HaproxyTcpSettings(_Common):
    """An L4 tier: passes bytes, sees no request."""

    proxy_timeout: Seconds = Field(
        600.0,
        gt=0,
        description="Longest silence of a connection; above every pool's idle time and every slow answer.",
    )
