"""Where the Compute API is, and which credentials go there.

Refuses plain http to anything but loopback, and never sends credentials over plain http: a fake on this machine needs
none, and a token that is sent in the clear is lost.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

from changeover.model.errors import fail
from changeover.model.platform import PlatformSettings

OVERRIDE = "CLOUDSDK_API_ENDPOINT_OVERRIDES_COMPUTE"
"""The variable by which gcloud is given another address: `http://127.0.0.1:8080/compute/v1/`."""
GOOGLE = "https://compute.googleapis.com"
_SCOPES = ("https://www.googleapis.com/auth/cloud-platform",)


@dataclass(frozen=True)
class Endpoint:
    """Scheme and host. The scheme must be given to the client: without one it takes https."""

    url: str
    with_credentials: bool


def endpoint_of(settings: PlatformSettings, environment: Mapping[str, str] = os.environ) -> Endpoint:
    """The chain file's address, else gcloud's, else Google's. Raises ChangeoverError."""
    where = "platform.endpoint" if settings.endpoint else OVERRIDE
    given = settings.endpoint or environment.get(OVERRIDE, "") or GOOGLE
    parts = urlsplit(given)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise fail(f"{given} is no address of the Compute API", where=where, next="Name one such as https://HOST.")
    if parts.path.rstrip("/") not in ("", "/compute/v1"):
        raise fail(
            f"{given} is not the address of version 1 of the Compute API",
            where=where,
            next="End the address with the host, or with /compute/v1/.",
        )
    if parts.scheme == "http" and not _is_loopback(parts.hostname):
        raise fail(
            f"{given} is plain http: credentials would be sent in the clear",
            where=where,
            state="Nothing was sent.",
            next="Name an https address. Plain http is for loopback alone.",
        )
    return Endpoint(f"{parts.scheme}://{parts.netloc}", with_credentials=parts.scheme == "https")


def credentials_for(endpoint: Endpoint, impersonate: str | None) -> Any:
    """Application Default Credentials, or those of the service account to act as. Raises ChangeoverError."""
    import google.auth
    from google.auth import impersonated_credentials
    from google.auth.credentials import AnonymousCredentials
    from google.auth.exceptions import DefaultCredentialsError

    if not endpoint.with_credentials:
        return AnonymousCredentials()  # type: ignore[no-untyped-call]
    try:
        own, _ = google.auth.default(scopes=_SCOPES)
    except DefaultCredentialsError as error:
        raise fail(
            f"there are no credentials for Google Cloud: {str(error).partition('.')[0]}",
            state="Nothing was sent.",
            next="Run `gcloud auth application-default login`, or run on a VM that has a service account.",
        ) from error
    if impersonate is None:
        return own
    return impersonated_credentials.Credentials(  # type: ignore[no-untyped-call]
        source_credentials=own, target_principal=impersonate, target_scopes=list(_SCOPES)
    )


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
