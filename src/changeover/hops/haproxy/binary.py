"""The installed HAProxy: on PATH, or in a folder that an ordinary user's PATH lacks. Refuses to look elsewhere."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

from changeover.model.software import Missing, refused

_HAPROXY = Missing("HAProxy is not installed, and a tier of this chain runs it", package="haproxy")


def missing() -> Iterator[Missing]:
    """HAProxy, where it is not installed."""
    if _path() is None:
        yield _HAPROXY


def find() -> str:
    """Its path. Raises ChangeoverError."""
    if (path := _path()) is None:
        raise refused([_HAPROXY])
    return path


def _path() -> str | None:
    return shutil.which("haproxy") or shutil.which("haproxy", path="/usr/sbin:/sbin:/usr/local/sbin")
