"""The template of an application tier."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import Field

from changeover.model.config_model import ConfigModel
from changeover.model.stop import TemplateSettings


class InFlightSettings(ConfigModel):
    """An application that counts its own requests in flight."""

    path: str = Field(
        pattern=r"^/[!-~]*$",
        description='Answers GET with 200 and `{"requests": n}`; also `"connections": n` and `"uploads": '
        '[{"received", "expected", "seconds"}]` if it counts them. Not among them: requests to this path and to the '
        "path of its readiness.",
    )


class AppSettings(TemplateSettings):
    """The example application, or any HTTP server that answers `GET /readyz` with 200 while it can take traffic.

    Its drain ends when no router has a connection to it that may carry a request. With `in_flight` it also counts
    itself, which ends drains behind a pool of connections earlier. It must finish its requests in flight on SIGTERM.
    """

    version: str = Field("", description="The version in the answer of `GET /hello`; empty: the name of the template.")
    command: tuple[str, ...] = Field(
        (),
        description="What to run instead of the example application. {host} {port} {name} {version} {shared} and "
        "{lame_duck} are replaced.",
    )
    in_flight: InFlightSettings | None = Field(
        None,
        description="Where an application counts its own requests, such as `{path: /inflight}`. Checked before an "
        "instance is admitted. The highest count holds: its own, the kernel's, its routers'.",
    )
    env: Mapping[str, str] = Field({}, description="Environment variables added for the process.")
