"""What every part of a chain file has in common. Apart, since the parts are in several modules."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from ipaddress import IPv4Network
from typing import Annotated

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    PlainSerializer,
    SecretStr,
    SerializationInfo,
)

from changeover.model.instance import Address

STORED = "stored"
"""The context of a validation of what an earlier version accepted: rules that came later do not hold."""
REVEALED = "revealed"
"""The context of a dump that holds secrets. Any other dump, and every repr, hides them."""


def _dumped(secret: SecretStr, info: SerializationInfo) -> str:
    return secret.get_secret_value() if info.context == REVEALED else str(secret)


Secret = Annotated[SecretStr, PlainSerializer(_dumped)]
"""A text that may hold a password. No message, repr or dump shows it; its JSON schema says `writeOnly`."""
WRITE_ONLY: dict[str, JsonValue] = {"writeOnly": True}
"""`json_schema_extra` of a field whose value no message shows, though it is a plain text in the model."""

Headers = Mapping[
    Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]+$")],
    Annotated[str, Field(pattern=r"^[^\x00-\x1f\x7f]*$", json_schema_extra=WRITE_ONLY)],
]
"""HTTP headers, name to value, which may hold a token. Any other character would break the quoting of some software's
configuration."""


Name = Annotated[str, Field(pattern=r"^[a-z]([a-z0-9-]{0,29}[a-z0-9])?$")]
"""A name in a chain file: lower case, digits and inner dashes, as load balancers, hosts and file systems accept."""

TemplateName = Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9-]{0,29}[a-z0-9])?$")]
"""The same for a template, which may be named by a date. Its instances have the name of the tier before it."""


def _address(text: str) -> str:
    parts = Address.parse(text).host.split(".")
    if len(parts) != 4 or not all(part.isdigit() and int(part) < 256 for part in parts):
        raise ValueError("an IPv4 address is needed, such as 127.0.0.1:8443 (port 0: any free one)")
    return text


ListenAddress = Annotated[str, AfterValidator(_address)]
"""An IPv4 address with a port."""


TrustedPeers = tuple[
    Annotated[str, Field(examples=["10.0.0.0/8", "203.0.113.7"]), AfterValidator(lambda text: str(IPv4Network(text)))],
    ...,
]
"""IPv4 addresses and networks of proxies outside of the chain."""


def _plain_path(path: str) -> str:
    segments = path.split("/")[1:]
    if "" in segments[:-1] or "." in segments or ".." in segments:
        raise ValueError("servers compare paths without empty, `.` and `..` segments, so no request has this path")
    return path


RoutePath = Annotated[str, Field(pattern=r"^/[^\s{};?#%]*$", examples=["/", "/upload"]), AfterValidator(_plain_path)]
"""The path of a route as servers compare it: decoded, and without segments that a server resolves."""


def each_once(paths: Sequence[str]) -> None:
    """Raises ValueError where two routes have the same path: only one of them would be used."""
    if twice := sorted({path for path in paths if paths.count(path) > 1}):
        raise ValueError(f"two routes have the path {twice[0]}; each needs a path of its own")


class ConfigModel(BaseModel):
    """Base of everything in a chain file: frozen, and an unknown key is an error, never ignored."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class Branch(ConfigModel):
    """What every route has in common: the tier that it leads to."""

    to: Name | None = Field(
        None,
        description="The tier behind that gets these requests: one of the tier's `to`. By default its first, or the "
        "next tier of the list.",
    )
