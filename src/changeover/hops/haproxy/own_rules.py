"""What a haproxy.cfg of the user's own must not do: each rule is one sentence on what it would break. Pure.

A rule is about draining and about several instances on one machine. Refuses to judge anything else: `haproxy -c` checks
the grammar, and all the rest is the user's.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from changeover.hops.haproxy.own_text import Configuration, Line, Section
from changeover.hops.own_file import (
    FOLDER,
    INNER,
    LISTEN,
    PLACEHOLDER,
    OwnFile,
    inner_name,
    unknown_placeholders,
)
from changeover.model.chain import Chain, Tier
from changeover.model.errors import Problem
from changeover.model.units import human_seconds

CERTIFICATE, LAME_DUCK = "CHANGEOVER_CERTIFICATE", "CHANGEOVER_LAME_DUCK"
INSTANCE, TEMPLATE = "CHANGEOVER_INSTANCE", "CHANGEOVER_TEMPLATE"
PLACEHOLDERS = {
    LISTEN: "the address of the instance; only as the address of one `bind`",
    INNER: "host:port of the tier behind; of several, `CHANGEOVER_INNER_NAME` for each, such as `CHANGEOVER_INNER_API`",
    FOLDER: "the folder of the chain file",
    CERTIFICATE: "the certificate for tests that changeover makes, with its key",
    LAME_DUCK: "a condition that holds while the instance drains: `if { CHANGEOVER_LAME_DUCK }`",
    INSTANCE: "the name of the instance",
    TEMPLATE: "the name of its template",
}
"""Words that a configuration can contain, and what each stands for."""

_SECONDS = {"us": 1e-6, "": 0.001, "ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}
Refused = Iterator[tuple[Line | None, str, str]]
"""A line, what is wrong with it, and what to do."""


def seconds(text: str) -> float | None:
    """A time as HAProxy writes it; None for a text that is none."""
    found = re.fullmatch(r"(\d+)(us|ms|s|m|h|d|)", text)
    return None if found is None else int(found[1]) * _SECONDS[found[2]]


def listening(found: Configuration) -> tuple[Section, Line]:
    """The section that listens at the address of the instance, and the line that says so. `problems` insists on one."""
    return next(_listening(found))


def ends_tls(own: OwnFile) -> bool:
    """Whether clients send TLS to it."""
    return any("ssl" in bind.words for _, bind in _listening(Configuration(own.text or "")))


def _listening(found: Configuration) -> Iterator[tuple[Section, Line]]:
    for section in found.of("frontend", "listen"):
        yield from ((section, bind) for bind in section.of("bind") if LISTEN in bind.words[1:2])


def problems(own: OwnFile, tier: Tier, chain: Chain, given: frozenset[str], *, http: bool) -> Iterator[Problem]:
    """Everything that is refused. `given`: the keys of the template. `http`: of a tier that reads requests."""
    found, behind = Configuration(own.text or ""), chain.behind(tier.name)
    rules = [_process(found, tier), _listens(found, http), _settled(found, given)]
    for line, what, next in (one for rule in rules for one in rule):
        yield Problem(what, own.path if line is None else f"{own.path}:{line.number}", next=next)
    for line in _lines(found):
        known = (*PLACEHOLDERS, *map(inner_name, behind))
        yield from unknown_placeholders(line.text, known, f"{own.path}:{line.number}")
    if http:
        for line, what, next in _idle(found, tier):
            yield Problem(what, f"{own.path}:{line.number}" if line else own.path, next=next)
    yield from _reached(found, own, tier, behind)
    if chain.asks_for_clients and tier is chain.tiers[0] and not _names_clients(found):
        yield Problem(
            "the chain asks its first tier for the address of the client, and this configuration does not pass it on",
            own.path,
            next="Write `option forwardfor`, or pass %[src] on in a header.",
        )


def _lines(found: Configuration) -> Iterator[Line]:
    for section in found.sections:
        yield from (section.head, *section.lines)


def _names_clients(found: Configuration) -> bool:
    return any(
        line.words[:2] == ("option", "forwardfor") or "%[src]" in str(line) or "send-proxy" in str(line)
        for line in _lines(found)
    )


def _process(found: Configuration, tier: Tier) -> Refused:
    """Settings of the process that work against a drain, or of which two instances can have one only."""
    shown = human_seconds(tier.drain.deadline)
    for section in found.of("global"):
        for line in section.of("master-worker"):
            yield line, "`master-worker`: the process that is started would not be the one that serves", "Remove it."
        for line in section.of("hard-stop-after"):
            if (seconds("".join(line.words[1:2])) or 0) < tier.drain.deadline:
                what = f"`{line}` cuts what drain.deadline, {shown}, still allows"
                yield line, what, "Remove it: changeover sets it to drain.deadline."
        for line in section.of("stats", "socket"):
            if not _is_own_socket("".join(line.words[2:3])):
                what = f"`{' '.join(line.words[:3])}`: the next instance would take this socket away from the last"
                yield line, what, "Write a relative path, `unix@own.sock`, or remove it: changeover adds one."


def _is_own_socket(address: str) -> bool:
    """Whether each instance has its own: a path from its folder."""
    return address.startswith("unix@") and not address.startswith("unix@/")


def _listens(found: Configuration, http: bool) -> Refused:
    """Two instances of a tier run at the same time, so no address can stand in the file."""
    there = list(_listening(found))
    if not there:
        yield None, "nothing in it listens at the address of the instance", f"Write `bind {LISTEN}`."
    for _, bind in there[1:]:
        yield bind, f"`{bind}`: {LISTEN} is taken by line {there[0][1].number} already", "Remove one of the two."
    for section, bind in there:
        if found.reads_http(section) is not http:
            kind, mode = ("haproxy", "http") if http else ("haproxy-tcp", "tcp")
            other = "haproxy-tcp" if http else "haproxy"
            what = f"`{section.head}` is not in mode {mode}, and a tier of kind {kind} is"
            yield section.head, what, f"Write `mode {mode}` there, or make it a tier of kind {other}."
        yield from _bound(bind, http)
    own = {bind.number for _, bind in there}
    for line in _lines(found):
        if line.name == "bind" and line.number not in own and not _is_own_socket("".join(line.words[1:2])):
            what = f"`{line}`: old and new instances run side by side, and only one of them could have this address"
            yield line, what, f"Write {LISTEN} there, or a relative path of a socket, `unix@own.sock`."
        elif LISTEN in line.text and line.number not in own:
            yield line, f"{LISTEN} is not the address of a `bind`", "Move it there."


def _bound(bind: Line, http: bool) -> Refused:
    if "accept-proxy" in bind.words:
        yield bind, "`accept-proxy`: changeover adds it where the load balancer in front sends it", "Remove it."
    protocols = [value for word, value in zip(bind.words, bind.words[1:], strict=False) if word in ("alpn", "proto")]
    if http and any("h2" in value.split(",") for value in protocols):
        what = (
            f"`{bind}`: HAProxy ends no HTTP/2 connection before its stop, so a busy one holds a drain to its deadline"
        )
        yield bind, what, "Write `alpn http/1.1`."


def _idle(found: Configuration, tier: Tier) -> Refused:
    """An idle connection that outlives the drain holds the rollout up."""
    shown = human_seconds(tier.drain.deadline)
    for section, _ in _listening(found):
        for line in found.lines(section, "timeout", "http-keep-alive"):
            given = seconds("".join(line.words[2:3]))
            if given is not None and given >= tier.drain.deadline:
                what = f"`{line}`: an idle connection may stay as long as drain.deadline, {shown}"
                yield line, what, "Lower it, or raise drain.deadline."


def _settled(found: Configuration, given: frozenset[str]) -> Refused:
    """Keys of the template that the configuration overrides."""
    for section, _ in _listening(found) if "keepalive_timeout" in given else ():
        for line in found.lines(section, "timeout", "http-keep-alive"):
            yield line, "`keepalive_timeout` of the template has no effect here", "Remove one of the two."


def _reached(found: Configuration, own: OwnFile, tier: Tier, behind: Sequence[Tier]) -> Iterator[Problem]:
    """A tier behind that gets no request would be rolled without a proof; a tier that is not there can get none."""
    names = {name for line in _lines(found) if line.name == "server" for name in PLACEHOLDER.findall(line.text)}
    if INNER in names and not behind:
        what = f"{tier.name} is the last tier, and this configuration sends requests to a tier behind it"
        yield Problem(what, own.path, next="Add a tier behind it to the chain file.")
    for number, inner in enumerate(behind):
        if inner_name(inner) not in names and not (INNER in names and number == 0):
            way = inner_name(inner) if number else INNER
            yield Problem(
                f"nothing in it sends requests to tier {inner.name} behind {tier.name}",
                own.path,
                next=f"Write `server {inner.name} {way}` in a backend.",
            )
