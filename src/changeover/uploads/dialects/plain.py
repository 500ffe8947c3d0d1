"""A plain POST or PUT: the body is the upload. Its client cannot resume it; its state is like that of any other."""

from __future__ import annotations

from changeover.uploads.core.completion import form
from changeover.uploads.core.engine import Engine, NewUpload
from changeover.uploads.core.errors import Interrupted
from changeover.uploads.dialects.http import DialectRequest, DialectResponse, problem, replayed


async def handle(engine: Engine, request: DialectRequest) -> DialectResponse:
    """Receive the body, and send the handler's response. Raises UploadError."""
    verify = request.verifier()
    manifest, is_earlier = await engine.idempotent.create(
        NewUpload(
            "plain",
            request.owner,
            request.method,
            request.root + request.rest,
            request.kept_headers,
            length=request.announced,
        ),
        request.creation_key(),
        restarts=True,
    )
    body = request.body
    if form.is_form("plain", manifest.headers):
        body = form.checked(body, manifest.headers["content-type"], engine.limits)
    try:
        if not is_earlier:
            async with engine.cancelled_on_error(manifest):
                await engine.append(
                    manifest.id,
                    request.owner,
                    0,
                    body,
                    complete=True,
                    announced=request.announced,
                    verify=verify,
                    resumable=False,
                )
    except Interrupted:
        return problem(503, "this instance is shutting down; send the upload again", ("Retry-After", "0"))
    response = await engine.completion.response(manifest.id, request.owner)
    return replayed(response, ("Location", request.url(manifest.id)))
