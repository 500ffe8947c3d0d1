"""Keep the trailers of a chunked request out of its headers under uvicorn.

With the parser httptools, uvicorn appends trailers to the list that is the scope's `headers` (measured with 0.54). If
they arrive in the same packet as the head, no application can tell `X-User: bob` of a trailer from `X-User: alice` of
the proxy in front. So the scope gets a list of its own when the head is complete. h11, granian, hypercorn and
gunicorn's own ASGI worker drop trailers. Refuses to read trailers: RFC 9110, section 6.5.1, forbids to merge them.
"""

from __future__ import annotations

import functools
from importlib.util import find_spec


@functools.cache
def separate_trailers() -> None:
    """Change uvicorn's protocol in this process, before it reads a request. Does nothing where uvicorn is missing."""
    if find_spec("uvicorn") is None or find_spec("httptools") is None:
        return
    from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

    original = HttpToolsProtocol.on_headers_complete

    @functools.wraps(original)
    def on_headers_complete(self: HttpToolsProtocol) -> None:
        self.scope["headers"] = [*self.headers]
        original(self)

    HttpToolsProtocol.on_headers_complete = on_headers_complete  # type: ignore[method-assign]
