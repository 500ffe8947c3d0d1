"""A plain POST or PUT: the body is the upload. It cannot be resumed by its client, but its state is like any other."""

from __future__ import annotations

from changeover.uploads.engine import Engine, New
from changeover.uploads.errors import Interrupted, WrongLength
from changeover.uploads.http import Request, Response, problem, replayed


async def handle(engine: Engine, request: Request, describes: tuple[str, ...]) -> Response:
    """Take the body, and answer what the application answers."""
    announced = request.headers.get("content-length", "")
    manifest = await engine.create(
        New(
            "plain",
            request.owner,
            request.method,
            request.root + request.rest,
            {name: request.headers[name] for name in describes if name in request.headers},
            length=int(announced) if announced.isdigit() else None,
        )
    )
    try:
        await engine.append(manifest.id, request.owner, 0, request.body, complete=True)
    except WrongLength as error:
        await engine.cancel(manifest.id, request.owner)
        return problem(400, str(error))
    except Interrupted:
        await engine.cancel(manifest.id, request.owner)
        return problem(503, "this instance is leaving; send it again", ("Retry-After", "0"))
    answer = await engine.finish(manifest.id, request.owner)
    return replayed(answer, ("Location", request.url(manifest.id)))
