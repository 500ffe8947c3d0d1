"""`changeover init`: write the chain file of an own application, from options or from questions on a terminal."""

from __future__ import annotations

import re
import shlex
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from changeover.cli import exits
from changeover.cli.chain_text import ChainWishes, chain_text, words_of
from changeover.cli.frame import run_synchronous
from changeover.cli.options.common import JsonOption
from changeover.cli.rendering.output import Output
from changeover.hops import registry
from changeover.kit.files import write_whole
from changeover.model import chainfile
from changeover.model.errors import fail


class Edge(StrEnum):
    """The first tier."""

    NGINX = "nginx"
    HAPROXY = "haproxy"
    NONE = "none"


class Gateway(StrEnum):
    """The tier between the edge and the application."""

    ENVOY = "envoy"
    KONG = "kong"
    NONE = "none"


def init(
    app: Annotated[
        str,
        typer.Option(
            "--app",
            metavar="COMMAND",
            help="The command that starts the application, such as 'gunicorn app:app'. {host} and {port} stand for the "
            "address of an instance; gunicorn, uvicorn and other well-known servers get it without being asked.",
        ),
    ] = "",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port for clients. 0 takes any free one.")] = 8443,
    edge: Annotated[Edge, typer.Option(help="The first tier.")] = Edge.NGINX,
    gateway: Annotated[Gateway, typer.Option(help="The tier in front of the application.")] = Gateway.NONE,
    size: Annotated[int, typer.Option(min=1, max=1000, help="Instances of each tier.")] = 2,
    ready: Annotated[
        str, typer.Option(metavar="PATH", help="Path that the application answers with 200 while it may get traffic.")
    ] = "/",
    file: Annotated[Path, typer.Option("--file", "-f", help="The file to write.")] = Path("chain.yaml"),
    force: Annotated[bool, typer.Option("--force", help="Replace a file that exists.")] = False,
    json: JsonOption = False,
) -> None:
    """Write a chain file for an application of your own, with comments.

    Without --app, and on a terminal, the command asks. It starts nothing and overwrites no file without --force.
    """

    def work(output: Output) -> int:
        if file.exists() and not force:
            raise fail("the file exists", where=str(file), state="Nothing was written.", next="--force replaces it.")
        if app:
            return _write(output, file, app, port, edge, gateway, size, ready)
        if not sys.stdin.isatty() or json:
            raise fail(
                "the command of the application is missing",
                state="Nothing was written.",
                next="Give it: changeover init --app 'gunicorn app:app'. On a terminal, the command asks.",
            )
        return _write(output, file, *_questions(port, edge, gateway, size, ready))

    run_synchronous(json, work)


def _questions(
    port: int, edge: Edge, gateway: Gateway, size: int, ready: str
) -> tuple[str, int, Edge, Gateway, int, str]:
    """The options, as answered on the terminal; those of the command line are the defaults."""
    return (
        typer.prompt("Command that starts the application", err=True),
        typer.prompt("Port for clients (0: any free one)", port, type=int, err=True),
        Edge(typer.prompt("Edge (nginx, haproxy, none)", edge.value, type=Edge, err=True)),
        Gateway(typer.prompt("Gateway (envoy, kong, none)", gateway.value, type=Gateway, err=True)),
        typer.prompt("Instances of each tier", size, type=int, err=True),
        typer.prompt("Path that is answered with 200 while the application is ready", ready, err=True),
    )


def _write(output: Output, file: Path, app: str, port: int, edge: Edge, gateway: Gateway, size: int, ready: str) -> int:
    front = {"edge": edge.value, "gateway": gateway.value}
    try:
        words = words_of(app)
    except ValueError as error:
        raise fail(f"the command cannot be read: {error}", state="Nothing was written.") from error
    name = re.sub(r"[^a-z0-9]+", "-", file.resolve().parent.name.lower()).lstrip("-0123456789")[:31].strip("-")
    front = {tier: kind for tier, kind in front.items() if kind != "none"}
    wishes = ChainWishes(name or "chain", words, front, size, ready, port)
    text = chain_text(wishes)
    chain = chainfile.read(text, str(file), registry.known_hops()).chain  # raises for a path that is none
    write_whole(file, text)
    option = "" if file == Path("chain.yaml") else f" -f {shlex.quote(str(file))}"
    steps = [f"changeover validate{option}", f"changeover up{option}", "changeover roll app --to v2", "changeover down"]
    output.result(
        {
            "file": str(file),
            "chain": chain.name,
            "tiers": [{"name": tier.name, "kind": tier.kind, "size": tier.size} for tier in chain.tiers],
            "next": steps,
        },
        "\n  ".join((f"Wrote {file}. Next:", *steps)),
    )
    return exits.DONE
