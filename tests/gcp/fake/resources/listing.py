"""Lists: filter, pages and their tokens."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping

from tests.gcp.fake.wire.errors import ApiError, Json, invalid

MOST = 500
"""maxResults: "Acceptable values are 0 to 500, inclusive. (Default: 500)"."""


def page(items: Iterable[Json], query: Mapping[str, str], field: str = "items", most: int = MOST) -> Json:
    """The fields of one page of a list."""
    found = [item for item in items if selected(query.get("filter", ""))(item)]
    size = int(query.get("maxResults", most)) or most
    if not 0 <= size <= most:
        raise invalid("maxResults", size, f"Acceptable values are 0 to {most}, inclusive.")
    token = query.get("pageToken", "0")
    if not token.isdecimal():
        raise invalid("pageToken", token, "The page token is not valid.")
    start = int(token)
    result: Json = {field: found[start : start + size]} if found else {}
    if start + size < len(found):
        result["nextPageToken"] = str(start + size)
    return result


def selected(text: str) -> Callable[[Json], bool]:
    """The filter `FIELD = VALUE`, `FIELD != VALUE` or `FIELD eq REGEX`, joined by AND. Refuses others: 501."""
    terms = []
    for part in re.split(r"\s+AND\s+", text.strip().strip("()")) if text.strip() else []:
        found = re.fullmatch(r"\(?([\w.]+)\s*(=|!=|\beq\b|\bne\b)\s*\"?'?(.*?)'?\"?\)?", part.strip())
        if found is None:
            raise ApiError(501, "notImplemented", f"fake: filter {text!r} is not understood")
        terms.append(found.groups())
    return lambda item: all(_holds(item, *term) for term in terms)


def _holds(item: Json, field: str, operator: str, value: str) -> bool:
    found: object = item
    for name in field.split("."):
        found = found.get(name) if isinstance(found, dict) else None
    match operator:
        case "=":
            return str(found) == value
        case "!=":
            return str(found) != value
        case "eq":
            return re.fullmatch(value, str(found)) is not None
        case _:
            return re.fullmatch(value, str(found)) is None
