"""`router` of a tier that stands behind a Kong outside of the chain. Every default has its reason beside it."""

from __future__ import annotations

import re
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field

from changeover.model.config_model import WRITE_ONLY
from changeover.model.router import RouterSettings
from changeover.model.units import Seconds

PROPAGATION = 10.0
"""Seconds after which every node of a Kong cluster uses a change, by Kong's defaults: `db_update_frequency` and
`worker_state_update_frequency`, 5 s each. 4.7 s were measured."""


def _admin_url(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("an address such as http://10.0.0.7:8001 is needed")
    if parts.username or parts.password:
        raise ValueError(
            "a password here would appear in messages. Put it into an environment variable, and name that by token_env"
        )
    if parts.query or parts.fragment:
        raise ValueError("an address without ? and # is needed")
    _ = parts.port  # raises ValueError when it is none
    return text.rstrip("/")


def _upstream_name(text: str) -> str:
    """As Kong takes it: a service sends to an upstream by naming it as its host."""
    if re.fullmatch(r"[0-9.]+", text):
        raise ValueError("Kong takes this for an IP address, which cannot be the name of an upstream")
    if not all(re.fullmatch(r"[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?", label) for label in text.split(".")):
        raise ValueError(
            "a name like that of a host is needed: letters, digits, underscores and inner dashes, in parts between dots"
        )
    return text


File = Annotated[str, Field(pattern="^/", examples=["/etc/changeover/kong-ca.pem"])]
"""A file, from the root: the keeper has another working directory than the operator."""


class ExternalKong(RouterSettings):
    """A Kong in front of this tier that the chain does not start: docs/kong.md."""

    kind: Literal["kong"] = Field(description="The software.")
    admin: tuple[Annotated[str, AfterValidator(_admin_url)], ...] = Field(
        min_length=1,
        repr=False,
        json_schema_extra=WRITE_ONLY,
        description="The Admin API of every node: a change is confirmed when each node itself reports it.",
    )
    upstream: Annotated[str, AfterValidator(_upstream_name)] | None = Field(
        None, description="The name of its upstream, like a host name. Default: the tier's name."
    )
    request_buffering: bool = Field(
        True,
        description="Whether any of its routes to this tier buffers uploads, as Kong does by default. Each instance "
        "that leaves is then held for its `drain.deadline`, since no counter shows the bodies that Kong has yet to "
        "hand on to it. `false` is quicker, and right where every such route has `request_buffering: false`.",
    )
    propagation: Seconds | None = Field(
        None,
        ge=0,
        description="Time until all nodes of a cluster with a database use a change, where `admin` does not name each "
        "of them. Default: 10s for one address (`db_update_frequency` and `worker_state_update_frequency`, 5 s "
        "each), none for several.",
    )
    document: File | None = Field(
        None,
        description="Of a Kong without a database: the file that holds its configuration, such as `changeover render "
        "kong` writes. Each change replaces the whole configuration by this, with the targets of this tier filled in.",
    )
    token_env: str | None = Field(
        None,
        pattern=r"^[A-Za-z_][A-Za-z0-9_]*$",
        description="Environment variable that holds the token of the Admin API. The keeper gets it from `up`.",
    )
    token_header: str = Field(
        "Kong-Admin-Token", pattern=r"^[A-Za-z0-9-]+$", description="Header in which the token goes."
    )
    ca: File | None = Field(None, description="Certificate authority of the Admin API, PEM; else the system's.")
    certificate: File | None = Field(None, description="Client certificate for it, PEM.")
    key: File | None = Field(None, description="Its key, PEM, where that is not in the same file.")

    @property
    def propagation_seconds(self) -> float:
        """From when the listed nodes of a cluster with a database have a change until all nodes have it."""
        if self.propagation is not None:
            return self.propagation
        return PROPAGATION if len(self.admin) == 1 else 0.0
