"""What a configuration of the user's own must not do: each rule is one sentence on what it would break. Pure.

A rule is about draining and about several instances on one machine. Refuses to judge anything else: `nginx -t` checks
the grammar, and all the rest is the user's.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Sequence

from changeover.conf.nginx.grammar import Directive
from changeover.conf.nginx.values import seconds
from changeover.hops.nginx.own_tree import OwnTree, blocks, everything, settings_of
from changeover.hops.nginx.text import PLACEHOLDER
from changeover.model.chain import Chain, Tier
from changeover.model.errors import Problem
from changeover.model.units import human_seconds

LISTEN, INNER, PROXY = "CHANGEOVER_LISTEN", "CHANGEOVER_INNER", "CHANGEOVER_PROXY"
PLACEHOLDERS = {
    LISTEN: "the address of the instance; only as the first value of `listen`",
    INNER: "host:port of the tier behind; of several, `CHANGEOVER_INNER_NAME` for each, such as `CHANGEOVER_INNER_API`",
    "CHANGEOVER_FOLDER": "the folder of the chain file",
    PROXY: "a file with the `proxy_` directives of a generated configuration; only in `include`",
    "CHANGEOVER_CERTIFICATE": "the certificate for tests that changeover makes",
    "CHANGEOVER_KEY": "its key",
    "CHANGEOVER_LAME_DUCK": "the file that exists while the instance drains",
    "CHANGEOVER_INSTANCE": "the name of the instance",
    "CHANGEOVER_TEMPLATE": "the name of its template",
}
"""Words that a configuration can contain, and what each stands for."""
UPSTREAM = "changeover_inner"
"""The upstream that changeover adds where the configuration names it: the tier behind, with a pool."""

Refused = Iterator[tuple[Directive | None, str, str]]
"""A directive, what is wrong with it, and what to do."""


def problems(tree: OwnTree, kind: str, tier: Tier, chain: Chain, given: frozenset[str]) -> Iterator[Problem]:
    """Everything that is refused. `given`: the keys of the template."""
    behind, asks_for_clients = chain.behind(tier.name), chain.asks_for_clients and tier is chain.tiers[0]
    for rule in (_forbidden(tree), _listens(tree), _placeholders(tree, behind), _times(tree, tier, (*behind, tier)[0])):
        for directive, what, next in rule:
            yield Problem(what, tree.place(directive) if directive else tree.config.path, next=next)
    for directive, key in _settled(tree, given):
        place = tree.place(directive) if directive else tree.config.path
        yield Problem(f"`{key}` of the template has no effect here", place, next="Remove one of the two.")
    words = [value for one in everything(tree.main) for value in one.values]
    if not any(blocks(tree.main, kind)):
        yield Problem(f"there is no {kind} block", tree.config.path)
    else:
        yield from _reached(tree, kind, tier, behind)
    if asks_for_clients and not any(word == PROXY or "proxy_protocol" in word for word in words):
        yield Problem(
            "the chain asks its first tier for the address of the client, and this configuration does not pass it on",
            tree.config.path,
            next=f"Write `include {PROXY};` beside `proxy_pass`, or pass $proxy_protocol_addr on in a header.",
        )


def inner_name(tier: Tier) -> str:
    """The placeholder of one of several tiers behind."""
    return f"{INNER}_{tier.name.upper().replace('-', '_')}"


def _reached(tree: OwnTree, kind: str, tier: Tier, behind: Sequence[Tier]) -> Iterator[Problem]:
    """A tier behind that gets no request would be rolled without a proof; a tier that is not there can get none."""
    names = {name for one in everything(tree.main) for value in one.values for name in PLACEHOLDER.findall(value)}
    to_first = names_upstream(tree) or INNER in names
    if to_first and not behind:
        what = f"{tier.name} is the last tier, and this configuration sends requests to a tier behind it"
        yield Problem(what, tree.config.path, next="Add a tier behind it to the chain file.")
    for number, inner in enumerate(behind):
        if inner_name(inner) in names or (to_first and number == 0):
            continue
        way = inner_name(inner) if number else INNER if kind == "stream" else f"http://{UPSTREAM}"
        yield Problem(
            f"nothing in it sends requests to tier {inner.name} behind {tier.name}",
            tree.config.path,
            next=f"Write `proxy_pass {way};` where requests for that tier are passed on.",
        )


def pools(tree: OwnTree) -> list[Directive]:
    """The user's own upstreams of the tier behind that keep connections."""
    return [
        upstream
        for upstream in blocks(tree.main, "http", "upstream")
        if any(INNER in one.values[0] for one in settings_of(upstream.block or (), "server"))
        and settings_of(upstream.block or (), "keepalive")
    ]


def names_upstream(tree: OwnTree) -> bool:
    """Whether it passes requests to the upstream that changeover adds."""
    return any(re.search(rf"\b{UPSTREAM}\b", value) for one in everything(tree.main) for value in one.values)


