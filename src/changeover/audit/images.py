"""Official images: their software and the signal that stops them; names of signals as files write them."""

from __future__ import annotations

import re

_IMAGES = {
    "nginx": ("nginx", "QUIT"),
    "openresty": ("nginx", "QUIT"),
    "kong": ("kong", "QUIT"),
    "kong-gateway": ("kong", "QUIT"),
    "haproxy": ("haproxy", "USR1"),
    "envoy": ("envoy", "TERM"),
}
"""Their software and their STOPSIGNAL."""
_NUMBERS = {"1": "HUP", "2": "INT", "3": "QUIT", "9": "KILL", "10": "USR1", "12": "USR2", "15": "TERM"}


def official(image: str) -> tuple[str, str] | None:
    """Software and signal of `docker.io/library/nginx:1.27 AS x`; None for an image that is not known."""
    words = image.split()
    if not words:
        return None
    name = re.split(r"[:@]", words[-3] if " as " in image.lower() else words[-1])[0]
    return _IMAGES.get(name.rsplit("/", 1)[-1])


def bare_signal(signal: str) -> str:
    """`SIGQUIT`, `3` -> `QUIT`."""
    bare = signal.strip().strip("\"'").upper().removeprefix("SIG")
    return _NUMBERS.get(bare, bare)
