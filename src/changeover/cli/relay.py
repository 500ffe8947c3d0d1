"""`changeover relay`: takes plain uploads, and hands them inward so that what stands behind it can be replaced.

Instances are started as `python -m changeover.cli.relay`, which imports nothing that only other commands need.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import Annotated, Any

import typer

from changeover.cli.exits import COULD_NOT
from changeover.relay import succession
from changeover.relay.admin import Admin
from changeover.relay.calls import Pooling
from changeover.relay.server import BACKLOG, BUFFER, Server
from changeover.relay.settings import MIB, Route, Settings, address

UNIX = "unix:"
DEFAULTS = Settings(("", 0))


def relay(
    upstream: Annotated[
        str, typer.Option(metavar="HOST:PORT", help="Who is behind: a balancer, or the application itself.")
    ],
    listen: Annotated[
        list[str] | None,
        typer.Option(metavar="ADDRESS", help="HOST:PORT or unix:PATH to take connections at; may be repeated."),
    ] = None,
    segment: Annotated[
        list[str] | None,
        typer.Option(
            metavar="'METHOD PATH'",
            help="Requests whose bodies are handed inward in segments, such as 'POST /upload'; may be repeated.",
        ),
    ] = None,
    replay: Annotated[
        list[str] | None,
        typer.Option(
            metavar="'METHOD PATH'",
            help="Requests that may be sent again while their body has not been sent completely; may be repeated.",
        ),
    ] = None,
    admin: Annotated[
        str, typer.Option(metavar="HOST:PORT", help="Where /livez, /readyz, /inflight and /metrics are answered.")
    ] = "",
    control: Annotated[
        Path | None, typer.Option(metavar="PATH", help="Unix socket through which a successor gets the listeners.")
    ] = None,
    take_over: Annotated[
        bool, typer.Option("--take-over", help="Take the listeners from the relay at --control, which then leaves.")
    ] = False,
    reuse_port: Annotated[
        bool, typer.Option("--reuse-port", help="Let several relays listen at one address, for as many cores.")
    ] = False,
    proxy_protocol: Annotated[
        bool, typer.Option("--proxy-protocol", help="Every connection begins with a PROXY header.")
    ] = False,
    lame_duck_file: Annotated[
        Path | None, typer.Option(help="While this file exists, /readyz answers 503 and answers close connections.")
    ] = None,
    budget: Annotated[
        int, typer.Option(metavar="MIB", help="MiB held and not acknowledged, for all bodies together.", min=16)
    ] = DEFAULTS.budget // MIB,
    patience: Annotated[
        float, typer.Option(help="Seconds without progress until a client is told that it cannot be done.")
    ] = DEFAULTS.patience,
    keepalive_time: Annotated[
        float, typer.Option(help="Seconds that a connection inward is used; bounds the drain of what is behind.")
    ] = DEFAULTS.pooling.life,
    keepalive_timeout: Annotated[
        float, typer.Option(help="Seconds that a connection inward may idle.")
    ] = DEFAULTS.pooling.idle,
) -> None:
    """Relay requests inward. Large bodies of --segment requests survive whatever happens behind. Ends at SIGTERM."""
    try:
        settings = Settings(
            address(upstream),
            segmented=tuple(map(Route.parse, segment or ())),
            replayed=tuple(map(Route.parse, replay or ())),
            pooling=Pooling(idle=keepalive_timeout, life=keepalive_time),
            budget=budget * MIB,
            patience=patience,
            lame_duck_file=lame_duck_file,
            proxy_protocol=proxy_protocol,
        )
        where = address(admin) if admin else None
        if take_over and control is None:
            raise ValueError("--take-over needs --control: where the relay that is to leave is reached")
        predecessor, listeners = _listeners(listen or [], control if take_over else None, reuse_port=reuse_port)
    except (ValueError, OSError) as error:
        reason = f"{error.filename or 'the address'}: {error.strerror}" if isinstance(error, OSError) else str(error)
        typer.echo(f"error: {reason}. Nothing was started.", err=True)
        raise typer.Exit(COULD_NOT) from error
    asyncio.run(_serve(settings, listeners, predecessor, where, control))


def _listeners(
    addresses: list[str], predecessor: Path | None, *, reuse_port: bool
) -> tuple[socket.socket | None, list[socket.socket]]:
    if predecessor is not None:
        return succession.take_over(predecessor)
    passed = succession.passed_by_systemd()
    if not addresses and not passed:
        raise ValueError("--listen is needed: where connections are taken")
    return None, passed + [_listener(address, reuse_port=reuse_port) for address in addresses]


def _listener(text: str, *, reuse_port: bool) -> socket.socket:
    if text.startswith(UNIX):
        path = Path(text.removeprefix(UNIX))
        with contextlib.suppress(FileNotFoundError):
            path.unlink()
        sock = socket.socket(socket.AF_UNIX)
        sock.bind(str(path))
        sock.listen(BACKLOG)
        return sock
    host, port = address(text)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.create_server((host, port), family=family, backlog=BACKLOG, reuse_port=reuse_port)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)  # what it accepts inherits this
    return sock


async def _serve(
    settings: Settings,
    listeners: list[socket.socket],
    predecessor: socket.socket | None,
    admin: tuple[str, int] | None,
    control: Path | None,
) -> None:
    loop = asyncio.get_running_loop()
    server = Server(settings, listeners)
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, server.leave)
    lame = settings.lame_duck_file
    asked = Admin(server, lambda: not server.relay.leaving and (lame is None or not lame.exists()))
    beside: list[Coroutine[Any, Any, None]] = []
    if admin is not None:
        await asyncio.start_server(asked.serve, *admin, reuse_port=predecessor is not None or None)
    if control is not None:
        beside.append(_succeeded(control, server))
    tasks = [asyncio.ensure_future(each) for each in beside]
    names = ", ".join(str(_name(listener)) for listener in listeners)
    running = asyncio.ensure_future(server.run())
    await asyncio.sleep(0)  # it listens now
    if predecessor is not None:
        succession.tell_serving(predecessor)
    print(f"relay: listening on {names}", file=sys.stderr, flush=True)
    await running
    for task in tasks:
        task.cancel()
    print("relay: stopped", file=sys.stderr, flush=True)


async def _succeeded(control: Path, server: Server) -> None:
    await succession.offer(control, lambda: server.listeners)
    server.leave()


def _name(listener: socket.socket) -> str:
    name = listener.getsockname()
    return f"{UNIX}{name}" if isinstance(name, str) else f"{name[0]}:{name[1]}"


if __name__ == "__main__":
    typer.run(relay)
