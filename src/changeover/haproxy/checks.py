"""The health check of a backend and of its servers, in the words of HAProxy's configuration. Pure."""

from __future__ import annotations

from changeover.model.chain import Tier
from changeover.model.health import Health
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


def check_words(health: Health, routers: int) -> str:
    """How often one of so many routers checks a server. `downinter` also passes before the first check of a new one."""
    quick = f"{health.quick * 1000:.0f}ms"
    pause = f"inter {health.pause(routers) * 1000:.0f}ms fastinter {quick} downinter {quick}"
    return f"{pause} rise {health.rise} fall {health.fall}"


def _quoted(text: str) -> str:
    """A word of HAProxy's configuration in which no character has a meaning."""
    return "'" + text.replace("'", "'\\''") + "'"
