"""`changeover app`: the example application at the end of the chain.

Instances are started as `python -m changeover.cli.commands.app`, which imports nothing that only other commands need:
a fifth of the time and half of the memory, for every instance there is.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from changeover.example_app.server import AppConfig, run
from changeover.model.errors import ChangeoverError


def app(
    port: Annotated[int, typer.Option(help="Port to listen on; 0 takes any free one.", min=0, max=65535)] = 8080,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    instance: Annotated[str, typer.Option(help="Name of this instance, shown in answers.")] = "app",
    version: Annotated[
        str, typer.Option("--version-label", help="Version of the application, shown in answers.")
    ] = "v0",
    shared: Annotated[Path, typer.Option(help="Folder shared by all instances, where uploads lie.")] = Path("shared"),
    lame_duck_file: Annotated[Path, typer.Option(help="While this file exists, /readyz answers 503.")] = Path(
        "lame-duck"
    ),
) -> None:
    """Serve the example application until SIGTERM, then finish what is in flight and leave."""
    try:
        run(AppConfig(host, port, instance, version, shared, lame_duck_file))
    except ChangeoverError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(error.exit_code) from error


if __name__ == "__main__":
    typer.run(app)
