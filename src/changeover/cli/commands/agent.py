"""`changeover agent`: readiness, lame duck and counts of a tier's software on a machine without a controller.

The command checks the configuration and becomes the process `changeover.agent`, which has no room for its imports.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml
from pydantic import ValidationError

from changeover.agent.config import CONFIG
from changeover.agent.settings import AgentFile
from changeover.cli.frame import errors_as_exit_codes
from changeover.cli.rendering.output import Output
from changeover.hops.questions import KINDS
from changeover.model.chainfile import read_as
from changeover.model.errors import ChangeoverError, Problem, fail


def agent(
    config: Annotated[
        Path | None, typer.Option(metavar="FILE", help="agent.yaml; docs/agent.md lists its keys. Without it: options.")
    ] = None,
    kind: Annotated[str | None, typer.Option(help=f"The software: {', '.join(KINDS)}.")] = None,
    name: Annotated[str | None, typer.Option(help="In answers. Default: the name of the machine.")] = None,
    port: Annotated[int | None, typer.Option(help="Where it serves requests.")] = None,
    host: Annotated[str | None, typer.Option(help="The address there. Default: every address of the machine.")] = None,
    control: Annotated[
        str | None, typer.Option(metavar="HOST:PORT", help="Where it answers readiness and counts.")
    ] = None,
    path: Annotated[str | None, typer.Option(help="Where it answers 200 while it can take traffic.")] = None,
    listen: Annotated[
        str | None, typer.Option(metavar="HOST:PORT", help="Where the agent listens. Default: 0.0.0.0:9180.")
    ] = None,
    token_file: Annotated[str | None, typer.Option(help="The file with the token of control calls.")] = None,
    token_env: Annotated[str | None, typer.Option(help="The variable with the token of control calls.")] = None,
    lame_duck_file: Annotated[
        str | None, typer.Option(help="The file that exists while the instance must get no new requests.")
    ] = None,
) -> None:
    """Answer for the software of a tier on this machine: readiness, lame duck, counts.

    Load balancers ask /readyz, autohealing asks /livez, and a controller elsewhere asks /v1/status and sets the lame
    duck with a token. On preemption or a stop of the VM it answers not ready by itself. SIGTERM ends it.
    """
    given = {
        "kind": kind,
        "name": name,
        "port": port,
        "host": host,
        "control": control,
        "health": None if path is None else {"path": path},
        "listen": listen,
        "token_file": token_file and str(Path(token_file).resolve()),
        "token_env": token_env,
        "lame_duck_file": lame_duck_file and str(Path(lame_duck_file).resolve()),
    }
    options = {key: value for key, value in given.items() if value is not None}
    with errors_as_exit_codes(Output(as_json=False)):
        if config is not None and options:
            raise fail(f"--config cannot be combined with {_option(next(iter(options)))}")
        settings = _of_options(options, _option) if config is None else read_settings(config)
    environment = {**os.environ, CONFIG: json.dumps(settings.options())}
    os.execve(sys.executable, [sys.executable, "-m", "changeover.agent"], environment)


def read_settings(file: Path | None, given: Sequence[str] = (), tier: str = "") -> AgentFile:
    """`given`: `KEY=VALUE` of `--set`, over what the file has; `tier`: as `edge.`, where each key was given with that.

    Raises ChangeoverError with every mistake.
    """
    text = "" if file is None else _text_of(file)
    if not given:
        return read_as(text, str(file or "agent.yaml"), AgentFile)
    found = read_as(text, str(file), AgentFile).model_dump(mode="json", exclude_defaults=True) if text else {}
    for word in given:
        key, equals, value = word.partition("=")
        if not equals:
            raise fail(f"--set {tier}{word}: {tier and 'TIER.'}KEY=VALUE is needed, such as {tier}port=80")
        try:
            found[key] = yaml.safe_load(value)
        except (yaml.YAMLError, ValueError) as error:  # ValueError: a date that there is not
            raise fail(f"--set {tier}{word}: the value is no YAML", next="Quote it.") from error
    return _of_options(found, lambda key: f"--set {tier}{key}")


def _text_of(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except OSError as error:
        raise fail(f"the configuration cannot be read: {error.strerror}", where=str(file)) from error
    except UnicodeDecodeError as error:
        raise fail("the configuration is not UTF-8", where=str(file)) from error


def _of_options(options: dict[str, Any], option: Callable[[str], str]) -> AgentFile:
    try:
        return AgentFile.model_validate(options)
    except ValidationError as error:
        raise ChangeoverError(*(_problem(found["loc"], found["msg"], option) for found in error.errors())) from error


def _problem(place: tuple[int | str, ...], message: str, option: Callable[[str], str]) -> Problem:
    return Problem(
        message.removeprefix("Value error, "),
        option(str(place[0])) if place else "",
        next="docs/agent.md shows a configuration of each kind.",
    )


def _option(key: str) -> str:
    """The option that gives a key of the configuration."""
    return "--path" if key == "health" else f"--{key.replace('_', '-')}"
