"""HAProxy as the load balancer of every tier: one process, one listener a tier, members through its runtime API.

A listener passes bytes, unless the tier's affinity needs HTTP. A change of membership never reloads it. A member that
leaves goes into `drain`, or into maintenance where its cookie would still bring its clients: it gets nothing new, and
open connections stay. Only `show stat` and `show servers state` confirm what HAProxy does with a member.
"""

from __future__ import annotations

import contextlib
import re
import shutil
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import ClassVar, Literal

from changeover.haproxy.checks import check_lines, check_words
from changeover.haproxy.runtime_api import RuntimeApi, Server
from changeover.model.chain import Chain, Tier
from changeover.model.errors import fail
from changeover.model.instance import Address, Instance
from changeover.model.readiness import Readiness
from changeover.model.software import Missing, refused
from changeover.ports import Broken, Membership, Unknown

SOCKET = "haproxy.sock"


def missing() -> Iterator[Missing]:
    """HAProxy, where it is not installed."""
    if _path() is None:
        yield Missing("HAProxy is not installed, and the load balancer of every chain is one", package="haproxy")


def binary() -> str:
    """The HAProxy on PATH or in the sbin folders. Raises ChangeoverError."""
    if (path := _path()) is None:
        raise refused(list(missing()))
    return path


def _path() -> str | None:
    return shutil.which("haproxy") or shutil.which("haproxy", path="/usr/sbin:/sbin:/usr/local/sbin")


MOST, LEAST = 8192, 256
"""Connections at once, over all listeners: as many as HAProxy is given, and with fewer a chain is not started."""


