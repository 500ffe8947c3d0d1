"""How an instance of a command is run: working directory, environment, user and limits, as a template declares them.

Nothing here comes from the caller of a command unless the template says so. Refuses to read anything: the platform
looks up what is declared.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from changeover.model.config_model import ConfigModel, Secret
from changeover.model.stop import TemplateSettings

_RESERVED = "CHANGEOVER_"


def _variable(name: str) -> str:
    if name.startswith(_RESERVED):
        raise ValueError(f"names that begin with {_RESERVED} belong to changeover")
    return name


def _text(secret: Secret) -> Secret:
    if "\0" in secret.get_secret_value():
        raise ValueError("no program can get a NUL character")
    return secret


def _quoted(given: object) -> object:
    if isinstance(given, int | float):
        raise ValueError('write it in quotes, such as "027": without them YAML reads another number')
    return given


VariableName = Annotated[str, Field(pattern=r"^[^=\x00]+$"), AfterValidator(_variable)]
Word = Annotated[Secret, AfterValidator(_text)]
"""A value of the environment or a word of a command. It may hold a password, so that no message shows it."""


class SecretSource(ConfigModel):
    """Where a secret is read whenever an instance starts: a file, or the output of a command."""

    file: str = Field("", description="Its content, without the newline at its end; relative to the chain file.")
    command: tuple[Word, ...] = Field(
        (),
        description="Its standard output, without the newline at its end. It runs in the folder of the chain file with "
        "the environment of the instance, for 30 s at most. No shell runs it.",
    )

    @model_validator(mode="after")
    def _is_one_thing(self) -> Self:
        if bool(self.file) == bool(self.command):
            raise ValueError("a secret has a file or a command, exactly one of them")
        return self


class Limits(ConfigModel):
    """Limits of an instance's processes."""

    nofile: int | None = Field(
        None,
        ge=16,
        le=1 << 30,
        description="Open files. None: the limit of the command that starts it. Above its hard limit only as root.",
    )


class ProcessSettings(TemplateSettings):
    """The keys of templates that run a command of the user's own."""

    cwd: str = Field(
        "", description="Working directory; relative to the folder of the chain file, which is also the default."
    )
    env: Mapping[VariableName, Word] = Field({}, description="Environment variables.")
    env_file: str = Field(
        "",
        description="A file with lines `NAME=value`; relative to the chain file. It is read when a rollout begins, and "
        "its instances keep those values. `env` wins over it.",
    )
    pass_: tuple[VariableName, ...] = Field(
        (),
        alias="pass",
        description="Variables of the command that starts the template, `up` or `roll`. A later start of its instances "
        "gives them the same values. One that is not set is refused.",
    )
    secrets: Mapping[VariableName, SecretSource] = Field(
        {}, description="Variables that are read at each start: `{NAME: {file: PATH}}` or `{NAME: {command: [...]}}`."
    )
    umask: Annotated[str, Field(pattern=r"^0?[0-7]{3}$"), BeforeValidator(_quoted)] = Field(
        "022", description="Permissions that its new files do not have, in octal digits and in quotes."
    )
    user: str = Field(
        "", description="The user that it runs as. Needs root; the state folder with `{shared}` is closed to that user."
    )
    limits: Limits = Field(Limits(), description="`{nofile: 4096}`: how many files it may have open.")

    @model_validator(mode="after")
    def _each_name_has_one_source(self) -> Self:
        sources = (("env", self.env), ("pass", self.pass_), ("secrets", self.secrets))
        for number, (key, names) in enumerate(sources):
            for other, others in sources[number + 1 :]:
                if twice := sorted(set(names) & set(others)):
                    raise ValueError(f"{twice[0]} is in {key} and in {other}; a variable has one source")
        if len(set(self.pass_)) < len(self.pass_):
            raise ValueError("pass names a variable twice")
        return self


def placeholders(text: str) -> list[str]:
    """The names of the placeholders in a text, in order."""
    return [match["name"] for match in _PLACEHOLDER.finditer(text) if match["name"]]


def fill(text: str, known: Mapping[str, str]) -> str:
    """Replace `{name}` where `known` has the name, and `{{name}}` by `{name}`. Other braces stay."""
    return _PLACEHOLDER.sub(
        lambda match: "{" + match["literal"] + "}" if match["literal"] else known.get(match["name"], match[0]), text
    )


_PLACEHOLDER = re.compile(r"\{\{(?P<literal>\w+)\}\}|\{(?P<name>\w+)\}")
