"""Numbers as reports show them."""

from __future__ import annotations

from changeover.audit.assumptions import Assumptions
from changeover.model.units import human_bytes


def span(seconds: float) -> str:
    """90 -> `90 s`; whole hours as hours."""
    if seconds == float("inf"):
        return "no limit"
    if seconds >= 3600 and seconds % 3600 == 0:
        return f"{seconds / 3600:g} h"
    return f"{seconds:.3g} s" if seconds < 100 else f"{seconds:.0f} s"


def bit_rate(bits: float) -> str:
    """1_000_000 -> `1 Mb/s`."""
    for unit in ("b/s", "kb/s", "Mb/s"):
        if bits < 1000:
            return f"{bits:.3g} {unit}"
        bits /= 1000
    return f"{bits:.3g} Gb/s"


def size(count: float) -> str:
    """50_000_000 -> `50 MB`."""
    return human_bytes(count).replace(".0 ", " ")


def upload(asked: Assumptions) -> str:
    """`a 50 MB upload at 1 Mb/s`."""
    return f"a {size(asked.upload)} upload at {bit_rate(asked.client_rate)}"


def assumed(name: str, value: float | None) -> str:
    """The default of an assumption; empty if it is unknown."""
    if value is None:
        return ""
    return {"upload": size, "client_rate": bit_rate}.get(name, span)(value)
