"""Where kong is installed. Only Kong's own package provides it, so this program cannot install it."""

from __future__ import annotations

import shutil

from changeover.model.errors import fail

INSTALL = (
    "Install Kong Gateway 3.9 or newer from its package (https://developer.konghq.com/gateway/install/), or use "
    "`kind: envoy` instead."
)


def find() -> str:
    """The kong on PATH or where its package puts it. Raises ChangeoverError."""
    path = shutil.which("kong") or shutil.which("kong", path="/usr/local/bin")
    if path is None:
        raise fail("a tier of kind kong needs the program kong, which is not installed", next=INSTALL)
    return path
