"""Whether a server keeps idle connections for longer than the pool in front: else a request meets a closing one."""

from __future__ import annotations

from changeover.audit import words
from changeover.audit.finding import Effect, Finding, met, unknown, violated
from changeover.audit.limits import APART
from changeover.audit.lines import line
from changeover.audit.setting import Setting
from changeover.audit.view import Hop, Target, View
from changeover.conf.place import Place

_ANNOUNCE = {"nginx", "gunicorn"}
"""Servers that, without keep-alive, send `Connection: close` with each response, so that no pool keeps it."""


def pool_fits(view: View, hop: Hop, target: Target, place: Place, kept: str) -> Finding:
    """`place`: of a pool whose server no file describes. `kept`: a clause that says how long the pool keeps one."""
    pool, inner = target.pool_idle, view.server_of(target)
    if pool.value is None:
        return unknown(pool.place, target.name, pool.text, pool.missing)
    if inner is None:
        return unknown(place, target.name, pool.text, "the server behind: how long it keeps idle connections")
    idle = inner.idle
    if idle.value is None:
        return unknown(idle.place, target.name, idle.text, idle.missing)
    if idle.value == 0 and inner.software in _ANNOUNCE:
        return met(idle.place, target.name, f"{idle.text}: each response says that it is the last")
    if idle.value > pool.value + APART:
        margin = {"margin_seconds": idle.value - pool.value}
        return met(idle.place, target.name, f"{idle.text}; {pool.text}", margin)
    return violated(
        idle.place,
        target.name,
        f"{idle.text}, and {kept}",
        get=Effect.RETRIED if hop.repeats_gets else Effect.ERROR,
        post=Effect.ERROR,
        consequence="a request that meets the closing connection fails: a GET is repeated, a POST is answered with 502"
        if hop.repeats_gets
        else "a GET and a POST that meet the closing connection are answered with 503",
        fix=_fix(hop, pool, inner, idle),
        numbers={"idle_seconds": idle.value, "pool_idle_seconds": pool.value},
        replacement=idle.replaced_by(pool.value + 2 * APART) if pool.value != float("inf") else None,
    )


def _fix(hop: Hop, pool: Setting[float], inner: Hop, idle: Setting[float]) -> str:
    """The line of the server, that of the pool, or both."""
    longest, shortest = pool.value or 0.0, idle.value or 0.0
    longer = line(idle, inner.software, longest + 2 * APART) if longest != float("inf") else ""
    shorter = line(pool, hop.software, shortest - 2 * APART) if shortest > 2 * APART else ""
    ways = [*([longer] if longer else []), *([f"{shorter} in {pool.place}"] if shorter else [])]
    return " or ".join(ways) or f"more than {words.span(longest + APART)} here"
