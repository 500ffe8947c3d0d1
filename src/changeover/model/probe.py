"""What a probe sends and how a response proves itself: the `probe` block of a chain file, and all of a probe.yaml.

Pure data with its rules. `probe/` sends it. Refuses traffic that its author did not write: nothing has a default that
sends a request, except that a probe.yaml without `get` and `post` requests its own URL.
"""

from __future__ import annotations

import re
import string
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, ByteSize, Field, WithJsonSchema, model_validator

from changeover.model.config_model import ConfigModel, Headers
from changeover.model.units import Bytes, Seconds

DEFAULT_RATE = 50.0
"""GETs per second: a gap of 100 ms loses some of them, and a small server serves them without effort."""

RequestPath = Annotated[str, Field(pattern=r"^/[!-\"$-~]*$", examples=["/", "/search?q=shoes"])]
"""A path with its query, as it stands in the request line: printable ASCII without spaces and `#`."""


def _as_list(value: Any) -> Any:
    return (value,) if isinstance(value, int) and not isinstance(value, bool) else value


Statuses = Annotated[
    tuple[Annotated[int, Field(ge=200, le=599)], ...],
    BeforeValidator(_as_list),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "integer"},
                {"type": "array", "items": {"type": "integer", "minimum": 200, "maximum": 599}},
            ]
        }
    ),
]
"""One status or several."""

FRAMING = frozenset({"content-length", "transfer-encoding", "connection", "expect", "upgrade"})
"""Headers that no chain file gives, because they decide where a request and its response end."""


def _sendable(headers: Headers) -> Headers:
    for name, value in headers.items():
        if name.lower() in FRAMING:
            raise ValueError(f"the program sets the header {name} itself")
        if not re.fullmatch(r"([!-~]([ -~]*[!-~])?)?", value):
            raise ValueError(f"the value of {name} needs printable ASCII, without spaces around it")
    return headers


RequestHeaders = Annotated[Headers, AfterValidator(_sendable)]

_STATUS = "Statuses of a correct response, one or a list. Empty: any 2xx."
_HEADERS = "Headers of the request, name to value."


def _regular(text: str) -> str:
    try:
        re.compile(text)
    except re.error as error:
        raise ValueError(f"this is not a regular expression: {error}") from error
    return text


Pattern = Annotated[str, AfterValidator(_regular)]


class Get(ConfigModel):
    """A GET that the probe repeats, and what a correct response holds."""

    path: RequestPath = Field(description="Path and query, after the path of the URL.")
    weight: int = Field(1, ge=1, le=1000, description="Share of the GETs, relative to the weights of the others.")
    headers: RequestHeaders = Field({}, description=_HEADERS)
    status: Statuses = Field((), description=_STATUS)
    text: str = Field("", description="Text that the body must contain. A response without it is corrupted.")
    fields: Mapping[str, str] = Field(
        {},
        description="Fields of a JSON body, by dotted name, and their values. `{instance}` and `{version}` stand for "
        "the values of the headers of the same response. Another value is corruption.",
    )
    sha256: str = Field(
        "", pattern=r"^([0-9a-f]{64})?$", description="SHA-256 of the body, in hex. Other bytes are corruption."
    )


class AnswerDigest(ConfigModel):
    """Where the response to an upload names the digest of the bytes that the server received."""

    field: str = Field("", description="Field of the JSON response, by dotted name, such as `sha256` or `file.hash`.")
    header: str = Field("", pattern=r"^[A-Za-z0-9_-]*$", description="Header of the response, such as `Repr-Digest`.")
    algorithm: Literal["sha256", "sha512", "sha1", "md5"] = Field(
        "sha256", description="Algorithm of the digest, which may be in hex or base64, or as `sha-256=:...:`."
    )

    @model_validator(mode="after")
    def _has_one_place(self) -> Self:
        if bool(self.field) is bool(self.header):
            raise ValueError("a digest is either in a `field` of the JSON response or in a `header`: give one of them")
        return self


class Copies(ConfigModel):
    """How to count the copies of an upload that the server holds."""

    path: RequestPath = Field(description="Path of a JSON document that lists them; placeholders as in `read_back`.")
    field: str = Field(description="Its field with the list of copies, or with their number. More than 1: duplicated.")
    id: str = Field("", description="Field of the upload's response whose value the only item of the list must have.")