def most_connections(chain: Chain, descriptors: int) -> int:
    """Connections that HAProxy can hold at once with that many descriptors. Raises ChangeoverError for too few.

    One takes two descriptors, and a health check one for a moment. HAProxy does not start if it cannot have them all.
    """
    others = 128 + sum(tier.size + tier.surge for tier in chain.tiers)
    if (found := min(MOST, (descriptors - others) // 2)) < LEAST:
        raise fail(
            f"a process may open {descriptors} files here, and HAProxy needs {2 * LEAST + others} for this chain",
            state="Nothing was started.",
            next="Raise the hard limit: `ulimit -Hn` shows it; /etc/security/limits.conf or LimitNOFILE= set it.",
        )
    return found


def config(chain: Chain, entries: Mapping[str, Address], readiness: Mapping[str, Readiness], most: int = MOST) -> str:
    """One listener for every tier in `entries`; no members yet. `most`: connections at once, over all of them."""
    # Idle times are set at the tiers: a balancer that cut a silent connection would cut a slow response. Those here are
    # longer than any of theirs, and the kernel finds peers that are gone.
    listeners = "".join(
        f"""
listen {tier.name}
    bind {entries[tier.name]}
{_balance(tier, first=number == 0)}{_use_panic(tier)}    timeout check {tier.health.timeout * 1000:.0f}ms
{_check(tier, readiness[tier.name])}{_panic(tier, first=number == 0)}"""
        for number, tier in enumerate(chain.tiers)
        if tier.name in entries
    ) + "".join(
        _preview(tier, entries[preview_of(tier.name)], readiness[tier.name])
        for tier in chain.tiers
        if preview_of(tier.name) in entries
    )
    return f"""global
    stats socket unix@{SOCKET} mode 600 level admin
    maxconn {most}
    nbthread 1

defaults
    mode tcp
    timeout connect 2s
    timeout client 24d
    timeout server 24d
    option tcpka
    retries 3
    option redispatch 1
    option contstats
{listeners}"""


def _balance(tier: Tier, *, first: bool) -> str:
    """How a listener picks a member; in HTTP mode where it depends on the request.

    A member's cookie is a hash of its address, made by HAProxy: a member that is added at run time cannot be given one.
    No connection inward is used twice in that mode, so no request meets one that its server just closed.
    """
    read = "    mode http\n    option http-server-close\n    http-reuse never\n"
    match tier.affinity.by:
        case "none":
            return "    balance roundrobin\n"
        case "client-ip" if first:
            return "    balance source\n    hash-type consistent\n"
        case "client-ip":
            return f"{read}    balance hdr(X-Forwarded-For)\n    hash-type consistent\n"
        case "header":
            return f"{read}    balance hdr({tier.affinity.name})\n    hash-type consistent\n"
        case "cookie":
            cookie = f"cookie {tier.affinity.name} insert indirect nocache httponly dynamic"
            return f"{read}    balance roundrobin\n    dynamic-cookie-key {tier.name}\n    {cookie}\n"


def _check(tier: Tier, readiness: Readiness) -> str:
    return "".join(f"    {line}\n" for line in check_lines(tier, readiness))


def panic_of(tier: str) -> str:
    """The name of a tier's backend for the time when too few instances are ready. No tier can have such a name."""
    return f"{tier}.panic"


def _use_panic(tier: Tier) -> str:
    if not (fewest := tier.health.panics_below(tier.size)):
        return ""
    name = panic_of(tier.name)
    return f"    use_backend {name} if {{ nbsrv({tier.name}) lt {fewest} }} {{ nbsrv({name}) gt 0 }}\n"


def _panic(tier: Tier, *, first: bool) -> str:
    """The same members, up while they accept connections, ready or not."""
    if not tier.health.panics_below(tier.size):
        return ""
    return f"""
backend {panic_of(tier.name)}
{_balance(tier, first=first)}    timeout check {tier.health.timeout * 1000:.0f}ms
"""


def preview_of(tier: str) -> str:
    """The name of a tier's preview. No tier can have such a name."""
    return f"{tier}.preview"


def _preview(tier: Tier, address: Address, readiness: Readiness) -> str:
    """A listener that answers 503 while no new instance waits for its switch. TLS clients find it closed then.

    Its name differs from its backend's: `show stat` would show only the first of two.
    """
    name = preview_of(tier.name)
    return f"""
frontend {name}.address
    bind {address}
    tcp-request content switch-mode http if {{ nbsrv({name}) eq 0 }}
    use_backend {name}.empty if {{ nbsrv({name}) eq 0 }}
    default_backend {name}

backend {name}
    balance roundrobin
    timeout check {tier.health.timeout * 1000:.0f}ms
{_check(tier, readiness)}
backend {name}.empty
    mode http
    option httpclose
    http-request return status 503 content-type text/plain string "no new instance of {tier.name} waits\\n"
"""


class HaproxyRouter:
    """The members of one tier's listener. Each is also a member of the tier's panic backend, where there is one."""

    weighs: ClassVar[Literal["requests", "connections"]] = "connections"

    def __init__(self, api: RuntimeApi, tier: Tier, listener: str) -> None:
        self._api = api
        self._tier = listener
        self._health = tier.health
        self._cookies = tier.affinity.by == "cookie" and listener == tier.name

    async def open(self, keep: Collection[Instance] = ()) -> None:
        """The listener has its list from the start."""

    async def _backends(self) -> tuple[str, ...]:
        """The panic backend, which a HAProxy that an older version started does not have, and the listener's."""
        panic = panic_of(self._tier)
        has_panic = panic in (await self._api.ask("show backend")).split()
        return (panic, self._tier) if has_panic else (self._tier,)

    async def admit(self, instance: Instance, weight: int) -> None:
        for backend in await self._backends():
            await self._admit(backend, instance, weight)

    async def _admit(self, backend: str, instance: Instance, weight: int) -> None:
        server = f"{backend}/{instance.name}"
        if instance.name not in await self._api.servers(backend):
            # The runtime API ends a word at a space, and a command at a semicolon.
            escaped = re.sub(r"([\\ ;])", r"\\\1", instance.socket)
            at = f"unix@{escaped}" if instance.socket else str(instance.address)
            control = "" if instance.socket else f"addr {instance.control.host} port {instance.control.port} "
            check = f"check {control}{check_words(self._health, routers=1)}"
            proxied = " send-proxy-v2" if instance.proxied else ""
            added = f"add server {server} {at}{proxied} {check}"
            await self._api.do(added, expect="New server registered.")
        if self._cookies:  # gives a cookie to each member without one
            await self._api.do(f"enable dynamic-cookie backend {backend}")
        await self._api.do(f"set server {server} weight {weight}")
        await self._api.do(f"enable health {server}")
        await self._api.do(f"set server {server} state ready")

    async def weigh(self, instance: Instance, weight: int) -> None:
        for backend in await self._backends():
            await self._api.do(f"set server {backend}/{instance.name} weight {weight}")

    async def remove(self, instance: Instance) -> None:
        # In `drain`, clients with the member's cookie still reach it. Requests in flight continue in both states.
        state = "maint" if self._cookies else "drain"
        for backend in await self._backends():
            if instance.name in await self._api.servers(backend):
                await self._api.do(f"set server {backend}/{instance.name} state {state}")

    async def forget(self, name: str) -> None:
        """Raises Unknown while it still has sessions: HAProxy may hold an answer that a slow client has yet to take."""
        for backend in await self._backends():
            if name in await self._api.servers(backend):
                await self._api.do(f"set server {backend}/{name} state maint")
                await self._api.do(f"del server {backend}/{name}", expect="Server deleted.")

    async def membership(self, names: frozenset[str]) -> Mapping[str, Membership]:
        *panic, servers = [await self._api.servers(backend) for backend in await self._backends()]
        return {name: _join(_membership(servers.get(name)), [each.get(name) for each in panic]) for name in names}

    async def members(self) -> Mapping[str, Membership]:
        """Every member of its list."""
        return {name: _membership(server) for name, server in (await self._api.servers(self._tier)).items()}

    async def traffic(self) -> Mapping[str, int]:
        """Bytes from clients, which requests on open connections add to as well."""
        found: Counter[str] = Counter()
        for backend in await self._backends():
            found.update({name: server.bytes_in for name, server in (await self._api.servers(backend)).items()})
        return found

    async def ages(self) -> Mapping[str, Sequence[float]]:
        backends, found = await self._backends(), defaultdict[str, list[float]](list)
        for (backend, name), ages in (await self._api.ages()).items():
            if backend in backends:
                found[name] += ages
        return found

    async def broken(self, names: frozenset[str]) -> Mapping[str, Mapping[str, Broken]]:
        """Of each backend with the tier's members: they are on its list until they are forgotten."""
        found: dict[str, dict[str, Broken]] = {name: {} for name in names}
        process = await self._api.process()  # one that was started again is another source, and counts anew
        for backend in await self._backends():
            for name, counts in (await self._api.broken(backend)).items():
                if name in names:
                    found[name][f"HAProxy ({backend}/{name}, process {process})"] = counts
        return found


class HaproxyPreview:
    """The members of a tier's preview."""

    def __init__(self, api: RuntimeApi, tier: Tier) -> None:
        self._router = HaproxyRouter(api, tier, preview_of(tier.name))

    async def show(self, instances: Collection[Instance]) -> bool:
        """A leaving instance keeps its open connections: it stays in the list, without new ones, until they end."""
        wanted = {instance.name: instance for instance in instances}
        there = await self._router.members()
        for name in there.keys() - wanted.keys():
            with contextlib.suppress(Unknown):  # not yet
                await self._router.forget(name)
        for name in wanted.keys() - {name for name, seen in there.items() if not seen.removed}:
            await self._router.admit(wanted[name], weight=1)
        for name, seen in (await self._router.membership(frozenset(wanted))).items():
            if not seen.admitted:
                raise Unknown(f"{seen.pending or 'HAProxy'} does not show {name} yet")
        return bool(await self._router.members())


def _join(listed: Membership, panic: Sequence[Server | None]) -> Membership:
    """The member of the listener, with what the panic backend has of it."""
    for server in filter(None, panic):
        sessions = (listed.sessions or 0) + server.sessions
        if listed.removed and not server.administrative:
            return Membership(False, False, pending="HAProxy (still in the panic backend)", sessions=sessions)
        listed = replace(listed, sessions=sessions)
    return listed


def _membership(server: Server | None) -> Membership:
    return Membership(False, True, sessions=0) if server is None else server.membership("HAProxy")
