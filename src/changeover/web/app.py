"""The ASGI application of `changeover serve`: its routes, behind the rules of `access`.

A new part of the site brings a list of routes and is one line in `_routes`. Its endpoints find the site in
`request.app.state.site`. Refuses CORS: no page of another origin reads anything here.
"""

from __future__ import annotations

from collections.abc import Sequence

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import BaseRoute, Mount, Route

from changeover.web.access import Access
from changeover.web.metrics import routes as metrics
from changeover.web.page import routes as pages
from changeover.web.site import Site


def create_app(site: Site) -> Starlette:
    """The application of one site. It opens nothing until a request needs it."""
    routes = _routes(site)
    app = Starlette(
        routes=[Mount(site.prefix, routes=routes)] if site.prefix else routes,
        middleware=[Middleware(Access, site=site)],
    )
    app.state.site = site
    return app


def _routes(site: Site) -> Sequence[BaseRoute]:
    page = [] if site.sources is None else pages.routes(site, site.sources)
    return [Route("/healthz", _healthz), *metrics.routes(site), *page]


async def _healthz(_: Request) -> PlainTextResponse:
    """Says that this server runs, and nothing of any chain."""
    return PlainTextResponse("ok\n")
