"""HAProxy as hops: each `frontend` and `listen`, and the backends that it sends requests to."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from changeover.audit.assumptions import Assumptions
from changeover.audit.hops.haproxy_files import BACKENDS, configurations, named
from changeover.audit.setting import Setting, unknown
from changeover.audit.view import Address, Hop, Target
from changeover.conf.document import Document
from changeover.conf.haproxy import HaproxyFile, Section, seconds
from changeover.conf.place import Place

_FAMILY = re.compile(r"(?:ipv4|ipv6|tcp4|tcp6|tcp|quic4|quic6)@")
_ADDRESS = re.compile(r"(\[[\da-fA-F:]*\]|[\w.*-]*|::|[\da-fA-F:]+:):(\d{1,5})")


@dataclass(frozen=True)
class Haproxy(Hop):
    """`hard_stop`: how long a soft stop waits for the connections that are left; infinite unless set."""

    http: bool
    hard_stop: Setting[float]

    @property
    def sees_requests(self) -> bool:
        return self.http


def hops(documents: Sequence[Document], asked: Assumptions) -> Iterator[Hop]:
    """A hop for each section that listens."""
    for document in configurations(documents):
        limit = _hard_stop(document)
        backends = {one.name: one for one in document.sections if one.kind in BACKENDS}
        for section in document.sections:
            if section.kind in {"frontend", "listen"}:
                yield _hop(section, backends, limit)


def _hop(section: Section, backends: dict[str, Section], limit: Setting[float]) -> Haproxy:
    mode = section.find("mode")
    http = mode.words[1:2] == ("http",) if mode is not None else section.lost is not None
    names = named(section)
    reached = [one for name, one in backends.items() if name in names]
    lost = [_lost(section, name) for name in dict.fromkeys(names) if name not in backends]
    if section.kind == "listen":
        reached = [section, *(one for one in reached if one is not section)]
    if http:
        buffers = "HAProxy forwards an upload as it arrives; option http-buffer-request waits for one buffer of it"
    else:
        buffers = "a TCP proxy forwards bytes as they arrive"
    return Haproxy(
        f"HAProxy {section.kind} {section.name}",
        "haproxy",
        section.place,
        tuple(_listens(section)),
        (*(target for one in reached for target in _target(one, http)), *lost),
        _idle(section, http),
        Setting(False, section.place, buffers),
        http,
        limit,
    )


def _lost(section: Section, name: str) -> Target:
    """A backend that no given file has, or whose name each request decides."""
    missing = f"the file that has `backend {name}`" if "%[" not in name else f"which backends {name} names"
    pool: Setting[float] = unknown(section.place, f"backend {name} is in no given file", missing)
    return Target(f"backend {name}", (), section.place, pool, pool)


def _listens(section: Section) -> Iterator[Address]:
    for line in section.each("bind"):
        for one in line.words[1].split(","):
            if (found := address(one)) is not None:
                yield replace(found, host=found.host or "*")


def _target(section: Section, http: bool) -> Iterator[Target]:
    servers = [line.words[2] for line in section.each("server") if len(line.words) > 2]
    servers += [line.words[3] for line in section.each("server-template") if len(line.words) > 3]
    found = tuple(one for server in servers if (one := address(server)) is not None)
    if servers:
        waits = _timeout(section, ("server",)) if http else None
        name = f"{section.kind} {section.name}"
        yield Target(name, found, section.place, _pool(section, http), _lifetime(section), waits)


def _pool(section: Section, http: bool) -> Setting[float]:
    if not http:
        return Setting(0.0, section.place, "a TCP proxy keeps no pool")
    for option in ("httpclose", "http-server-close"):
        if (line := section.find("option", option)) is not None:
            return Setting(0.0, line.place, f"{line.text}: no connection is kept")
    if section.lost is not None:
        return _of_lost(section, section.lost)
    text = "HAProxy limits no connection's idle time: every pool-purge-delay it closes half of those not needed"
    return unknown(section.place, text, "how long HAProxy keeps an idle connection there; `option http-server-close`")


def _lifetime(section: Section) -> Setting[float]:
    return Setting(float("inf"), section.place, "HAProxy ends no connection by its age")


def _idle(section: Section, http: bool) -> Setting[float]:
    """`timeout http-keep-alive`, else http-request, else client: configuration manual, timeout http-keep-alive."""
    return _timeout(section, ("http-keep-alive", "http-request", "client") if http else ("client",))


def _timeout(section: Section, names: Sequence[str]) -> Setting[float]:
    """The first of these that is set."""
    for name in names:
        if (line := section.find("timeout", name)) is not None:
            return _time(line.words[2] if len(line.words) > 2 else "", line.place, line.text)
    if section.lost is not None:
        return _of_lost(section, section.lost)
    return Setting(float("inf"), section.place, f"timeout {names[-1]} is not set, so it has no limit")


def _of_lost(section: Section, name: str) -> Setting[float]:
    return unknown(section.place, f"`defaults {name}` is in no given file", f"the file that has `defaults {name}`")


def _hard_stop(document: HaproxyFile) -> Setting[float]:
    own = [one for one in document.sections if one.kind == "global"]
    lines = [line for one in own for line in one.each("hard-stop-after")]
    if lines:
        return _time(lines[-1].words[1], lines[-1].place, lines[-1].text)
    place = own[0].place if own else Place(document.file)
    return Setting(float("inf"), place, "hard-stop-after is not set, so a soft stop waits without a limit")


def _time(value: str, place: Place, text: str) -> Setting[float]:
    found = seconds(value)
    return Setting(found, place, text) if found is not None else unknown(place, text, f"the value of `{text}`")


def address(text: str) -> Address | None:
    """Of `host:port`, `:port`, `/path` or `unix@/path`; None where it is none, as with a range or a variable."""
    bare = _FAMILY.sub("", text, count=1)
    if bare.startswith(("/", "unix@")):
        return Address(f"unix:{bare.removeprefix('unix@')}", None)
    found = _ADDRESS.fullmatch(bare)
    return Address(found[1], int(found[2])) if found else None
