"""What a template of an nginx tier may say. Every default has its reason beside it."""

from __future__ import annotations

from pydantic import Field

from changeover.model.part import Headers, Part
from changeover.model.units import Bytes, Seconds


class Route(Part):
    """How requests below one path are passed on."""

    path: str = Field("/", pattern=r"^/[^\s{};]*$", description="Prefix of the path.")
    request_buffering: bool = Field(
        False,
        description="`true`: take the whole body to disk first, the tiers behind see it for a moment. `false`: pass "
        "it on as it comes; a slow upload then holds a connection through every tier.",
    )


class _Common(Part):
    worker_processes: int = Field(1, ge=1, le=64, description="Fixed: a count that changes on reload resets peers.")
    connect_timeout: Seconds = Field(2.0, description="A deleted machine answers nothing; waiting longer helps nobody.")
    snippet: str = Field("", description="Raw nginx text, put at the end of the http (or stream) block.")


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
        60.0,
        gt=0,
        description="Age at which such a connection is not used again. It is what ends the drain of an L4 tier "
        "behind, whose pooled connections otherwise stay for nginx's default of one hour.",
    )
    upstream_keepalive_timeout: Seconds = Field(
        3.0, gt=0, description="Idle time after which it is closed; below that of every server behind."
    )
    response_timeout: Seconds = Field(300.0, gt=0, description="Longest silence of the tier behind while it answers.")
    routes: tuple[Route, ...] = Field(
        (Route(),), min_length=1, description="By path; the longest prefix that fits decides. Without one: everything."
    )
    headers: Headers = Field({}, description="Added to every response.")


class StreamSettings(_Common):
    """An L4 tier: passes bytes, sees no request."""

    proxy_timeout: Seconds = Field(
        600.0,
        gt=0,
        description="Longest silence of a connection; above every pool's idle time and every slow answer.",
    )
