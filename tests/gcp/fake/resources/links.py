"""Names of resources. The fake keeps each under its path from `projects/` on, and answers with Google's own URLs.

A client may send a whole URL of any host and version, or a partial one.
"""

from __future__ import annotations

import re
from typing import Any

HOST = "https://www.googleapis.com/compute/v1/"


def link(path: str) -> str:
    """The URL in an answer. Its host is Google's, whatever the client's endpoint is, as in recorded answers."""
    return HOST + path


def path_of(url: str, project: str) -> str:
    """`projects/p/zones/z/instances/i` of any of its URLs."""
    if found := re.search(r"projects/.+", url):
        return found[0]
    return f"projects/{project}/{url.lstrip('/')}"


def with_links(value: Any, project: str) -> Any:
    """A body whose references, whole or partial, are URLs as the API answers them."""
    match value:
        case dict():
            return {k: v if k in TEXTS else with_links(v, project) for k, v in value.items()}
        case list():
            return [with_links(each, project) for each in value]
        case str() if REFERENCE.fullmatch(value):
            return link(path_of(value, project))
    return value


TEXTS = frozenset({"value", "description", "requestPath", "machineType"})
"""Fields that name nothing, whatever they look like."""
REFERENCE = re.compile(
    r"(https?://[^/]+/(compute/)?[^/]+/)?(projects/[^/]+/)?(global|(zones|regions)/[^/]+)/[^/]+/[^/]+"
)


def name_of(url: str) -> str:
    return url.rsplit("/", 1)[-1]
