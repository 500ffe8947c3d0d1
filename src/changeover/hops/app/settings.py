"""The template of an application tier."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import Field

from changeover.model.stop import TemplateSettings


class AppSettings(TemplateSettings):
    """The example application, or any HTTP server that answers the same three control paths.

    Such a server must answer `GET /readyz` with 200 while the file `{lame_duck}` is absent, and `GET /inflight` with
    `{"requests": n, "connections": n, "uploads": [{"received", "expected", "seconds"}]}`, and finish its
    requests in flight on SIGTERM.
    """

    version: str = Field("", description="The version in the answer of `GET /hello`; empty: the name of the template.")
    command: tuple[str, ...] = Field(
        (),
        description="What to run instead of the example application. {host} {port} {name} {version} {shared} and "
        "{lame_duck} are replaced.",
    )
    env: Mapping[str, str] = Field({}, description="Environment variables added for the process.")
