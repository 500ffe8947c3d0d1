"""Every demonstration, by the id of its rule. One module for each family of rules."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from changeover.lab.demonstration import Demonstration
from changeover.lab.demonstrations import app, cluster, envoy, haproxy, nginx, stream

_EVERY = (*app.SHOWN, *cluster.SHOWN, *envoy.SHOWN, *haproxy.SHOWN, *nginx.SHOWN, *stream.SHOWN)
ALL: Mapping[str, tuple[Demonstration, ...]] = MappingProxyType(
    {id: tuple(one for one in _EVERY if one.rule == id) for id in sorted({one.rule for one in _EVERY})}
)
