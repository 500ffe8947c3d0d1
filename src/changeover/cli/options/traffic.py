"""Options that describe the traffic of a probe, and the traffic that they come to.

Options change what a chain file, a probe.yaml or nothing at all has set before. Refuses an option without effect.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar
from urllib.parse import urlsplit

import typer
from pydantic import BaseModel, ValidationError

from changeover.cli.options.values import seconds, size
from changeover.model.errors import ChangeoverError, Problem, fail
from changeover.model.probe import AnswerDigest, Get, Post, ProbeSettings
from changeover.model.units import human_seconds

Made = TypeVar("Made", bound=BaseModel)

GetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--get",
        metavar="PATH",
        help="Path to GET; repeatable. After it, in the same word: weight=3 status=200,204 text=Welcome "
        "header=Name:value field=NAME:value sha256=HEX.",
    ),
]
PostOption = Annotated[
    list[str] | None,
    typer.Option("--post", metavar="PATH", help="Path to upload to; repeatable. {ref}: a new name for each upload."),
]
OwnRateOption = Annotated[
    float | None,
    typer.Option("--rate", min=0, help="GETs per second, on schedule; 0: none. Default: 50, for the example 300."),
]
OwnConnectionsOption = Annotated[
    int | None, typer.Option("--connections", min=1, help="Keep-alive connections for the GETs. Default: 16.")
]
OwnUploadsOption = Annotated[
    int | None,
    typer.Option("--uploads", min=0, help="Uploads in flight at any time, of each --post; 0: none. Default: 1."),
]
BodyOption = Annotated[
    float | None,
    typer.Option("--body", "--upload-size", parser=size, metavar="SIZE", help="Size of one upload. Default: 50MB."),
]
OwnTimeOption = Annotated[
    float | None,
    typer.Option("--upload-time", parser=seconds, metavar="TIME", help="Time to send one upload. Default: 14s."),
]
MethodOption = Annotated[str, typer.Option("--method", help="Method of the uploads: POST, PUT or PATCH.")]
FormOption = Annotated[
    str,
    typer.Option("--form", metavar="FIELD", help="Send uploads as this field of a multipart form, not as raw body."),
]
DigestOption = Annotated[
    str,
    typer.Option(
        "--digest",
        metavar="PLACE",
        help="Digest in the response that proves the receipt: field=NAME of its JSON, or header=NAME; "
        "algorithm=sha256, sha512, sha1 or md5.",
    ),
]
ReadBackOption = Annotated[
    str,
    typer.Option(
        "--read-back",
        metavar="PATH",
        help="Path that returns the upload: {location}, or such as /files/{id} with a field of the JSON response.",
    ),
]
HeaderOption = Annotated[
    list[str] | None, typer.Option("--header", metavar="NAME:VALUE", help="Header of every request; repeatable.")
]
TimeoutOption = Annotated[
    float | None,
    typer.Option("--timeout", parser=seconds, metavar="TIME", help="A later response counts as lost. Default: 30s."),
]
VersionHeaderOption = Annotated[
    str,
    typer.Option("--version-header", metavar="NAME", help="Response header with the version. X-Changeover-Version."),
]
VersionPatternOption = Annotated[
    str,
    typer.Option(
        "--version-pattern", metavar="REGEX", help="Regular expression that finds the version in bodies: its group."
    ),
]


@dataclass(frozen=True)
class TrafficOptions:
    """The options of a command line. None and empty: not given."""

    get: Sequence[str] = ()
    post: Sequence[str] = ()
    rate: float | None = None
    connections: int | None = None
    timeout: float | None = None
    headers: Sequence[str] = ()
    uploads: int | None = None
    body: float | None = None
    upload_time: float | None = None
    method: str = ""
    form: str = ""
    digest: str = ""
    read_back: str = ""
    version_header: str = ""
    version_pattern: str = ""


def applied(options: TrafficOptions, base: ProbeSettings, url: str = "") -> tuple[ProbeSettings, str]:
    """The traffic, and the URL that its paths belong to. Without any path the URL's own page is requested.

    Raises ChangeoverError for an option that is wrong or has no effect.
    """
    gets, posts = base.get, base.post
    if options.get or options.post:
        gets = tuple(_get(words) for words in options.get)
        posts = tuple(_made(Post, f"--post {path}", {"path": path}) for path in options.post)
    if not gets and not posts and url:
        parts = urlsplit(url)
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        gets, url = (_made(Get, url, {"path": path}),), f"{parts.scheme}://{parts.netloc}"
    if options.rate == 0:
        gets = ()
    posts = () if options.uploads == 0 else tuple(_changed(options, post) for post in posts)
    if not posts and (unused := _upload_options(options)):
        raise fail(f"{unused[0]} has no effect, because no upload is sent", next="Add --post PATH.")
    changes: dict[str, Any] = {
        "get": gets,
        "post": posts,
        "rate": options.rate or base.rate,
        "connections": options.connections or base.connections,
        "timeout": human_seconds(base.timeout if options.timeout is None else options.timeout),
        "headers": {**base.headers, **_pairs("--header", options.headers)},
        "version_header": options.version_header or base.version_header,
        "version_pattern": options.version_pattern or base.version_pattern,
    }
    return _made(ProbeSettings, "the options", _plain(ProbeSettings, base, changes)), url


def _changed(options: TrafficOptions, post: Post) -> Post:
    changes: dict[str, Any] = {}
    if options.uploads is not None:
        changes["concurrent"] = options.uploads
    if options.body is not None:
        changes["body"] = int(options.body)
    if options.upload_time is not None:
        changes["time"] = human_seconds(options.upload_time)
    if options.method:
        changes["method"] = options.method.upper()
    if options.form:
        changes["form"] = options.form
    if options.digest:
        given = _keys("--digest", shlex.split(options.digest), ("field", "header", "algorithm"))
        changes["digest"] = _made(AnswerDigest, f"--digest {options.digest}", dict(given))
    if options.read_back:
        changes["read_back"] = options.read_back
    return _made(Post, f"--post {post.path}", _plain(Post, post, changes)) if changes else post


def _upload_options(options: TrafficOptions) -> list[str]:
    given = {
        "--body": options.body,
        "--upload-time": options.upload_time,
        "--method": options.method or None,
        "--form": options.form or None,
        "--digest": options.digest or None,
        "--read-back": options.read_back or None,
    }
    return [] if options.uploads == 0 else [name for name, value in given.items() if value is not None]


def _get(text: str) -> Get:
    """`/shop weight=3 status=200,204 text="Add to cart"`."""
    option = f"--get {text}"
    try:
        path, *words = shlex.split(text)
    except ValueError as error:
        raise fail(f"{option} cannot be read: {error}", next="It begins with a path, such as --get /shop.") from error
    found: dict[str, Any] = {"path": path}
    pairs: dict[str, list[str]] = {"header": [], "field": []}
    for key, value in _keys(option, words, ("weight", "status", "text", "header", "field", "sha256")):
        if key in pairs:
            pairs[key].append(value)
        elif key == "status":
            found[key] = tuple(value.split(","))
        else:
            found[key] = value
    found |= {"headers": _pairs(option, pairs["header"]), "fields": _pairs(option, pairs["field"])}
    return _made(Get, option, found)


def _keys(option: str, words: Sequence[str], known: Sequence[str]) -> list[tuple[str, str]]:
    found = []
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or key not in known:
            raise fail(f"{option}: {word} is none of {', '.join(f'{one}=' for one in known)}")
        found.append((key, value))
    return found


def _pairs(option: str, words: Sequence[str]) -> dict[str, str]:
    found = {}
    for word in words:
        name, colon, value = word.partition(":")
        if not colon:
            raise fail(f"{option}: {word} is not NAME:VALUE")
        found[name.strip()] = value.strip()
    return found


def _plain(kind: type[BaseModel], base: BaseModel, changes: Mapping[str, Any]) -> dict[str, Any]:
    """The values of `base` for such a model, with `changes`, to be checked together."""
    return {**base.model_dump(mode="json", include=set(kind.model_fields)), **changes}


def _made(kind: type[Made], option: str, values: Mapping[str, Any]) -> Made:
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        problems = []
        for one in error.errors(include_url=False):
            key = ".".join(map(str, one["loc"]))
            what = one["msg"].removeprefix("Value error, ")
            problems.append(Problem(f"{option}: {key}: {what}" if key else f"{option}: {what}"))
        raise ChangeoverError(*problems) from error
