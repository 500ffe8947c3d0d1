"""The library below Starlette's `@app.middleware("http")`, which gives the application other `receive` and `send`."""

from __future__ import annotations

import asyncio

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware, RequestResponseEndpoint
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount
from starlette.types import Message
from tests.unit.uploads.appending import settled_offset
from tests.unit.uploads.dialects.test_bad_input import BEGIN, IETF_APPEND, TUS_APPEND
from tests.unit.uploads.serving import Instance, Sending

from changeover.uploads import FileStore, UploadTiming


async def passed_on(request: Request, call_next: RequestResponseEndpoint) -> Response:
    response = await call_next(request)
    response.headers["x-seen"] = "yes"
    return response


STACKS = {
    "one": [Middleware(BaseHTTPMiddleware, dispatch=passed_on)],
    "two": [Middleware(BaseHTTPMiddleware, dispatch=passed_on)] * 2,
}
every_stack = pytest.mark.parametrize("stack", STACKS)


async def respond(
    instance: Instance, stack: str, method: str, path: str, body: Sending, headers: dict[str, str]
) -> Message | None:
    """The start of the response. Raises what the server would log."""
    app = Starlette(routes=[Mount("/files", instance.app)], middleware=STACKS[stack])
    sent = list[Message]()

    async def send(message: Message) -> None:
        sent.append(message)

    path, _, query = path.partition("?")
    fields = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    scope = {
        "type": "http",
        "method": method,
        "path": "/files" + path,
        "query_string": query.encode(),
        "headers": fields,
    }
    await app(scope, body.receive, send)
    return sent[0] if sent else None


APPEND = {
    "ietf": ("PATCH", "", {**IETF_APPEND, "upload_offset": "0"}),
    "tus": ("PATCH", "", {**TUS_APPEND, "upload_offset": "0"}),
    "content-range": ("PUT", "", {"content_range": "bytes 0-4/5"}),
    "parts": ("PUT", "/parts/1", {}),
}


@every_stack
@pytest.mark.parametrize("dialect", APPEND)
async def test_a_client_that_disconnects_ends_without_an_error_and_its_bytes_are_kept(
    instance: Instance, stack: str, dialect: str
) -> None:
    path, fields = BEGIN[dialect]
    id = (await instance.got("POST", path, **fields)).id
    method, below, fields = APPEND[dialect]
    body = Sending()
    body.send(b"hel")
    body.hang_up()
    got = await respond(instance, stack, method, f"/{id}{below}", body, fields)
    assert got is None or 400 <= got["status"] < 500
    assert (await instance.engine.find(id, "")).offset == (0 if dialect == "parts" else 3)


@every_stack
@pytest.mark.parametrize(
    "fields",
    [{}, {"upload_complete": "?1"}, {"upload_complete": "?0"}, {**TUS_APPEND, "upload_length": "5"}],
    ids=["plain", "ietf", "ietf, part", "tus"],
)
async def test_a_client_that_disconnects_during_its_first_request_ends_without_an_error(
    instance: Instance, stack: str, fields: dict[str, str]
) -> None:
    body = Sending()
    body.send(b"hel")
    body.hang_up()
    got = await respond(instance, stack, "POST", "/", body, fields)
    assert got is None or 400 <= got["status"] < 500
    assert not instance.finished


@every_stack
async def test_a_newer_request_interrupts_an_older_one_below_a_middleware(store: FileStore, stack: str) -> None:
    instance = Instance(store, timing=UploadTiming(idle_commit=0.01))
    id = (await instance.got("POST", "/", upload_complete="?0")).id
    method, below, fields = APPEND["ietf"]
    body = Sending()
    body.send(b"hel")
    older = asyncio.ensure_future(respond(instance, stack, method, f"/{id}{below}", body, fields))
    await settled_offset(instance, id, 3)
    assert (await instance.got("HEAD", f"/{id}")).headers["upload-offset"] == "3"
    got = await older
    assert got is not None
    assert got["status"] == 503