class Post(ConfigModel):
    """An upload that the probe repeats, and how the server proves that it has received it."""

    path: RequestPath = Field(description="Path and query. `{ref}` stands for a name that is new for every upload.")
    method: Literal["POST", "PUT", "PATCH"] = Field("POST", description="Method of the request.")
    body: Bytes = Field(ByteSize(50_000_000), ge=1, description="Size of the content.")
    time: Seconds = Field(
        14.0,
        gt=0,
        description="Time to send one body, evenly, as a slow client does. After a lost upload the next one starts "
        "when this time is over.",
    )
    concurrent: int = Field(1, ge=1, le=1000, description="Uploads in flight at any time.")
    form: str = Field(
        "",
        pattern=r"^[A-Za-z0-9_.-]*$",
        description="Multipart form field that holds the content. Empty: raw body.",
    )
    chunked: Literal["never", "always", "alternate"] = Field(
        "never", description="Whether bodies go out chunked, without Content-Length."
    )
    headers: RequestHeaders = Field({}, description=_HEADERS + " `{ref}` as in `path`.")
    status: Statuses = Field((), description=_STATUS)
    digest: AnswerDigest | None = Field(None, description="The digest in the response that proves the receipt.")
    read_back: str = Field(
        "",
        description="Path that returns the uploaded bytes. Placeholders: `{ref}`; `{location}`, the header Location of "
        "the response; any other name is a field of the JSON response, such as `/files/{id}`. The probe reads "
        "from another instance than the one that answered, where responses name their instance.",
    )
    copies: Copies | None = Field(None, description="How to count copies. None: duplicates are not detected.")

    @property
    def proved(self) -> bool:
        """Whether a success proves that the server received the bytes."""
        return self.digest is not None or bool(self.read_back)

    @model_validator(mode="after")
    def _templates_are_right(self) -> Self:
        for text in (self.read_back, self.copies.path if self.copies else ""):
            placeholders(text)
        if self.read_back and not self.read_back.startswith(("/", "{location}")):
            raise ValueError("read_back begins with `/` or `{location}`")
        return self


def placeholders(template: str) -> tuple[str, ...]:
    """The names in braces. Raises ValueError where the template cannot be filled."""
    names = [name for _, name, _, _ in string.Formatter().parse(template) if name is not None]
    if wrong := [name for name in names if not re.fullmatch(r"[\w.-]+", name)]:
        raise ValueError(f"{{{wrong[0]}}} in {template} is not the name of a placeholder")
    return tuple(names)


class ProbeSettings(ConfigModel):
    """The traffic of a probe."""

    get: tuple[Get, ...] = Field((), description="GETs, sent on one schedule that slow responses do not delay.")
    post: tuple[Post, ...] = Field((), description="Uploads, each sent by its own number of slow clients.")
    rate: float = Field(DEFAULT_RATE, gt=0, le=100_000, description="GETs per second, of all paths together.")
    connections: int = Field(
        16,
        ge=1,
        le=10_000,
        description="Keep-alive connections that share the GETs. A GET waits while all are busy; its latency includes "
        "the wait.",
    )
    fresh_share: float = Field(
        0.1, ge=0, le=1, description="Share of the GETs that open a new connection, as first-time visitors do."
    )
    timeout: Seconds = Field(
        30.0,
        gt=0,
        description="A GET without a response this long after it was due is lost. So is an upload or a read-back "
        "without progress for this long.",
    )
    headers: RequestHeaders = Field({}, description="Headers of every request.")
    version_header: str = Field(
        "X-Changeover-Version", pattern=r"^[A-Za-z0-9_-]+$", description="Response header that names the version."
    )
    version_pattern: Pattern = Field(
        "",
        description="Regular expression that finds the version in the first megabyte of a body: its first group, or "
        "the whole match. Empty: the header names it.",
    )
    instance_header: str = Field(
        "X-Changeover-Instance", pattern=r"^[A-Za-z0-9_-]+$", description="Response header that names the instance."
    )


class Tls(ConfigModel):
    """How the probe verifies the server, and how it identifies itself."""

    ca: str = Field("", description="File with the CA that signed the server's certificate. Empty: the system's CAs.")
    insecure: bool = Field(False, description="Accept any certificate.")
    server_name: str = Field("", description="Name to request and verify, where it is not the host of the URL.")
    certificate: str = Field("", description="File with the client's certificate, and the chain above it.")
    key: str = Field("", description="File with its private key. Empty: it is in the file of the certificate.")

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.insecure and self.ca:
            raise ValueError("`insecure` accepts any certificate, so `ca` would have no effect: give one of them")
        if self.key and not self.certificate:
            raise ValueError("`key` belongs to a `certificate`, and none is given")
        return self


def _address(url: str) -> str:
    try:
        parts = urlsplit(url)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # the port is not a number or is too large
        good = False
    if not good or parts.fragment or parts.username is not None or not re.fullmatch(r"[!-~]+", url):
        raise ValueError("this is not an http:// or https:// address of a server")
    return url


Url = Annotated[str, AfterValidator(_address)]


class ProbeFile(ProbeSettings):
    """A probe.yaml: the traffic for one URL."""

    url: Url = Field(description="Address of the server. Its path is put in front of every other path.")
    tls: Tls = Field(Tls(), description="TLS settings of an https:// address.")
