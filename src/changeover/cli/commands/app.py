"""`changeover app`: the example application at the end of the chain. The command becomes the application's process."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from changeover.cli.frame import errors_as_exit_codes
from changeover.cli.rendering.output import Output
from changeover.example_app.config import AppConfig
from changeover.model.extras import require

DEFAULTS = AppConfig()


def app(
    port: Annotated[
        int, typer.Option(help="Port to listen on; 0 takes any free one.", min=0, max=65535)
    ] = DEFAULTS.port,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = DEFAULTS.host,
    instance: Annotated[str, typer.Option(help="Name of this instance, shown in responses.")] = DEFAULTS.instance,
    version: Annotated[
        str, typer.Option("--version-label", help="Version of the application, shown in responses.")
    ] = DEFAULTS.version,
    shared: Annotated[Path, typer.Option(help="Folder for uploads that all instances share.")] = DEFAULTS.shared,
    lame_duck_file: Annotated[
        Path, typer.Option(help="While this file exists, /readyz answers 503.")
    ] = DEFAULTS.lame_duck_file,
) -> None:
    """Serve the example application until SIGTERM, then finish its requests and exit."""
    with errors_as_exit_codes(Output(as_json=False)):
        require("uvicorn", "the example application")
    options = ("--host", host, "--port", str(port), "--instance", instance, "--version-label", version)
    files = ("--shared", str(shared), "--lame-duck-file", str(lame_duck_file))
    os.execv(sys.executable, [sys.executable, "-m", "changeover.example_app", *options, *files])
