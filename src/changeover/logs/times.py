"""The time that a line of a log names, whichever software wrote it.

It reads ISO 8601 and RFC 3339, the forms of nginx, Envoy, Go and Python, the access log of web servers, and Unix times
of JSON lines. A time without a zone is local time. Refuses a time that names no year, such as that of classic syslog.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone

HEAD = 160
"""Characters of a line that are searched. A time that stands later is part of the message."""
_DATED = re.compile(
    r"(?<!\d)(\d{4})([-/])(\d\d)\2(\d\d)[T ](\d\d):(\d\d):(\d\d)(?:[.,](\d{1,9}))?(?: ?(Z|[+-]\d\d:?\d\d)(?!\d))?",
    re.ASCII,
)
_ACCESS = re.compile(r"\[(\d\d)/([A-Z][a-z]{2})/(\d{4}):(\d\d):(\d\d):(\d\d) ([+-]\d{4})\]", re.ASCII)
_UNIX = re.compile(r'"@?(?:ts|time|timestamp)": ?(\d{10}(?:\d{3}){0,3})(?:\.(\d{1,9}))?(?![\d.eE])', re.ASCII)
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def time_of(line: str) -> float | None:
    """Seconds since the epoch; None where the line names no time that can be read."""
    head = line[:HEAD]
    try:
        if found := _DATED.search(head):
            year, _, month, day, hour, minute, second, fraction, zone = found.groups()
            at = _seconds((year, month, day, hour, minute, second), zone)
            return at + float(f"0.{fraction or 0}")
        if found := _ACCESS.search(head):
            day, month, year, hour, minute, second, zone = found.groups()
            return _seconds((year, str(_MONTHS.index(month) + 1), day, hour, minute, second), zone)
        if found := _UNIX.search(head):
            digits, fraction = found.groups()
            return (int(digits) + float(f"0.{fraction or 0}")) / float(f"1e{len(digits) - 10}")
    except (ValueError, OverflowError, OSError):  # the 31st of February, or a year that no clock shows
        pass
    return None


def _seconds(fields: tuple[str, ...], zone: str | None) -> float:
    year, month, day, hour, minute, second = map(int, fields)
    return datetime(year, month, day, hour, minute, min(second, 59), tzinfo=_zone(zone)).timestamp()  # noqa: DTZ001


def _zone(text: str | None) -> timezone | None:
    if text is None:
        return None
    if text == "Z":
        return UTC
    digits = text.replace(":", "")
    offset = timedelta(hours=int(digits[1:3]), minutes=int(digits[3:5]))
    return timezone(-offset if digits[0] == "-" else offset)
