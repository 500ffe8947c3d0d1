"""A plain POST or PUT: the body is the upload. It cannot be resumed by its client, but its state is like any other."""

from __future__ import annotations

from changeover.uploads.core.digests import of_content
from changeover.uploads.core.engine import Engine, NewUpload
from changeover.uploads.core.errors import Interrupted
from changeover.uploads.dialects.http import HttpRequest, HttpResponse, problem, replayed


async def handle(engine: Engine, request: HttpRequest) -> HttpResponse:
    """Take the body, and answer what the application answers."""
    verify = of_content(request.headers)
    manifest = await engine.create(
        NewUpload(
            "plain",
            request.owner,
            request.method,
            request.root + request.rest,
            request.described,
            length=request.announced,
        )
    )
    try:
        async with engine.cancelled_on_error(manifest):
            await engine.append(
                manifest.id,
                request.owner,
                0,
                request.body,
                complete=True,
                announced=request.announced,
                verify=verify,
                resumable=False,
            )
    except Interrupted:
        return problem(503, "this instance is leaving; send it again", ("Retry-After", "0"))
    answer = await engine.completion.response(manifest.id, request.owner)
    return replayed(answer, ("Location", request.url(manifest.id)))
