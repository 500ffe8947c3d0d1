"""Headers by which proxies name the client, and the peers that may send them.

The first tier that reads HTTP removes these headers from the requests of every other peer, so that no client can name
itself. Tiers behind it believe them: their peers are tiers of the chain.
"""

from __future__ import annotations

FORWARDED_HEADERS = (
    "Forwarded",
    "X-Forwarded-For",
    "X-Forwarded-Host",
    "X-Forwarded-Port",
    "X-Forwarded-Prefix",
    "X-Forwarded-Proto",
    "X-Forwarded-Server",
    "X-Forwarded-Ssl",
    "X-Forwarded",
    "X-Forwarded-Path",
    "X-Forwarded-Protocol",
    "X-Forwarded-Scheme",
    "X-Forwarded-Uri",
    "Forwarded-For",
    "X-Original-Forwarded-For",
    "X-Original-Host",
    "X-Real-IP",
    "X-Remote-IP",
    "X-Remote-Addr",
    "X-Client-IP",
    "X-Cluster-Client-IP",
    "X-Envoy-External-Address",
    "CF-Connecting-IP",
    "Fastly-Client-IP",
    "True-Client-IP",
    "Front-End-Https",
)
"""RFC 7239, what software used before it, and what delivery networks send."""
