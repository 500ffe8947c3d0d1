"""Uploads that any instance can continue: an ASGI library over shared storage. This is its public API.

docs/uploads_api.md describes every name. Each is imported at its first use (PEP 562): the relay imports the protocols
without ASGI and Prometheus, and an application without a bucket needs no `obstore`.

Refuses to know of chains and rollouts: it is for every ASGI application.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from changeover.uploads.core.completion.completed import CompletedUpload
    from changeover.uploads.core.completion.completion import Handler
    from changeover.uploads.core.engine import NewUpload, Validate
    from changeover.uploads.core.errors import (
        AlreadyComplete,
        BadRequest,
        Cancelled,
        ChecksumMismatch,
        ClientDisconnected,
        DigestMismatch,
        Forbidden,
        Interrupted,
        NotFound,
        Rejected,
        RetryLater,
        TooLarge,
        TooManyUploads,
        UploadError,
        WrongLength,
        WrongOffset,
    )
    from changeover.uploads.core.events import EventKind, EventListener, UploadEvent
    from changeover.uploads.core.limits.limits import Limits
    from changeover.uploads.core.manifest import Dialect, Response
    from changeover.uploads.core.timing import UploadTiming
    from changeover.uploads.dialects.cors import Cors
    from changeover.uploads.server.asgi import Authorise, Uploads
    from changeover.uploads.stores.files import FileStore
    from changeover.uploads.stores.objects import BucketSettings, GCSStore, ObjectStore, S3Store
    from changeover.uploads.stores.store import (
        RecordChanged,
        RecordMissing,
        RecordVersion,
        Segment,
        SegmentWriter,
        Store,
        StoreUnavailable,
    )

__all__ = [
    "AlreadyComplete",
    "Authorise",
    "BadRequest",
    "BucketSettings",
    "Cancelled",
    "ChecksumMismatch",
    "ClientDisconnected",
    "CompletedUpload",
    "Cors",
    "Dialect",
    "DigestMismatch",
    "EventKind",
    "EventListener",
    "FileStore",
    "Forbidden",
    "GCSStore",
    "Handler",
    "Interrupted",
    "Limits",
    "NewUpload",
    "NotFound",
    "ObjectStore",
    "RecordChanged",
    "RecordMissing",
    "RecordVersion",
    "Rejected",
    "Response",
    "RetryLater",
    "S3Store",
    "Segment",
    "SegmentWriter",
    "Store",
    "StoreUnavailable",
    "TooLarge",
    "TooManyUploads",
    "UploadError",
    "UploadEvent",
    "UploadTiming",
    "Uploads",
    "Validate",
    "WrongLength",
    "WrongOffset",
]

_HOMES = {
    "AlreadyComplete": "core.errors",
    "Authorise": "server.asgi",
    "BadRequest": "core.errors",
    "BucketSettings": "stores.objects",
    "Cancelled": "core.errors",
    "ChecksumMismatch": "core.errors",
    "ClientDisconnected": "core.errors",
    "CompletedUpload": "core.completion.completed",
    "Cors": "dialects.cors",
    "Dialect": "core.manifest",
    "DigestMismatch": "core.errors",
    "EventKind": "core.events",
    "EventListener": "core.events",
    "FileStore": "stores.files",
    "Forbidden": "core.errors",
    "GCSStore": "stores.objects",
    "Handler": "core.completion.completion",
    "Interrupted": "core.errors",
    "Limits": "core.limits.limits",
    "NewUpload": "core.engine",
    "NotFound": "core.errors",
    "ObjectStore": "stores.objects",
    "RecordChanged": "stores.store",
    "RecordMissing": "stores.store",
    "RecordVersion": "stores.store",
    "Rejected": "core.errors",
    "Response": "core.manifest",
    "RetryLater": "core.errors",
    "S3Store": "stores.objects",
    "Segment": "stores.store",
    "SegmentWriter": "stores.store",
    "Store": "stores.store",
    "StoreUnavailable": "stores.store",
    "TooLarge": "core.errors",
    "TooManyUploads": "core.errors",
    "UploadError": "core.errors",
    "UploadEvent": "core.events",
    "UploadTiming": "core.timing",
    "Uploads": "server.asgi",
    "Validate": "core.engine",
    "WrongLength": "core.errors",
    "WrongOffset": "core.errors",
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