def ends_tls(tree: OwnTree) -> bool:
    """Whether clients send TLS to it."""
    listens = [one.values for one in everything(tree.main) if one.name == "listen"]
    return any(values[:1] == (LISTEN,) and "ssl" in values for values in listens)


def _settled(tree: OwnTree, given: frozenset[str]) -> Iterator[tuple[Directive | None, str]]:
    """Keys of the template that the configuration overrides, or that nothing in it would use."""
    for http in blocks(tree.main, "http"):
        for key in sorted(given & {"keepalive_time", "keepalive_timeout"}):
            yield from ((one, key) for one in settings_of(http.block or (), key))
    if not names_upstream(tree):
        used = {"upstream_keepalive_time", "upstream_keepalive_timeout"} if pools(tree) else set()
        yield from ((None, key) for key in sorted(given - used) if key.startswith("upstream_"))


def _forbidden(tree: OwnTree) -> Refused:
    """Directives that work against a drain, wherever they stand."""
    refused: dict[tuple[str, str], tuple[str, str]] = {
        ("daemon", "on"): ("the process that is started would end at once", "Remove it."),
        ("master_process", "off"): ("a single process does not finish its requests on QUIT", "Remove it."),
        ("lingering_close", "off"): (
            "a client that still sends gets a reset instead of its response",
            "Remove it, or set it to `on`.",
        ),
        ("working_directory", ""): ("relative paths would lead out of the folder of the instance", "Remove it."),
    }
    for one in everything(tree.main):
        for value in {"", *one.values}:
            if (found := refused.get((one.name, value))) is not None:
                yield one, f"`{one}`: {found[0]}", found[1]
        relative = one.values and not one.values[0].startswith(("/", "$"))
        if one.name in ("root", "alias", "load_module") and relative:
            what = f"`{one}` is relative, and each instance has a folder of its own"
            yield one, what, "Write an absolute path."


def _listens(tree: OwnTree) -> Refused:
    """Two instances of a tier run at the same time, so no address can stand in the file."""
    for one in everything(tree.main):
        if one.name == "server" and one.block is not None and not settings_of(one.block, "listen"):
            yield one, "a server without `listen` takes port 80", f"Write `listen {LISTEN};`."
        if one.name != "listen" or not one.values:
            continue
        address, parameters = one.values[0], one.values[1:]
        if address != LISTEN and not (address.startswith("unix:") and not address.startswith("unix:/")):
            what = f"`{one}`: old and new instances run side by side, and only one of them could have this address"
            yield one, what, f"Write {LISTEN} instead of {address}, or a relative path of a socket, `unix:own.sock`."
        for parameter in {"proxy_protocol", "quic", "http3"} & set(parameters):
            if address == LISTEN:
                why = (
                    "changeover adds it where the load balancer in front sends it"
                    if parameter == "proxy_protocol"
                    else "the load balancer in front passes no UDP"
                )
                yield one, f"`{parameter}`: {why}", "Remove it."


def _placeholders(tree: OwnTree, behind: Sequence[Tier]) -> Refused:
    known = (*PLACEHOLDERS, *map(inner_name, behind))
    for one in everything(tree.main):
        for position, word in enumerate(one.values):
            for name in PLACEHOLDER.findall(word):
                if name not in known:
                    close = difflib.get_close_matches(name, known, n=1)
                    hint = f"Did you mean {close[0]}? " if close else ""
                    yield one, f"there is no placeholder {name}", f"{hint}There are: {', '.join(known)}."
                elif name == LISTEN and (one.name != "listen" or position or word != name):
                    yield one, f"{LISTEN} is not the whole first value of a `listen`", "Move it there."
                elif name == PROXY and (one.name != "include" or word != name):
                    yield one, f"{PROXY} stands for a file", f"Write `include {PROXY};`."


def _times(tree: OwnTree, tier: Tier, inner: Tier) -> Refused:
    """A connection that outlives the drain is cut at its deadline, or holds the rollout up for good."""
    shown = human_seconds(tier.drain.deadline)
    for one in settings_of(tree.main, "worker_shutdown_timeout"):
        if (seconds(one.values[0]) or 0) < tier.drain.deadline:
            what = f"`{one}` cuts what drain.deadline, {shown}, still allows"
            yield one, what, "Remove it: changeover sets it to drain.deadline."
    upstreams = {id(one) for upstream in blocks(tree.main, "http", "upstream") for one in upstream.block or ()}
    for one in everything(tree.main):
        if one.name not in ("keepalive_time", "keepalive_timeout") or not one.values:
            continue
        leaves = inner if id(one) in upstreams else tier
        given, limit = seconds(one.values[0]), leaves.drain.deadline
        if given is not None and given >= limit:
            what = (
                f"`{one}`: a connection may stay as long as drain.deadline of tier {leaves.name}, "
                f"{human_seconds(limit)}, so its drain does not end in time"
            )
            yield one, what, "Lower it, or raise drain.deadline."
