"""The route of `/metrics`."""

from __future__ import annotations

from collections.abc import Sequence

from prometheus_client import CONTENT_TYPE_LATEST
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from changeover.web.metrics.collector import MetricsText
from changeover.web.site import Site


def routes(site: Site) -> Sequence[Route]:
    """The figures of the site's chains, for Prometheus."""
    metrics = MetricsText(site.states)

    async def scrape(_: Request) -> Response:
        return Response(await metrics.text(), headers={"Content-Type": CONTENT_TYPE_LATEST})

    return [Route("/metrics", scrape)]
