"""`changeover receive`: receives uploads in every dialect, and forwards each completed one."""

from __future__ import annotations

import asyncio
import json
import re
import signal
from collections.abc import Callable
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Annotated

import httpx
import typer

from changeover.cli.exits import COULD_NOT
from changeover.cli.options.values import address, seconds, size
from changeover.kit import event_loop
from changeover.uploads import CompletedUpload, Cors, FileStore, Limits, Response
from changeover.uploads.core.completion.responses import TRANSIENT
from changeover.uploads.core.engine import Engine
from changeover.uploads.dialects.public_url import PublicUrl
from changeover.uploads.server.body import ReceiveTiming
from changeover.uploads.server.metrics_server import MetricsServer
from changeover.uploads.server.receive import Receiver
from changeover.uploads.stores.filesystem import FileModes

FORWARD_TIME = 300.0
"""Seconds that the --forward URL has for a response."""


def receive(
    folder: Annotated[Path, typer.Option(help="Folder of the uploads; instances share it.")] = Path("uploads"),
    port: Annotated[int, typer.Option(help="Port to listen on; 0 takes any free one.", min=0, max=65535)] = 8081,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    root: Annotated[str, typer.Option(help="Path below which uploads are received.")] = "/files",
    forward: Annotated[
        str, typer.Option(metavar="URL", help="URL that gets each completed upload; its response is the client's.")
    ] = "",
    base_url: Annotated[
        str,
        typer.Option(
            metavar="URL", help="Scheme, host and prefix by which clients reach --root, for an absolute Location."
        ),
    ] = "",
    trusted_proxy: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ADDRESS", help="Address or network of a proxy whose forwarded fields give the same. Repeatable."
        ),
    ] = None,
    cors_origin: Annotated[
        list[str] | None,
        typer.Option(metavar="ORIGIN", help="Origin whose pages may upload, or `*`. Repeatable."),
    ] = None,
    max_size: Annotated[
        float | None,
        typer.Option(parser=size, metavar="SIZE", help="Maximum size of one upload.", show_default="no limit"),
    ] = None,
    file_mode: Annotated[
        str, typer.Option(metavar="MODE", help="Mode of files, such as 0640 for readers of the group.")
    ] = "0600",
    durable: Annotated[
        bool, typer.Option(help="Sync to disk, so that acknowledged bytes survive a loss of power.")
    ] = True,
    grace: Annotated[
        float,
        typer.Option(
            parser=seconds, metavar="TIME", help="Time for the requests in flight after SIGTERM; then it ends."
        ),
    ] = ReceiveTiming.grace,
    metrics: Annotated[
        str, typer.Option(metavar="HOST:PORT", help="Address of /metrics, for Prometheus.", show_default="not served")
    ] = "",
) -> None:
    """Receive uploads: IETF resumable, tus, in parts, by Content-Range and plain.

    Each completed upload is posted to --forward as JSON (id, size, metadata, headers, attempt, path of the content). At
    SIGTERM it finishes the requests in flight, for --grace at most, and ends.
    """
    limits = Limits(max_size=None if max_size is None else int(max_size))
    timing = ReceiveTiming(grace=grace)
    metrics_address = address(metrics) if metrics else None
    if not re.fullmatch("[0-7]{3,4}", file_mode):
        raise typer.BadParameter(f"--file-mode must be octal, such as 0640, not {file_mode!r}")
    try:
        FileModes(mode := int(file_mode, 8))
        public_url = PublicUrl(base_url, "", trusted_proxy or ())
        cors = Cors(cors_origin) if cors_origin else None
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    try:
        store = FileStore(folder, durable=durable, file_mode=mode)
        receiver = partial(Receiver, host=host, port=port, public_url=public_url, cors=cors, timing=timing)
        event_loop.run(_serve(store, limits, receiver, root.rstrip("/"), forward, metrics_address))
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""  # errors of listening name their address
        typer.echo(f"error: {where}{error.strerror}", err=True)
        raise typer.Exit(COULD_NOT) from error


async def _serve(
    store: FileStore,
    limits: Limits,
    receiver: Callable[..., Receiver],
    root: str,
    forward: str,
    metrics: tuple[str, int] | None,
) -> None:
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    async with httpx.AsyncClient(timeout=FORWARD_TIME, trust_env=False) as client:

        async def on_complete(finished: CompletedUpload) -> Response:
            about = {
                "id": finished.id,
                "size": finished.size,
                "metadata": dict(finished.metadata),
                "headers": dict(finished.headers),
                "attempt": finished.attempt,
                "content": f"{root}/{finished.id}/content",
            }
            if not forward:
                return Response(201, (("Content-Type", "application/json"),), json.dumps(about).encode())
            response = await client.post(forward, json=about)
            if response.is_server_error or response.status_code in TRANSIENT:
                # raising makes the library call again; a response would be stored for good
                response.raise_for_status()
            kind = response.headers.get("content-type", "application/octet-stream")
            return Response(response.status_code, (("Content-Type", kind),), response.content)

        engine = Engine(store, on_complete, limits)
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(engine.collector.running())
            served = None if metrics is None else await stack.enter_async_context(MetricsServer(*metrics))
            receiving = await stack.enter_async_context(receiver(engine, root=root))
            typer.echo(f"receiving uploads at http://{_name(receiving.address)}{root}/", err=True)
            if served is not None:
                typer.echo(f"serving metrics at http://{_name(served.address)}/metrics", err=True)
            await stopped.wait()


def _name(address: tuple[str, int]) -> str:
    """As URLs have it."""
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
