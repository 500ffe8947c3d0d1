"""Where kong is installed. Only Kong's own package provides it, so this program cannot install it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

from changeover.model.software import Missing, refused

_INSTALL = (
    "Install Kong Gateway 3.9 or newer from its package (https://developer.konghq.com/gateway/install/), or use "
    "`kind: envoy` instead."
)


def missing() -> Iterator[Missing]:
    """Kong, where it is not installed."""
    if _path() is None:
        yield Missing("a tier of kind kong needs the program kong, which is not installed", next=_INSTALL)


def find() -> str:
    """The kong on PATH or where its package puts it. Raises ChangeoverError."""
    if (path := _path()) is None:
        raise refused(list(missing()))
    return path


def _path() -> str | None:
    return shutil.which("kong") or shutil.which("kong", path="/usr/local/bin")
