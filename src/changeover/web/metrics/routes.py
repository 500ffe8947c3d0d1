"""The route of `/metrics`."""

from __future__ import annotations

from collections.abc import Sequence

from prometheus_client import CONTENT_TYPE_LATEST
from prometheus_client.exposition import gzip_accepted
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from changeover.web.metrics.collector import MetricsText
from changeover.web.site import Site


def routes(site: Site) -> Sequence[Route]:
    """The figures of the site's chains, for Prometheus."""
    metrics = MetricsText(site.states)

    async def scrape(request: Request) -> Response:
        text, headers = await metrics.text(), {"Content-Type": CONTENT_TYPE_LATEST, "Vary": "Accept-Encoding"}
        if not gzip_accepted(request.headers.get("accept-encoding", "")):
            return Response(text.plain, headers=headers)
        return Response(text.compressed, headers={**headers, "Content-Encoding": "gzip"})

    return [Route("/metrics", scrape)]
