"""Which kong is here. It comes with Kong's own package, and from nowhere that this program could install it from."""

from __future__ import annotations

import shutil

from changeover.model.errors import fail

INSTALL = (
    "Install Kong Gateway 3.9 or newer from its package (https://developer.konghq.com/gateway/install/), or say "
    "`kind: envoy`, which needs nothing."
)


def find() -> str:
    """The kong on PATH or where its package puts it. Raises ChangeoverError."""
    path = shutil.which("kong") or shutil.which("kong", path="/usr/local/bin")
    if path is None:
        raise fail("kong, which a tier of kind kong runs, is not installed", next=INSTALL)
    return path
