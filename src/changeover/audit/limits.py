"""The arithmetic that many rules share: a limit of time against the time that a request occupies a hop."""

from __future__ import annotations

from changeover.audit import words
from changeover.audit.assumptions import Assumptions
from changeover.audit.finding import Effect, Finding, met, unknown, violated
from changeover.audit.setting import Replacement, Setting
from changeover.audit.setting import unknown as not_known
from changeover.audit.view import Hop, View

APART = 5.0
"""Seconds between the idle timeouts of a pool and its server: the way of a request, and clocks that differ."""
SHORT = 10.0
"""Seconds that every proxy and browser waits for a response."""


def occupied(view: View, hop: Hop, asked: Assumptions) -> float:
    """Seconds that the largest upload occupies a hop: short behind a hop that buffers uploads."""
    return asked.buffered_seconds if view.buffered(hop) else asked.request_seconds


def connection_life(view: View, hop: Hop) -> Setting[float]:
    """How long a connection through a TCP proxy takes new requests, which the proxy cannot tell from old ones."""
    if hop.sees_requests:
        return Setting(0.0, hop.place, "")
    lives = [link.target.pool_lifetime for link in view.in_front(hop)]
    if lacking := [one for one in lives if one.value is None]:
        return lacking[0]
    if not lives:
        return not_known(hop.place, "", "the hop in front: how long it uses a connection for new requests")
    return max(lives, key=lambda one: one.value or 0.0)


def upload_fits(
    limit: Setting[float],
    need: float,
    object: str,
    asked: Assumptions,
    *,
    consequence: str,
    fix: str,
    get: Effect = Effect.OK,
    margin: float = 0.0,
    replacement: Replacement | None = None,
    whole: str = "",
) -> Finding:
    """Whether a request of `need` seconds ends within a limit. `margin`: seconds that the limit must have besides.

    `whole`: what takes `need` seconds, unless it is one request.
    """
    if limit.value is None:
        return unknown(limit.place, object, limit.text, limit.missing)
    numbers: dict[str, float | str | None] = {
        "limit_seconds": limit.value if limit.value != float("inf") else None,
        "request_seconds": round(need, 1),
        "slowest_client_bits_per_second": rate if (rate := asked.slowest_rate(limit.value)) is None else round(rate),
    }
    if limit.value >= need + margin:
        return met(limit.place, object, f"{limit.text}: {fits(limit.value, need, whole)}", numbers)
    survives = f"; clients above {words.bit_rate(rate)} survive" if rate is not None else ""
    return violated(
        limit.place,
        object,
        f"{limit.text}: shorter than {whole or _request(need, asked)} ({words.span(need)})",
        get=get,
        post=Effect.CUT,
        consequence=consequence + survives,
        fix=fix,
        numbers=numbers,
        replacement=replacement,
    )


def _request(need: float, asked: Assumptions) -> str:
    """A request that occupies a hop for `need` seconds."""
    if need == asked.request_seconds:
        return words.upload(asked)
    return f"a request that a hop in front of it buffers, with {words.span(asked.app_time)} of the application"


def fits(limit: float, need: float, whole: str = "") -> str:
    """The margin in words. `whole`: what takes `need` seconds, unless it is one request."""
    if limit == float("inf"):
        return "no limit"
    return f"{words.span(limit - need)} more than " + (
        f"{whole} ({words.span(need)})" if whole else f"a request of {words.span(need)}"
    )
