"""The template of an application tier."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, ValidationInfo, model_validator

from changeover.model.config_model import STORED, ConfigModel, Secret
from changeover.model.process_settings import ProcessSettings, VariableName, Word, placeholders

PLACEHOLDERS = ("host", "port", "name", "version", "shared", "lame_duck", "folder", "socket")
_IN_STATE = {"shared", "lame_duck", "socket"}
"""In the state folder, which only the user who runs changeover can enter."""


def _known_placeholders(word: Secret, info: ValidationInfo) -> Secret:
    unknown = any(name not in PLACEHOLDERS for name in placeholders(word.get_secret_value()))
    if unknown and info.context != STORED:  # an earlier version left them as they are
        known = " ".join("{%s}" % name for name in PLACEHOLDERS)  # noqa: UP031
        # The text in braces may be a part of a password, so the message does not repeat it.
        raise ValueError(f"a placeholder does not exist. There are: {known}. Write {{{{text}}}} for {{text}} itself")
    return word


CommandWord = Annotated[Word, AfterValidator(_known_placeholders)]


class InFlightSettings(ConfigModel):
    """An application that counts its own requests in flight."""

    path: str = Field(
        pattern=r"^/[!-~]*$",
        description='Answers GET with 200 and `{"requests": n}`; also `"connections": n` and `"uploads": '
        '[{"received", "expected", "seconds"}]` if it counts them. Not among them: requests to this path and to the '
        "path of its readiness.",
    )


class AppSettings(ProcessSettings):
    """The example application, or any HTTP server that answers `GET /readyz` with 200 while it can take traffic.

    docs/app.md. Its drain ends when no router has a connection to it that may carry a request. With `in_flight` it also
    counts itself, which ends drains behind a pool of connections earlier. It must finish its requests in flight on
    SIGTERM.
    """

    version: str = Field("", description="The version in the answer of `GET /hello`; empty: the name of the template.")
    command: tuple[CommandWord, ...] = Field(
        (),
        description="What to run instead of the example application, in the foreground. {host} {port} {name} {version} "
        "{shared} {lame_duck} {folder} (of the chain file) and {socket} are replaced; `{{port}}` stands for `{port}`.",
    )
    listen: Literal["port", "unix", "inherited"] = Field(
        "port",
        description="How it listens: at `{host}` and `{port}`; `unix`: at the Unix socket `{socket}`; `inherited`: on "
        "descriptor 3, a socket that listens at that port already, as under systemd's socket activation "
        "(`LISTEN_FDS`).",
    )
    in_flight: InFlightSettings | None = Field(
        None,
        description="Where an application counts its own requests, such as `{path: /inflight}`. Checked before an "
        "instance is admitted. The highest count holds: its own, the kernel's, its routers'.",
    )
    env: Mapping[VariableName, CommandWord] = Field(
        {}, description="Environment variables. Placeholders are replaced as in `command`."
    )

    @model_validator(mode="after")
    def _command_listens_so(self) -> Self:
        if self.listen != "port" and not self.command:
            raise ValueError(f"the example application opens its own port: `listen: {self.listen}` needs a command")
        words = [*self.command, *self.env.values()]
        named = any("socket" in placeholders(word.get_secret_value()) for word in words)
        if self.listen == "unix" and not named:
            raise ValueError("`listen: unix` needs {socket} in the command or in `env`")
        if self.listen == "unix" and self.in_flight is not None:
            raise ValueError("`in_flight` is asked over TCP, and the application listens at a Unix socket")
        return self

    @model_validator(mode="after")
    def _user_can_enter(self) -> Self:
        words = [*self.command, *self.env.values()]
        used = {name for word in words for name in placeholders(word.get_secret_value())}
        if self.user and (not self.command or used & _IN_STATE):
            raise ValueError(
                f"user {self.user} cannot enter the state folder, where the example application, {{shared}}, "
                "{lame_duck} and {socket} have their files. Give a command without these placeholders"
            )
        return self
