"""The process of a relay: `python -m changeover.relay OPTIONS`, with the options of `changeover relay` as JSON.

Apart from the command, whose imports take three times the memory: the command becomes this process by execv.
"""

from __future__ import annotations

from changeover.relay.process import without_ssl  # noqa: F401

# isort: split
import asyncio
import contextlib
import json
import signal
import socket
import sys
from pathlib import Path
from typing import Any

from changeover.relay.config import MIB, Pooling, RelayConfig, RoutePattern, address, hidden, networks
from changeover.relay.process import socket_handoff
from changeover.relay.process.admin import AdminServer
from changeover.relay.process.server import BACKLOG, BUFFER, RelayServer

UNIX = "unix:"
COULD_NOT = 2
"""The exit code: see cli/exits.py."""


def main() -> int:
    options: dict[str, Any] = json.loads(sys.argv[1])
    try:
        config = RelayConfig(
            address(options["upstream"]),
            segmented=tuple(map(RoutePattern.parse, options["segment"])),
            replayed=tuple(map(RoutePattern.parse, options["replay"])),
            pooling=Pooling(idle=options["keepalive_timeout"], life=options["keepalive_time"]),
            budget=options["budget"] * MIB,
            patience=options["patience"],
            lame_duck_file=Path(options["lame_duck_file"]) if options["lame_duck_file"] else None,
            proxy_protocol=options["proxy_protocol"],
            proxies=networks(options["proxies"]),
            trusted_peers=None if options["trusted_peers"] is None else networks(options["trusted_peers"]),
            hidden=hidden(options["hidden_path"]),
        )
        admin = address(options["admin"]) if options["admin"] else None
        control = Path(options["control"]) if options["control"] else None
        if options["take_over"] and control is None:
            raise ValueError("--take-over needs --control, the socket of the relay that is to be replaced")
        predecessor = None
        if options["take_over"] and control is not None:
            predecessor, listeners = socket_handoff.take_over(control)
        else:
            listeners = _listeners(options["listen"], reuse_port=options["reuse_port"])
        asyncio.run(_serve(config, listeners, predecessor, admin, control))
    except (ValueError, OSError) as error:
        reason = f"{error.filename or 'the address'}: {error.strerror}" if isinstance(error, OSError) else str(error)
        print(f"error: {reason}. The relay did not start.", file=sys.stderr)
        return COULD_NOT
    return 0


def _listeners(addresses: list[str], *, reuse_port: bool) -> list[socket.socket]:
    passed = socket_handoff.passed_by_systemd()
    if not addresses and not passed:
        raise ValueError("--listen is needed, unless systemd passes sockets")
    return passed + [_listener(text, reuse_port=reuse_port) for text in addresses]


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
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)  # inherited by accepted connections
    return sock


async def _serve(
    config: RelayConfig,
    listeners: list[socket.socket],
    predecessor: socket.socket | None,
    admin: tuple[str, int] | None,
    control: Path | None,
) -> None:
    loop = asyncio.get_running_loop()
    server = RelayServer(config, listeners)
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, server.leave)
    lame = config.lame_duck_file
    asked = AdminServer(server, lambda: not server.relay.leaving and (lame is None or not lame.exists()))
    if admin is not None:  # a successor listens beside its predecessor
        await asyncio.start_server(asked.serve, *admin, reuse_port=control is not None)
    succeeding = None if control is None else asyncio.ensure_future(_succeeded(control, server))
    names = ", ".join(_name(listener) for listener in listeners)
    running = asyncio.ensure_future(server.run())
    await asyncio.sleep(0)  # from here on it accepts connections
    if succeeding is not None and succeeding.done():
        await succeeding  # raises: the control socket could not be created
    if predecessor is not None:
        socket_handoff.report_serving(predecessor)
    print(f"relay: listening on {names}", file=sys.stderr, flush=True)
    await running
    if succeeding is not None:
        succeeding.cancel()
    print("relay: stopped", file=sys.stderr, flush=True)


async def _succeeded(control: Path, server: RelayServer) -> None:
    await socket_handoff.offer(control, lambda: server.listeners)
    server.leave()


def _name(listener: socket.socket) -> str:
    name = listener.getsockname()
    return f"{UNIX}{name}" if isinstance(name, str) else f"{name[0]}:{name[1]}"


if __name__ == "__main__":
    sys.exit(main())
