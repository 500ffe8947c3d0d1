"""Documents -> hops and stop paths: one module for each software.

A new one is a module with `hops(documents, asked)` or `stops(documents)`, and a line here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from changeover.audit.assumptions import Assumptions
from changeover.audit.hops import app, containers, envoy, haproxy, kong, kubernetes, nginx, systemd
from changeover.audit.view import Hop, StopPath
from changeover.conf.document import Document

HOPS: tuple[Callable[[Sequence[Document], Assumptions], Iterator[Hop]], ...] = (
    nginx.hops,
    kong.hops,
    haproxy.hops,
    envoy.hops,
    app.hops,
)
STOPS: tuple[Callable[[Sequence[Document]], Iterator[StopPath]], ...] = (
    systemd.stops,
    containers.stops,
    kubernetes.stops,
)
