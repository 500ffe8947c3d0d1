"""A mount that serves its path without a final slash too.

Starlette's Mount redirects it with 307, which upload clients follow rarely, and never with a body that they cannot read
again. Refuses nothing that Starlette's Mount accepts.
"""

from __future__ import annotations

from starlette.routing import Match, Mount
from starlette.types import Scope


class UploadsMount(Mount):
    """Matches `/files` as it matches `/files/`."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        match, child = super().matches(scope)
        if match is not Match.NONE or scope["type"] != "http":
            return match, child
        return super().matches({**scope, "path": scope["path"] + "/"})
