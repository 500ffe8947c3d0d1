"""Images of known software and the signal that stops them; names of signals as files write them."""

from __future__ import annotations

import re

_SOFTWARE = {
    "nginx": "nginx",
    "nginx-unprivileged": "nginx",
    "openresty": "nginx",
    "kong": "kong",
    "kong-gateway": "kong",
    "haproxy": "haproxy",
    "haproxy-alpine": "haproxy",
    "haproxy-debian": "haproxy",
    "haproxy-ubuntu": "haproxy",
    "envoy": "envoy",
    "envoy-dev": "envoy",
    "envoy-alpine": "envoy",
    "envoy-debug": "envoy",
    "envoy-distroless": "envoy",
    "envoy-contrib": "envoy",
    "envoy-contrib-dev": "envoy",
}
_SIGNALS = {"nginx": "QUIT", "kong": "QUIT", "haproxy": "USR1", "envoy": "TERM"}
"""STOPSIGNAL of the images that the makers of the software publish."""
_MAKERS = {"library", "nginxinc", "openresty", "kong", "haproxytech", "envoyproxy"}
_NUMBERS = {"1": "HUP", "2": "INT", "3": "QUIT", "9": "KILL", "10": "USR1", "12": "USR2", "15": "TERM"}


def official(image: str) -> tuple[str, str | None] | None:
    """Software and signal of `docker.io/library/nginx:1.27 AS x`; None for an image that is not known.

    The signal is None for an image of another maker: it may set none, and the software gets SIGTERM.
    """
    words = image.split()
    if not words:
        return None
    *path, name = (words[-3] if " as " in image.lower() else words[-1]).partition("@")[0].split("/")
    software = _SOFTWARE.get(name.partition(":")[0])
    if software is None:
        return None
    maker = next((one for one in path[-1:] if not re.search(r"[.:]|^localhost$", one)), "library")
    return software, _SIGNALS[software] if maker in _MAKERS else None


def bare_signal(signal: str) -> str:
    """`SIGQUIT`, `3` -> `QUIT`."""
    bare = signal.strip().strip("\"'").upper().removeprefix("SIG")
    return _NUMBERS.get(bare, bare)
