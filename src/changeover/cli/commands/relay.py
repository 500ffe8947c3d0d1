"""`changeover relay`: sends the bodies of plain uploads to the upstream in segments; becomes `changeover.relay`."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from changeover.relay.config import LOOPBACK, MIB, RelayConfig

DEFAULTS = RelayConfig(("", 0))


def relay(
    upstream: Annotated[
        str, typer.Option(metavar="HOST:PORT", help="Where requests go: a load balancer, or the application itself.")
    ],
    listen: Annotated[
        list[str] | None,
        typer.Option(metavar="ADDRESS", help="HOST:PORT or unix:PATH to listen on; may be repeated."),
    ] = None,
    segment: Annotated[
        list[str] | None,
        typer.Option(
            metavar="'METHOD PATH'",
            help="Route whose bodies go to the upstream in segments, such as 'POST /upload'; may be repeated.",
        ),
    ] = None,
    replay: Annotated[
        list[str] | None,
        typer.Option(
            metavar="'METHOD PATH'",
            help="Route whose requests are sent again if their body was not sent completely; may be repeated.",
        ),
    ] = None,
    admin: Annotated[
        str, typer.Option(metavar="HOST:PORT", help="Address of /livez, /readyz, /inflight and /metrics.")
    ] = "",
    control: Annotated[
        Path | None, typer.Option(metavar="PATH", help="Unix socket over which a successor takes the listeners.")
    ] = None,
    take_over: Annotated[
        bool,
        typer.Option("--take-over", help="Take the listeners from the relay at --control, which then drains and ends."),
    ] = False,
    reuse_port: Annotated[
        bool, typer.Option("--reuse-port", help="Let several relays listen on one address, one for each core.")
    ] = False,
    trusted_peers: Annotated[
        list[str] | None,
        typer.Option(
            "--trusted-peers",
            metavar="NETWORK",
            help="Peers whose X-Forwarded-For, Forwarded and the like pass; those of others are removed. Repeatable. "
            "Without it, those of loopback addresses pass; with --proxy-protocol, none.",
        ),
    ] = None,
    hidden_path: Annotated[
        list[str] | None,
        typer.Option(metavar="PATH", help="Answer 404 at this path, in every spelling, such as /readyz. Repeatable."),
    ] = None,
    proxy_protocol: Annotated[
        bool, typer.Option("--proxy-protocol", help="Every connection begins with a PROXY header.")
    ] = False,
    proxies: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NETWORK",
            help="Peers that may send a PROXY header; connections of others are closed. Repeatable. Without it, those "
            "with a loopback address.",
        ),
    ] = None,
    lame_duck_file: Annotated[
        Path | None,
        typer.Option(help="While this file exists, /readyz answers 503 and every response closes its connection."),
    ] = None,
    budget: Annotated[
        int, typer.Option(metavar="MIB", help="MiB for the unacknowledged bytes of all bodies.", min=16)
    ] = DEFAULTS.budget // MIB,
    patience: Annotated[
        float, typer.Option(help="Seconds without progress after which the client gets an error response.")
    ] = DEFAULTS.patience,
    keepalive_time: Annotated[
        float,
        typer.Option(help="Seconds that a connection to the upstream is used; bounds the drain of the tier behind."),
    ] = DEFAULTS.pooling.life,
    keepalive_timeout: Annotated[
        float, typer.Option(help="Seconds that a connection to the upstream may idle.")
    ] = DEFAULTS.pooling.idle,
) -> None:
    """Relay requests to the upstream. Uploads to --segment routes survive the loss of an instance behind the relay.

    At SIGTERM it finishes the requests in flight and ends.
    """
    options = {
        "upstream": upstream,
        "listen": listen or [],
        "segment": segment or [],
        "replay": replay or [],
        "admin": admin,
        "control": str(control or ""),
        "take_over": take_over,
        "reuse_port": reuse_port,
        "proxy_protocol": proxy_protocol,
        "proxies": proxies or LOOPBACK,
        "trusted_peers": trusted_peers or ([] if proxy_protocol else LOOPBACK),
        "hidden_path": hidden_path or [],
        "lame_duck_file": str(lame_duck_file or ""),
        "budget": budget,
        "patience": patience,
        "keepalive_time": keepalive_time,
        "keepalive_timeout": keepalive_timeout,
    }
    os.execv(sys.executable, [sys.executable, "-m", "changeover.relay", json.dumps(options)])


if __name__ == "__main__":
    typer.run(relay)
