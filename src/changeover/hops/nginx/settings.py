"""The templates of nginx tiers. Every default has its reason beside it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BeforeValidator, Field, WithJsonSchema, model_validator

from changeover.model.config_model import WRITE_ONLY, Branch, ConfigModel, Headers, RoutePath, each_once
from changeover.model.stop import TemplateSettings
from changeover.model.units import Bytes, Seconds, human_bytes


class Route(Branch):
    """How requests below one path are passed on: docs/routes.md."""

    path: RoutePath = Field("/", description="Prefix of the path.")
    buffering: Literal["stream", "buffer"] = Field(
        "stream",
        description="`stream`: pass a body on as it comes; a slow upload then holds a connection through every tier. "
        "`buffer`: take the whole body to disk first; the tiers behind see it for a moment.",
    )
    max_body: Bytes = Field(
        0, description="A larger body gets 413; 0: client_max_body_size of the template.", validate_default=True
    )
    disk: Bytes = Field(
        "10GB",
        gt=0,
        validate_default=True,
        description="Of a buffered route: bytes of an instance's disk for its bodies. The route accepts as many "
        "requests at once as bodies of the largest size fit in there; others get 503 with `Retry-After: 5`.",
    )
    retries: Literal["safe-once", "idempotent", "none"] = Field(
        "safe-once",
        description="Requests that are sent again, once, when the tier behind fails before it responds. `safe-once`: "
        "GET, HEAD and other idempotent methods (RFC 9110 9.2.2), never POST or PATCH. `idempotent`: POST and PATCH, "
        "too; only for an application where a repeated request has no second effect, and with `buffering: buffer`. "
        "`none`: none, not even a request that was never sent.",
    )

    location: str = Field("", description="Raw nginx text, put at the end of the route's location block.")

    @model_validator(mode="after")
    def _can_be_sent_again(self) -> Self:
        if self.retries == "idempotent" and self.buffering == "stream":
            raise ValueError(
                "retries: idempotent needs the body again, and buffering: stream does not keep it. Set buffering: "
                "buffer, or leave retries at safe-once"
            )
        return self


class OwnConfig(ConfigModel):
    """A configuration of the user's own, and the text of each of its files: docs/own_nginx.md.

    In a chain file it is the path of its first file; the others are read when the chain file is.
    """

    path: str = Field(min_length=1, description="Its first file as the chain file names it.")
    files: Mapping[str, str] = Field(
        {}, repr=False, description="Path from the folder of the first file, or from / in front of ROOT -> text."
    )


class Certificate(ConfigModel):
    """The certificate of the edge, and renewed ones in the same files: docs/own_nginx.md."""

    certificate: str = Field(min_length=1, description="File with the certificate and its chain, from the chain file.")
    key: str = Field(min_length=1, description="File with its key.")


def _by_path(given: Any) -> Any:
    return {"path": given} if isinstance(given, str) else given


class _Common(TemplateSettings):
    config: Annotated[
        OwnConfig | None,
        BeforeValidator(_by_path),
        WithJsonSchema({"anyOf": [{"type": "string", "minLength": 1}, {"type": "null"}], "default": None}),
    ] = Field(
        None,
        description="A whole nginx.conf of your own instead of a generated one, by its path from the chain file: "
        "docs/own_nginx.md.",
    )
    worker_processes: int = Field(1, ge=1, le=64, description="Fixed: a count that changes on reload resets peers.")
    worker_connections: int | None = Field(
        None,
        ge=16,
        description="Connections of each worker at once; a request that is passed on takes two. None: as many as the "
        "limit of open files allows, two files for each, and at most 16384.",
    )
    user: str = Field(
        "",
        pattern=r"^([A-Za-z_][A-Za-z0-9_-]*)?$",
        description="The account of the worker processes where changeover runs as root. Empty: root.",
    )
    connect_timeout: Seconds = Field(
        2.0, gt=0, description="A deleted machine never answers, so a longer wait gains nothing."
    )
    snippet: str = Field(
        "",
        repr=False,
        json_schema_extra=WRITE_ONLY,
        description="Raw nginx text, put at the end of the http (or stream) block.",
    )

    @property
    def snippets(self) -> dict[str, str]:
        """Raw nginx text by the key that holds it."""
        return {"snippet": self.snippet} if self.snippet else {}

    beside_config: ClassVar[frozenset[str]] = frozenset({"config", "stop"})
    """Keys that have an effect beside a configuration of one's own."""

    @model_validator(mode="after")
    def _nothing_is_ignored(self) -> Self:
        ignored = sorted(self.model_fields_set - self.beside_config)
        if self.config is not None and ignored:
            raise ValueError(
                f"{', '.join(ignored)} would have no effect beside `config`. Set it in {self.config.path}, and remove "
                "it here"
            )
        return self


