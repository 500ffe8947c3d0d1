"""Stores in the bucket of a service of `buckets`, for processes that must not wait for the import of moto."""

from __future__ import annotations

import json
import secrets
from datetime import timedelta
from typing import Any

from changeover.uploads.stores.objects import BucketSettings, GCSStore, ObjectStore, S3Store

BUCKET = "uploads"

SOON: Any = {
    "settings": BucketSettings(put_pause=0),
    "retry_config": {
        "max_retries": 1,
        "backoff": {"init_backoff": timedelta(milliseconds=1), "max_backoff": timedelta(milliseconds=2), "base": 2},
    },
}
"""For stores that are to give up at once."""


def s3_store(url: str, prefix: str = "", **options: Any) -> ObjectStore:
    """A store in the bucket of that service; without a `prefix`, in a folder of its own."""
    return S3Store(
        BUCKET,
        prefix or secrets.token_hex(8),
        endpoint=url,
        region="us-east-1",
        access_key_id="nobody",
        secret_access_key="nothing",
        **_allowing_http(options),
    )


def gcs_store(url: str, prefix: str = "", **options: Any) -> ObjectStore:
    """The same in Google's. The key says that there are no credentials, so that none are looked for in the cloud."""
    key = {
        "gcs_base_url": url,
        "disable_oauth": True,
        "client_email": "",
        "private_key": "",
        "private_key_id": "",
    }
    return GCSStore(
        BUCKET, prefix or secrets.token_hex(8), service_account_key=json.dumps(key), **_allowing_http(options)
    )


def _allowing_http(options: dict[str, Any]) -> dict[str, Any]:
    return {**options, "client_options": {"allow_http": True, **options.get("client_options", {})}}
