"""Clients of an application that changeover does not know: slow uploads on connections of their own."""

from __future__ import annotations

import http.client
import json
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tests.chain.chains import PATIENCE, Said, until

FOLDER = Path(__file__).parent


def plain_templates(takers: Path, *, workers: int, counts: bool) -> Said:
    """Templates v1 and v2 that run `plain_app` with uvicorn. `takers`: a folder to be made, where each upload leaves a
    file."""
    takers.mkdir()
    server = [sys.executable, "-m", "uvicorn", "plain_app:app", "--app-dir", str(FOLDER), "--host", "{host}"]
    command = [*server, "--port", "{port}", "--workers", str(workers), "--log-level", "warning"]
    own = {"in_flight": {"path": "/inflight"}} if counts else {}
    env = {"COUNTS": "1"} if counts else {}
    return {
        name: {"command": command, "env": {**env, "VERSION": name, "TAKERS": str(takers)}, **own}
        for name in ("v1", "v2")
    }


class PlainUpload:
    """A POST that sends half of its body, and the rest when `finish` is called."""

    SIZE = 400_000

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._client = http.client.HTTPConnection(parts.netloc, timeout=PATIENCE)
        self._client.putrequest("POST", "/upload")
        self._client.putheader("Content-Length", str(self.SIZE))
        self._client.putheader("Connection", "close")
        self._client.endheaders()
        self._client.send(b"x" * (self.SIZE // 2))

    def finish(self) -> Any:
        """The answer; raises where the upload was lost."""
        self._client.send(b"x" * (self.SIZE - self.SIZE // 2))
        with self._client.getresponse() as response:
            assert response.status == 200, response.read()
            answer = json.load(response)
        assert answer["bytes"] == self.SIZE
        return answer

    def close(self) -> None:
        self._client.close()


@contextmanager
def uploads_to(url: str, number: int, takers: Path) -> Iterator[list[PlainUpload]]:
    """At least `number` uploads, and as many more as it takes until two processes have one each: the kernel may give
    each of them to the process that wakes first, and all of them while the others are starting."""
    with ExitStack() as open_until:

        def another() -> PlainUpload:
            return open_until.enter_context(closing(PlainUpload(url)))

        uploads = [another() for _ in range(number)]

        def spread() -> bool | None:
            taken = [taker.name.partition(".")[0] for taker in takers.iterdir()]
            if len(taken) == len(uploads) and len(set(taken)) == 1:
                uploads.append(another())
            return (len(taken) == len(uploads) and len(set(taken)) > 1) or None

        until(spread, "uploads at two processes")
        yield uploads


@contextmanager
def gets(url: str, *, keep: bool) -> Iterator[list[str]]:
    """GETs by two clients until the block ends: the version of each answer. `keep`: all on one connection each."""
    versions: list[str] = []
    wrong: list[object] = []
    stop = threading.Event()

    def ask() -> None:
        parts = urlsplit(url)
        client = http.client.HTTPConnection(parts.netloc, timeout=PATIENCE)
        while not stop.is_set():
            try:
                client.request("GET", "/hello", headers={} if keep else {"Connection": "close"})
                response = client.getresponse()
                body = json.load(response)
                versions.append(body["version"] if response.status == 200 else str(response.status))
            except (OSError, http.client.HTTPException, ValueError) as error:
                wrong.append(error)
                client.close()
        client.close()

    asking = [threading.Thread(target=ask) for _ in range(2)]
    for one in asking:
        one.start()
    try:
        yield versions
    finally:
        stop.set()
        for one in asking:
            one.join(PATIENCE)
    assert not wrong
