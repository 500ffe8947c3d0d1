"""Serves uploads from a store until the call to the disk that is to be its last. Forked for every life: cheap.

    python -m tests.process.uploads_server STORE LISTENING_DESCRIPTOR [hasty]

STORE is a folder, or the address of a service with its kind: `s3+http://127.0.0.1:5000`, or `gcs+...`. Each line on
stdin is one life: `before 7` dies on its way to its 7th call, `after 7` when that has happened, `never 0` lives until
it is killed. Answers with its pid, and with `dead` once it is.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import uvicorn
from tests.unit.uploads.bucket_stores import gcs_store, s3_store

from changeover.uploads import CompletedUpload, FileStore, Limits, Response, Uploads
from changeover.uploads.core import appending
from changeover.uploads.core.manifest import Manifest, UploadState
from changeover.uploads.core.timing import UploadTiming
from changeover.uploads.stores.store import Store

CALLS = ("write", "fdatasync", "fsync", "link", "unlink", "mkdir", "close")


def die_at(when: str, number: int) -> None:
    """SIGKILL at that call of those that change what is on the disk."""
    calls = itertools.count(1)  # many threads call: each must know its own number, and only one has that one

    def counted(original: Any) -> Any:
        def call(*args: Any, **kwargs: Any) -> Any:
            is_last = next(calls) == number
            if is_last and when == "before":
                os.kill(os.getpid(), signal.SIGKILL)
            try:
                return original(*args, **kwargs)
            finally:
                if is_last and when == "after":
                    os.kill(os.getpid(), signal.SIGKILL)

        return call

    if when != "never":
        for name in CALLS:
            setattr(os, name, counted(getattr(os, name)))


async def hasty(self: Any, change: Callable[[Manifest], Manifest]) -> None:
    """The mutant: acknowledges first, and makes it so in a moment. With the last byte it takes its time."""
    self._manifest = change(self._manifest.appended(await self._writer.commit()))
    swapping = self._repository.swap(self._manifest, self._version)
    if self._manifest.state is UploadState.RECEIVING:
        asyncio.get_running_loop().call_later(0.005, asyncio.ensure_future, swapping)
    else:
        await swapping


async def answer(finished: CompletedUpload) -> Response:
    return Response(200, (), f"{await finished.digest()} at attempt {finished.attempt}".encode())


def named(store: str) -> Store:
    """The store of that name; every life that is given it has the same."""
    kind, _, url = store.partition("+")
    if not url:
        return FileStore(Path(store))
    return {"s3": s3_store, "gcs": gcs_store}[kind](url, prefix="lives")


def live(store: str, listening: socket.socket, when: str, number: int) -> None:
    timing = UploadTiming(handler_lease=0.2)  # so that the next life soon calls the handler again
    app = Uploads(named(store), answer, limits=Limits(segment=8192), timing=timing)
    server = uvicorn.Server(uvicorn.Config(app, log_level="critical", lifespan="off", http="httptools"))
    die_at(when, number)
    server.run(sockets=[listening])


def main() -> None:
    store, listening = sys.argv[1], socket.socket(fileno=int(sys.argv[2]))
    if sys.argv[3:] == ["hasty"]:
        appending.Appender._swap = hasty  # type: ignore[method-assign]
    for line in sys.stdin:
        when, number = line.split()
        if not (pid := os.fork()):
            live(store, listening, when, int(number))
            os._exit(0)
        print(pid, flush=True)
        os.waitpid(pid, 0)
        print("dead", flush=True)


if __name__ == "__main__":
    main()
