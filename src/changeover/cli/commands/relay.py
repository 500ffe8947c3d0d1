"""`changeover relay`: takes plain uploads, and hands them inward so that what stands behind it can be replaced.

Instances are started as `python -m changeover.cli.commands.relay`, which imports nothing that only other commands need.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from changeover.relay.config import MIB, RelayConfig

DEFAULTS = RelayConfig(("", 0))


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
        "lame_duck_file": str(lame_duck_file or ""),
        "budget": budget,
        "patience": patience,
        "keepalive_time": keepalive_time,
        "keepalive_timeout": keepalive_timeout,
    }
    os.execv(sys.executable, [sys.executable, "-m", "changeover.relay", json.dumps(options)])


if __name__ == "__main__":
    typer.run(relay)
