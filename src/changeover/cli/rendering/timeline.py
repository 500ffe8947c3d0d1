"""The replacement of each tier as text, and as one JSON object."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

from rich.text import Text

from changeover.audit import words
from changeover.audit.assumptions import Assumptions
from changeover.audit.files import Loaded
from changeover.audit.moments import NEVER
from changeover.audit.timeline import Replacement, Timeline, Upload
from changeover.cli.rendering.audit import unreadable_data

WORDS = {True: "ok", False: "cut", None: "?"}
"""What happens to an upload in flight."""
_COLOURS = {True: "green", False: "bold red", None: "magenta"}


def data(table: Timeline, asked: Assumptions, loaded: Loaded) -> Mapping[str, Any]:
    return {
        "assumed": asdict(asked),
        "unreadable": [unreadable_data(one) for one in loaded.unreadable],
        "tiers": [_tier(one) for one in table.tiers],
    }


def _tier(tier: Replacement) -> dict[str, Any]:
    return {
        "name": tier.name,
        "software": tier.software,
        "file": tier.place.file,
        "line": tier.place.line or None,
        "behind": list(tier.behind),
        "buffered": tier.buffered,
        "moments": [
            {
                "at_seconds": one.at,
                "what": one.what,
                "setting": one.text,
                "file": one.place.file,
                "line": one.place.line or None,
                "cuts": one.cuts,
            }
            for one in tier.moments
            if one.at != NEVER
        ],
        "cut_seconds": None if tier.cut == NEVER else tier.cut,
        "unknown": list(tier.unknown),
        "uploads": [
            {
                "bytes": one.size,
                "bits_per_second": one.rate,
                "seconds": round(one.seconds, 3),
                "survives": one.survives,
            }
            for one in tier.uploads
        ],
    }


def text(table: Timeline, asked: Assumptions, loaded: Loaded) -> Text:
    parts = [Text("\n").join(_lines(tier, table)) for tier in table.tiers]
    parts += [Text(f"{one.place}  unreadable  {one.what}") for one in loaded.unreadable]
    head = Text(
        "One replacement of each tier, in seconds after an instance begins to leave. "
        f"A request takes {words.span(asked.app_time)} besides its body (--assume app-time)."
    )
    return Text("\n\n").join([head, *parts])


def _lines(tier: Replacement, table: Timeline) -> Iterator[Text]:
    front = in_front(tier)
    yield Text(tier.name, "bold").append(f"  {tier.software}, {tier.place}; {front}", "dim")
    for one in tier.moments:
        if one.at != NEVER:
            line = Text(f"  {words.span(one.at):>8}  {one.what:<25} ")
            line.append(f"{one.text} ({one.place})", "dim")
            yield line.append("  cuts what is in flight" if one.cuts and one.at == tier.cut else "", "red")
    for missing in tier.unknown:
        yield Text("   unknown  ", "magenta").append(missing)
    yield Text(f"  {summary(tier)}")
    if tier.buffered:
        yield Text("  a hop in front buffers uploads: at every rate of a client they take it the same time")
    yield Text("  " + " " * 10 + "".join(f"{words.bit_rate(rate):>10}" for rate in table.rates), "dim")
    for size in table.sizes:
        row = Text(f"  {words.size(size):>10}")
        for upload in cells(tier, size):
            row.append(f"{WORDS[upload.survives]:>10}", _COLOURS[upload.survives])
        yield row


def in_front(tier: Replacement) -> str:
    return f"behind {', '.join(tier.behind)}" if tier.behind else "no given file has a hop in front"


def cells(tier: Replacement, size: int) -> list[Upload]:
    """The uploads of one size, by rate."""
    return [one for one in tier.uploads if one.size == size]


def summary(tier: Replacement) -> str:
    """How long a request has that is in flight when its instance begins to leave."""
    if tier.cut != NEVER:
        return f"a request in flight has {words.span(tier.cut)}" + (", or less" if tier.unknown else "")
    return "how long a request in flight has is unknown" if tier.unknown else "nothing cuts a request in flight"