class HttpSettings(_Common):
    """An L7 tier: terminates TLS where it is the edge, speaks HTTP/1.1 and HTTP/2 to clients, HTTP/1.1 inward."""

    keepalive_time: Seconds = Field(
        60.0,
        gt=0,
        description="A client's connection is asked to close with the first answer after this long, so that a drain "
        "ends: at the latest after this, plus the longest request, or after keepalive_timeout of silence.",
    )
    keepalive_timeout: Seconds = Field(20.0, gt=0, description="An idle client connection is closed after this.")
    client_max_body_size: Bytes = Field(0, description="A larger body gets 413; 0: no limit.", validate_default=True)
    client_body_timeout: Seconds = Field(60.0, gt=0, description="Longest silence within a body, not its whole time.")
    upstream_keepalive: int = Field(64, ge=0, description="Idle connections each worker keeps to the tier behind.")
    upstream_keepalive_time: Seconds = Field(
        10.0,
        gt=0,
        description="Age at which such a connection is not used again. It ends the drain of an L4 tier behind, whose "
        "pooled connections otherwise stay for nginx's default of one hour. It is also the time in which new weights "
        "behind take effect: a canary step of 30 s sees its share.",
    )
    upstream_keepalive_timeout: Seconds = Field(
        3.0, gt=0, description="Idle time after which it is closed; below that of every server behind."
    )
    response_timeout: Seconds = Field(300.0, gt=0, description="Longest silence of the tier behind while it answers.")
    routes: tuple[Route, ...] = Field(
        (Route(),), min_length=1, description="By path; the longest prefix that fits decides. Without one: everything."
    )
    tls: Certificate | Literal[False] | None = Field(
        None,
        description="Of the first tier: `{certificate: FILE, key: FILE}`, or `false` where clients send plain HTTP. "
        "None: a certificate for tests, of an authority of this chain alone.",
    )
    headers: Headers = Field({}, repr=False, description="Added to every response.")
    server: str = Field(
        "",
        repr=False,
        json_schema_extra=WRITE_ONLY,
        description="Raw nginx text, put at the end of the server block.",
    )

    beside_config: ClassVar[frozenset[str]] = _Common.beside_config | {
        "keepalive_time",
        "keepalive_timeout",
        "upstream_keepalive",
        "upstream_keepalive_time",
        "upstream_keepalive_timeout",
    }

    def largest_body(self, route: Route) -> int:
        """Bytes; 0: any size."""
        return int(route.max_body or self.client_max_body_size)

    def at_once(self, route: Route) -> int:
        """Requests that a buffered route lets in at once, so that their bodies fit on its disk."""
        return int(route.disk) // self.largest_body(route)

    @property
    def snippets(self) -> dict[str, str]:
        routes = {f"routes.{number}.location": route.location for number, route in enumerate(self.routes)}
        return {key: text for key, text in {**super().snippets, "server": self.server, **routes}.items() if text}

    @property
    def disk(self) -> int:
        """Bytes that bodies may take on the disk of an instance."""
        return sum(
            self.at_once(route) * self.largest_body(route) for route in self.routes if route.buffering == "buffer"
        )

    @model_validator(mode="after")
    def _paths_differ(self) -> Self:
        each_once([route.path for route in self.routes])
        return self

    @model_validator(mode="after")
    def _disk_is_bounded(self) -> Self:
        for route in self.routes:
            if route.buffering == "buffer" and not self.largest_body(route):
                raise ValueError(
                    f"route {route.path} is buffered, and a body may have any size: no disk is large enough. Set its "
                    "max_body, or client_max_body_size"
                )
            if route.buffering == "buffer" and not self.at_once(route):
                raise ValueError(
                    f"route {route.path} is buffered on {human_bytes(route.disk)} of disk, which does not hold one "
                    f"body of {human_bytes(self.largest_body(route))}. Raise its disk, or lower its max_body"
                )
        return self


class StreamSettings(_Common):
    """An L4 tier: passes bytes, sees no request."""

    proxy_timeout: Seconds = Field(
        600.0,
        gt=0,
        description="Longest silence of a connection; above every pool's idle time and every slow answer.",
    )
