"""`changeover serve`: the page of chains, and their metrics for Prometheus, over HTTP.

It works beside any controller and changes no chain by itself: an action of the page is a command of its own. Refuses a
token that others can read, or that is short.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from changeover.cli import frame
from changeover.cli.options.common import STATE
from changeover.cli.options.values import address
from changeover.cli.rendering.output import Output
from changeover.model.errors import fail
from changeover.model.extras import require
from changeover.web.site import Site

SHORTEST_TOKEN = 16
"""Characters of a token. One of fewer can be guessed."""


def serve(
    state: Annotated[
        list[Path] | None,
        typer.Option(help="Folder that holds a chain's state. Repeatable.", show_default=str(STATE)),
    ] = None,
    listen: Annotated[
        str, typer.Option(metavar="HOST:PORT", help="Address to listen on; port 0 takes any free one.")
    ] = "127.0.0.1:9180",
    host: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Name that clients have for this server, beside IP addresses. Repeatable."),
    ] = None,
    path_prefix: Annotated[
        str, typer.Option(metavar="PATH", help="Path below which everything is served, as a proxy in front passes it.")
    ] = "",
    token_file: Annotated[
        Path | None,
        typer.Option(help="File with the token that actions need. Without it, nothing can be changed."),
    ] = None,
) -> None:
    """Serve the page of chains over HTTP, and their metrics for Prometheus: /metrics.

    It reads state folders, whichever process works on a chain, and also before `up` and after `down`. A request by
    another Host than an IP address, localhost or a --host is refused. SIGTERM ends it.
    """
    where = address(listen)
    if path_prefix and not re.fullmatch(r"(/[A-Za-z0-9._~-]+)+/?", path_prefix):
        raise typer.BadParameter(f"--path-prefix must be a path such as /changeover, not {path_prefix!r}")

    async def work(output: Output) -> int:
        require("uvicorn", "`changeover serve`")
        from changeover.cli.page_sources import SOURCES  # here: they need an extra, and most of the start
        from changeover.web import server

        states = list(dict.fromkeys(one.absolute() for one in state or [STATE]))
        token = None if token_file is None else read_token(token_file)
        site = Site(states, token, path_prefix.rstrip("/"), frozenset(name.lower() for name in host or ()), SOURCES)
        for one in states:
            if not (one / "journal.db").exists():
                output.note(f"{one} has no journal yet: its chain is served once it has one.")
        await server.serve(site, *where, _announce(output, site))
        return 0

    frame.run(False, work)


def _announce(output: Output, site: Site) -> Callable[[str, int], None]:
    def announce(host: str, port: int) -> None:
        name = f"[{host}]" if ":" in host else host
        output.note(f"Serving http://{name}:{port}{site.prefix}/ and {site.prefix}/metrics")

    return announce


def read_token(file: Path) -> str:
    """The token in a file of the user's own. Raises ChangeoverError."""
    try:
        token, mode = file.read_text(encoding="ascii").strip(), file.stat().st_mode
    except UnicodeDecodeError:
        token, mode = "", 0
    if mode & 0o007:
        raise fail(
            "every user of this machine can use the token: its file is open to others",
            where=str(file),
            state="Nothing was started.",
            next=f"Run `chmod o-rwx {file}`, and write another token into it.",
        )
    if len(token) < SHORTEST_TOKEN or not token.isprintable() or " " in token:
        raise fail(
            f"the file has no token: one line of {SHORTEST_TOKEN} or more ASCII characters, without spaces",
            where=str(file),
            state="Nothing was started.",
            next=f"Write one: `openssl rand -hex 32 > {file}`.",
        )
    return token
