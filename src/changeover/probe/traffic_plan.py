"""What the probe sends, and where. Refuses a plan that proves nothing."""

from __future__ import annotations

from dataclasses import dataclass, field
from urllib.parse import urlsplit

from pydantic import TypeAdapter, ValidationError

from changeover.model.errors import fail
from changeover.model.probe import Get, Post, ProbeSettings, Tls, Url
from changeover.probe.records.row import RequestKind

_URL: TypeAdapter[str] = TypeAdapter(Url)


@dataclass(frozen=True)
class TrafficPlan:
    """Traffic of one run: at least one GET or one upload."""

    url: str
    traffic: ProbeSettings
    tls: Tls = field(default_factory=Tls)

    def __post_init__(self) -> None:
        check_address(self.url)
        if urlsplit(self.url).query:
            raise fail(
                "the URL has a query, which no request would have", where=self.url, next="Move it into the paths."
            )
        if not self.gets and not self.posts:
            raise fail("the probe has neither a GET nor an upload to send: a run without requests proves nothing")

    @property
    def gets(self) -> tuple[Get, ...]:
        return self.traffic.get

    @property
    def posts(self) -> tuple[Post, ...]:
        return self.traffic.post

    @property
    def planned(self) -> tuple[RequestKind, ...]:
        """The kinds of request of which the run must have a success."""
        kinds: list[RequestKind] = []
        if self.gets:
            kinds.append("get")
        if self.posts:
            kinds.append("upload")
        if any(post.read_back for post in self.posts):
            kinds.append("readback")
        return tuple(kinds)


def check_address(url: str) -> None:
    """Raises ChangeoverError for what is no http:// or https:// address."""
    try:
        _URL.validate_python(url)
    except ValidationError:
        raise fail(f"{url!r} is not an http:// or https:// address", next="Give one with its scheme.") from None
