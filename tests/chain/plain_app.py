"""An application as a stranger has it, for any ASGI server: each process counts for itself, or COUNTS is empty and none
does. It knows no lame duck and closes no connection. Each upload that begins leaves a file in the folder TAKERS, whose
name begins with the id of the process that took it."""

from __future__ import annotations

import json
import os
import tempfile
from typing import Any

VERSION, COUNTS = os.environ["VERSION"], os.environ.get("COUNTS", "")
requests = 0


async def app(scope: Any, receive: Any, send: Any) -> None:
    global requests
    if scope["type"] != "http":
        return
    status = 200
    answer: dict[str, Any] = {"version": VERSION, "pid": os.getpid(), "bytes": 0}
    if scope["path"] == "/inflight":
        status, answer = (200 if COUNTS else 404), {"requests": requests}
    elif scope["path"] != "/readyz":
        requests += 1
        if scope["method"] == "POST":
            tempfile.NamedTemporaryFile(prefix=f"{os.getpid()}.", dir=os.environ["TAKERS"], delete=False).close()
        try:
            more = True
            while more:
                message = await receive()
                answer["bytes"] += len(message.get("body", b""))
                more = message.get("more_body", False)
        finally:
            requests -= 1
    headers = [(b"content-type", b"application/json")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": json.dumps(answer).encode()})
