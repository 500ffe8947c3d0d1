"""A line of `changeover logs`, as text or as JSON.

Text is safe for a terminal: what a server writes moves no cursor, changes no colours, and looks like no other line.
"""

from __future__ import annotations

import json
import zlib

from changeover.engine.hooks.output import plain
from changeover.kit.clock import utc
from changeover.logs.entries import Entry

WIDTH = 16
"""Columns of the name, as in the progress of `roll`."""
_NO_TIME = " " * len(utc(0))
_COLOURS = (32, 33, 34, 35, 36, 92, 94, 95, 96)
_RED, _DIM, _END = "\x1b[31m", "\x1b[2m", "\x1b[0m"


def as_line(entry: Entry) -> str:
    """One JSON object in one line."""
    return json.dumps(entry.data(), ensure_ascii=False) + "\n"


def as_text(entry: Entry, *, colours: bool) -> str:
    """`2026-11-29T06:44:19.123Z  runtime-v1-2      message`. The controller's lines name their subject."""
    time = _NO_TIME if entry.time is None else utc(entry.time)
    about = entry.instance or entry.tier
    indent = entry.message[: -len(entry.message.lstrip(" \t")) or None].expandtabs(4)
    message = indent + plain(entry.message)
    message = message.replace("\n", f"\n{_NO_TIME}  {'':<{WIDTH}} ")
    if about and about != entry.source:
        message = f"{about}: {message}"
    if not colours:
        return f"{time}  {entry.source:<{WIDTH}} {message}\n"
    colour = f"\x1b[{_COLOURS[zlib.crc32(entry.source.encode()) % len(_COLOURS)]}m"
    text = f"{_RED}{message}{_END}" if entry.level in ("warning", "error") else message
    return f"{_DIM}{time}{_END}  {colour}{entry.source:<{WIDTH}}{_END} {text}\n"
