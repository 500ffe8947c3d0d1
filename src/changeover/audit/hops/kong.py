"""Kong as a hop: its settings, and the services and upstreams that its declarative files name."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import TypeVar

from changeover.audit.assumptions import Assumptions
from changeover.audit.hops.kong_environment import environments
from changeover.audit.setting import Setting, unknown
from changeover.audit.view import Address, Hop, Target
from changeover.conf.document import Document
from changeover.conf.kong import KongEntities, KongSettings, KongValue, nested
from changeover.conf.nginx import values
from changeover.conf.place import Place
from changeover.conf.tree import Map, Node

Value = TypeVar("Value")
_LISTEN = re.compile(r"([\d.*]+|\[[\da-f:]+\]|localhost):(\d+)\b")


@dataclass(frozen=True)
class Kong(Hop):
    """`given`: its kong.conf or environment is among the files, so that an absent key has its default.

    `missing`: what may set an absent key all the same.
    """

    settings: dict[str, KongValue]
    entities: tuple[KongEntities, ...]
    given: bool
    missing: str

    def setting(self, name: str, read: Callable[[str], Value | None], default: Value, shown: str) -> Setting[Value]:
        """A key of kong.conf. `shown` is its default as Kong writes it."""
        return _setting(self.settings, self.given, self.missing, self.place, name, read, default, shown)

    @property
    def services(self) -> list[Map]:
        return [one for file in self.entities for one in nested(file.root, "services") if isinstance(one, Map)]

    @property
    def upstreams(self) -> dict[str, Map]:
        found = [one for file in self.entities for one in nested(file.root, "upstreams") if isinstance(one, Map)]
        return {one.text("name") or "": one for one in found}

    def each(self, kind: str) -> list[Map]:
        """Entities of a kind, wherever they are nested."""
        return [one for file in self.entities for one in nested(file.root, kind) if isinstance(one, Map)]


def hops(documents: Sequence[Document], asked: Assumptions) -> Iterator[Hop]:
    """One Kong for each container that runs it, else for each kong.conf, else one for declarative files alone."""
    settings = [one for one in documents if isinstance(one, KongSettings)]
    entities = [one for one in documents if isinstance(one, KongEntities)]
    files = [one for one in settings if not one.variables] or settings[:1]
    variables = [one for one in settings if one.variables and one not in files]
    containers = list(environments(documents))
    for one in containers:
        near = [file for file in files if len(files) == 1 or _folder(file) == _folder(one.place)]
        near += [file for file in variables if file not in near]
        mine = [file for file in entities if len(containers) == 1 or _folder(file) == _folder(one.place)]
        merged = {key: value for file in near for key, value in file.values}
        missing = "" if any(file.variables for file in near) else one.missing
        found = {**merged, **one.values}
        yield _kong(one.place, found, tuple(mine), given=True, missing=missing, name=f"Kong of {one.object}")
    if containers:
        return
    for file in files:
        beside = [one for one in variables if len(files) == 1 or _folder(one) == _folder(file)]
        mine = [one for one in entities if len(files) == 1 or _folder(one) == _folder(file)]
        merged = {key: value for one in (file, *beside) for key, value in one.values}
        yield _kong(Place(file.file), merged, tuple(mine), given=True)
    if entities and not files:
        yield _kong(Place(entities[0].file), {}, tuple(entities), given=False)


def _folder(document: Document | Place) -> PurePosixPath:
    return PurePosixPath(document.file).parent


def _kong(
    place: Place,
    settings: dict[str, KongValue],
    entities: tuple[KongEntities, ...],
    *,
    given: bool,
    missing: str = "",
    name: str = "",
) -> Kong:
    def setting(name: str, default: float, shown: str) -> Setting[float]:
        return _setting(settings, given, missing, place, name, values.seconds, default, shown)

    size = _setting(settings, given, missing, place, "upstream_keepalive_pool_size", values.size, 512, "512")
    idle = setting("upstream_keepalive_idle_timeout", 60.0, "60")
    if size.value == 0:
        idle = Setting(0.0, size.place, size.text)
    lifetime = Setting(float("inf"), idle.place, "Kong bounds its pool by requests, not by time")
    listen = settings.get("proxy_listen")
    addresses = _LISTEN.findall(listen.value if listen else "0.0.0.0:8000 0.0.0.0:8443")
    kong = Kong(
        name or f"Kong of {place.file}",
        "kong",
        place,
        tuple(Address("*" if host == "0.0.0.0" else host, int(port)) for host, port in addresses) if given else (),
        (),
        setting("nginx_proxy_keepalive_timeout", 75.0, "75s"),
        Setting(True, place, "request_buffering is not set, so it is true"),
        settings,
        entities,
        given,
        missing,
    )
    targets = tuple(_targets(kong, idle, lifetime))
    unbuffered = [one for one in kong.each("routes") if one.flag("request_buffering") is False]
    buffers = (
        Setting(False, unbuffered[0].keys["request_buffering"], "request_buffering: false") if unbuffered else None
    )
    return replace(kong, targets=targets, buffers=buffers or kong.buffers)


def _targets(kong: Kong, idle: Setting[float], lifetime: Setting[float]) -> Iterator[Target]:
    for service in kong.services:
        name = f"service {service.text('name') or service.text('host') or service.text('url') or ''}".strip()
        yield Target(name, tuple(addresses(kong, service)), service.place, idle, lifetime, _waits(service))


def _waits(service: Map) -> Setting[float]:
    place = service.keys.get("read_timeout", service.place)
    if service.get("read_timeout") is None:
        return Setting(60.0, place, "read_timeout is not set, so it is 60000")
    if (found := service.number("read_timeout")) is None:
        return unknown(place, "read_timeout cannot be read", "read_timeout as a number")
    return Setting(found / 1000, place, f"read_timeout {found:g}")


def addresses(kong: Kong, service: Map) -> Iterator[Address]:
    """Where a service leads: the targets of its upstream, or its own host."""
    host, port = host_of(service)
    upstream = kong.upstreams.get(host)
    if upstream is None:
        if host:
            yield Address(host, port)
        return
    for target in upstream.each("targets"):
        if (found := target_address(target)) is not None:
            yield found


def host_of(service: Node) -> tuple[str, int]:
    """Host and port of a service, which has them as keys or in `url`."""
    url = re.fullmatch(r"(\w+)://(\[[^\]]+\]|[^:/]+)(?::(\d+))?(?:/.*)?", service.text("url") or "")
    if url:
        return url[2], int(url[3] or (443 if url[1] == "https" else 80))
    return service.text("host") or "", int(service.number("port") or 80)


def target_address(target: Node) -> Address | None:
    host, colon, port = (target.text("target") or "").rpartition(":")
    if not colon:
        host, port = port, "8000"
    return Address(host, int(port)) if host and port.isdigit() else None


def _setting(
    settings: dict[str, KongValue],
    given: bool,
    missing: str,
    place: Place,
    name: str,
    read: Callable[[str], Value | None],
    default: Value,
    shown: str,
) -> Setting[Value]:
    if (found := settings.get(name)) is not None:
        value = read(found.value)
        if value is None:
            return unknown(found.place, found.text, f"the value of `{name}`, which this program cannot read")
        return Setting(value, found.place, found.text)
    if not given:
        return unknown(place, f"{name} is not in the given files", "kong.conf, or the KONG_* variables")
    if missing:
        return unknown(place, f"{name} is not in the given files", missing)
    return Setting(default, place, f"{name} is not set, so it is {shown}")
