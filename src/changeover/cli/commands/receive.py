"""`changeover receive`: takes uploads in every dialect, and hands on what is finished."""

from __future__ import annotations

import asyncio
import json
import signal
from pathlib import Path
from typing import Annotated

import httpx
import typer

from changeover.cli.exits import COULD_NOT
from changeover.cli.options.values import size
from changeover.kit import event_loop
from changeover.uploads import CompletedUpload, FileStore, Limits, Response
from changeover.uploads.core.engine import Engine
from changeover.uploads.server.receive import Receiver

FORWARD_TIME = 300.0
"""Seconds that whoever finished uploads are handed on to has for an answer."""


def receive(
    folder: Annotated[Path, typer.Option(help="Where uploads lie; instances share it.")] = Path("uploads"),
    port: Annotated[int, typer.Option(help="Port to listen on; 0 takes any free one.", min=0, max=65535)] = 8081,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    root: Annotated[str, typer.Option(help="Path below which uploads are taken.")] = "/files",
    forward: Annotated[
        str, typer.Option(metavar="URL", help="Who is told of each finished upload; its answer is the client's.")
    ] = "",
    max_size: Annotated[
        float | None, typer.Option(parser=size, metavar="SIZE", help="Bytes of one upload.", show_default="no limit")
    ] = None,
    durable: Annotated[bool, typer.Option(help="Whether what is acknowledged survives a loss of power.")] = True,
) -> None:
    """Take uploads: IETF resumable, tus, in parts, by Content-Range and plain. Ends politely at SIGTERM.

    What is finished is told to --forward as JSON (id, size, metadata, headers, attempt, and the path of the content).
    """
    limits = Limits(max_size=None if max_size is None else int(max_size))
    try:
        event_loop.run(_serve(FileStore(folder, durable=durable), limits, host, port, root.rstrip("/"), forward))
    except OSError as error:
        typer.echo(f"error: {error.filename or f'{host}:{port}'}: {error.strerror}", err=True)
        raise typer.Exit(COULD_NOT) from error


async def _serve(store: FileStore, limits: Limits, host: str, port: int, root: str, forward: str) -> None:
    told = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, told.set)
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
            answer = await client.post(forward, json=about)
            if answer.is_server_error:  # to be asked again, rather than to be kept as the answer
                answer.raise_for_status()
            kind = answer.headers.get("content-type", "application/octet-stream")
            return Response(answer.status_code, (("Content-Type", kind),), answer.content)

        engine = Engine(store, on_complete, limits)
        async with engine.collector.running(), Receiver(engine, host, port, root=root) as receiver:
            listening = ":".join(map(str, receiver.address))
            typer.echo(f"taking uploads at http://{listening}{root}/", err=True)
            await told.wait()
