"""Rounds in, medians and ratios out: as rows for JSON, as tables, and beside what was aimed at.

Ratios compare the peers of one round, because these had the same machine; the report shows the median of the rounds.
CPU is per GB, or per request for small bodies.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence

from proxies.load import Case
from proxies.measure import Figures
from proxies.peers import ENVOY, HAPROXIES, NGINX, RELAY
from rich.table import Table

Rounds = Sequence[Mapping[str, Figures | str]]
"""Of one case, each round: peer -> its figures, or why there are none."""
Row = Mapping[str, float | str]
"""Medians by name; only `failed` when a round of that peer did."""

LIMIT = "no proxy"
OVER_SPLICE = "CPU over haproxy splice"
OVER_COPY = "CPU over plain copy"
"""Over what sending and receiving cost together where no proxy is."""
OVER_RECEIVING = "CPU over receiving alone"
SMALL = 1_000_000
"""Bytes of a body below which requests are counted, not bytes."""
STREAMED = 64 * 1024
"""Bytes of a body below which the relay sends it as it is: the others take two requests to the upstream."""


def medians(case: Case, rounds: Rounds) -> dict[str, Row]:
    """Peer -> its row."""
    return {peer: _row([_values(case, peer, round_) for round_ in rounds]) for peer in rounds[0]}


def _row(values: Sequence[Row]) -> Row:
    for one in values:
        if "failed" in one:
            return one
    common = [name for name in values[0] if all(name in one for one in values)]
    return {name: float(f"{statistics.median(float(one[name]) for one in values):.4g}") for name in common}


def _values(case: Case, peer: str, round_: Mapping[str, Figures | str]) -> Row:
    mine, splice, limit = round_[peer], round_.get(HAPROXIES[0].name), round_.get(LIMIT)
    if isinstance(mine, str):
        return {"failed": mine}
    unit, amount = _unit(case), mine.requests / 1e6 if case.size < SMALL else mine.moved / 1e9
    values = {
        "GB/s": mine.moved / mine.seconds / 1e9,
        "requests/s": mine.requests / mine.seconds,
        f"CPU with load and sink {unit}": (mine.proxy_cpu + mine.load_cpu + mine.sink_cpu) / amount,
        f"CPU of the machine {unit}": mine.machine_cpu / amount,
        "p50 ms": mine.p50 * 1e3,
        "p99 ms": mine.p99 * 1e3,
    }
    if peer == LIMIT:
        return values
    values |= {f"CPU {unit}": mine.proxy_cpu / amount, "peak MB": mine.peak / 1e6}
    if isinstance(splice, Figures):
        values[OVER_SPLICE] = mine.proxy_cpu / splice.proxy_cpu
    if isinstance(limit, Figures):
        values[OVER_COPY] = mine.proxy_cpu / (limit.load_cpu + limit.sink_cpu)
        values[OVER_RECEIVING] = mine.proxy_cpu / limit.sink_cpu
    return values


def table(case: Case, rows: Mapping[str, Row]) -> Table:
    unit = _unit(case)
    columns = {
        "requests/s" if case.size < SMALL else "GB/s": "requests/s" if case.size < SMALL else "GB/s",
        f"CPU {unit}": f"CPU {unit}",
        "x splice": OVER_SPLICE,
        "x copy": OVER_COPY,
        "path": f"CPU with load and sink {unit}",
        "machine": f"CPU of the machine {unit}",
        "peak MB": "peak MB",
        "p50 ms": "p50 ms",
        "p99 ms": "p99 ms",
    }
    shown = Table(case.name, *columns)
    for peer, row in rows.items():
        failed = ("failed",) if "failed" in row else ()
        shown.add_row(peer, *failed, *(_three_digits(row[name]) if name in row else "" for name in columns.values()))
    return shown


def _three_digits(value: float | str) -> str:
    return f"{value:,.0f}" if float(value) >= 100 else f"{value:#.3g}"


def _unit(case: Case) -> str:
    return "us/request" if case.size < SMALL else "s/GB"


def aims(case: Case, rows: Mapping[str, Row]) -> Iterator[tuple[str, bool]]:
    """(what was measured against what was aimed at, whether it was kept), as far as it was measured."""

    def compared(name: str, most: float) -> Iterator[tuple[str, bool]]:
        if name in relay:
            yield f"{case.name}: {name} {relay[name]:.3g}, aim at most {most:g}", float(relay[name]) <= most

    relay = rows.get(RELAY.name, {})
    small, chunked = case.size < SMALL, case.chunk is not None
    if not small and not chunked:
        yield from compared(OVER_SPLICE, 1.2)
        yield from compared(OVER_COPY, 1.6)
    if not small and case.connections == 64:
        yield from compared("peak MB", 32)
    if chunked:
        others = [float(row["CPU s/GB"]) for peer in HAPROXIES if "CPU s/GB" in (row := rows.get(peer.name, {}))]
        if others:
            yield from compared("CPU s/GB", min(others))
    if (
        case.size < STREAMED
        and case.connections > 1
        and "requests/s" in relay
        and "requests/s" in (row := rows.get(ENVOY.name, {}))
    ):
        mine, its = float(relay["requests/s"]), float(row["requests/s"])
        yield f"{case.name}: requests/s {mine:.0f}, aim at least envoy's {its:.0f}", mine >= its
    if small and case.connections == 1 and "p50 ms" in relay and "p50 ms" in (row := rows.get(NGINX.name, {})):
        mine, its = float(relay["p50 ms"]), float(row["p50 ms"])
        yield f"{case.name}: p50 {mine:.3f} ms, aim at most twice nginx's {its:.3f}", mine <= 2 * its
