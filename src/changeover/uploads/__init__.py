"""Uploads that any instance can continue: an ASGI library over shared storage. Exported here is its public face.

Each name is imported when it is first used (PEP 562). So the protocols can be imported without ASGI and Prometheus,
which the relay has no use for. Refuses to know anything of chains and rollouts: it is for every ASGI application.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from changeover.uploads.core.completion.completed import CompletedUpload
    from changeover.uploads.core.engine import NewUpload
    from changeover.uploads.core.errors import Forbidden, Rejected
    from changeover.uploads.core.events import UploadEvent
    from changeover.uploads.core.limits.limits import Limits
    from changeover.uploads.core.manifest import Response
    from changeover.uploads.server.asgi import Uploads
    from changeover.uploads.stores.files import FileStore

__all__ = [
    "CompletedUpload",
    "FileStore",
    "Forbidden",
    "Limits",
    "NewUpload",
    "Rejected",
    "Response",
    "UploadEvent",
    "Uploads",
]

_HOMES = {
    "CompletedUpload": "core.completion.completed",
    "FileStore": "stores.files",
    "Forbidden": "core.errors",
    "Limits": "core.limits.limits",
    "NewUpload": "core.engine",
    "Rejected": "core.errors",
    "Response": "core.manifest",
    "UploadEvent": "core.events",
    "Uploads": "server.asgi",
}

if not TYPE_CHECKING:  # a type checker that saw `__getattr__` would accept every name

    def __getattr__(name: str) -> object:
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        found: object = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
        globals()[name] = found
        return found

    def __dir__() -> list[str]:
        return sorted({*globals(), *_HOMES})
