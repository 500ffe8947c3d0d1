"""The health check of a backend, as lines of HAProxy's configuration. Pure."""

from __future__ import annotations

from changeover.model.chain import Tier
from changeover.model.readiness import Readiness


def check_lines(tier: Tier, readiness: Readiness) -> list[str]:
    """What a check asks, and what it expects; without a line it only connects."""
    if readiness.tcp:
        return []
    headers = {"Host": readiness.host or tier.name}
    headers |= {name: value for name, value in readiness.request_headers.items() if name != "Host"}
    sent = "".join(f" hdr {name} {_quoted(value.replace('%', '%%'))}" for name, value in headers.items())
    return [
        "option httpchk",
        f"http-check send meth GET uri {_quoted(readiness.path or '/')} ver HTTP/1.1{sent}",
        f"http-check expect status {','.join(map(str, readiness.status))}",
        *([f"http-check expect string {_quoted(readiness.body)}"] if readiness.body else []),
    ]


def _quoted(text: str) -> str:
    """A word of HAProxy's configuration in which no character has a meaning."""
    return "'" + text.replace("'", "'\\''") + "'"
