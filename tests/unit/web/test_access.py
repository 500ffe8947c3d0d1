"""The access rules of `changeover serve`: each refusal, that it is logged, and that no route has seen the request."""

from __future__ import annotations

import asyncio
import logging

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import Message, Scope
from tests.unit.web.asked import HERE, ask

from changeover.web import access
from changeover.web.access import BODY_LIMIT, HEADERS, Access, is_own_host
from changeover.web.app import create_app
from changeover.web.site import Site

TOKEN = "0123456789abcdef"
BEARER = {"Authorization": f"Bearer {TOKEN}"}

acted: list[bytes] = []


async def act(request: Request) -> Response:
    acted.append(await request.body())
    return PlainTextResponse("done")


def application(token: str | None = TOKEN) -> Starlette:
    site = Site((), token, hosts=frozenset({"deploy.example.com"}))
    return Starlette(routes=[Route("/act", act, methods=["GET", "POST"])], middleware=[Middleware(Access, site=site)])


@pytest.fixture(autouse=True)
def nothing_done() -> None:
    acted.clear()


@pytest.mark.parametrize("host", ["127.0.0.1:9180", "[::1]:9180", "localhost", "LOCALHOST:1", "10.0.0.7", "a.example"])
def test_an_address_localhost_and_a_name_of_the_site_are_its_own_hosts(host: str) -> None:
    assert is_own_host(host, {"a.example"})


@pytest.mark.parametrize(
    "host", ["evil.example", "", "localhost.evil.example", "a@127.0.0.1", "127.0.0.1/x", "[::1", "127.0.0.1:x/y", "1.2"]
)
def test_every_other_host_is_foreign(host: str) -> None:
    assert not is_own_host(host, {"a.example"})


REFUSED = {
    "no token": ({}, 401),
    "a wrong token": ({"Authorization": "Bearer 0123456789abcdeX"}, 401),
    "a token of another scheme": ({"Authorization": f"Basic {TOKEN}"}, 401),
    "a foreign origin": ({**BEARER, "Origin": "https://evil.example"}, 403),
    "an opaque origin": ({**BEARER, "Origin": "null"}, 403),
    "the origin of another port": ({**BEARER, "Origin": "http://127.0.0.1:9999"}, 403),
    "a page of another site": ({**BEARER, "Sec-Fetch-Site": "cross-site"}, 403),
    "a foreign host": ({**BEARER, "Host": "evil.example"}, 421),
}


@pytest.mark.parametrize("given", REFUSED)
def test_an_action_is_refused_and_logged_and_nothing_is_done(given: str, caplog: pytest.LogCaptureFixture) -> None:
    headers, status = REFUSED[given]
    response = ask(application(), "POST", "/act", headers)
    assert (response.status_code, acted) == (status, [])
    (line,) = [record.getMessage() for record in caplog.records if record.name == access.__name__]
    assert line.startswith("refused 'POST' '/act' from ")
    assert TOKEN not in line


def test_a_site_without_a_token_refuses_every_action() -> None:
    assert (ask(application(None), "POST", "/act", BEARER).status_code, acted) == (403, [])


def test_two_tokens_are_refused_though_one_is_right() -> None:
    both = [("Authorization", "Bearer nonsense"), ("Authorization", f"Bearer {TOKEN}")]
    assert (ask(application(), "POST", "/act", both).status_code, acted) == (401, [])


def test_the_token_from_the_own_page_acts() -> None:
    headers = {**BEARER, "Origin": HERE, "Sec-Fetch-Site": "same-origin"}
    assert ask(application(), "POST", "/act", headers, b"pause").text == "done"
    assert acted == [b"pause"]


@pytest.mark.parametrize("chunked", [False, True], ids=["with a length", "chunked"])
def test_a_body_over_the_limit_is_refused_before_any_route(chunked: bool) -> None:
    body = b"x" * (BODY_LIMIT + 1)
    sent = [body[:1000], body[1000:]] if chunked else body
    assert (ask(application(), "POST", "/act", BEARER, sent).status_code, acted) == (413, [])


def test_a_body_that_does_not_arrive_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(access, "BODY_TIME", 0.0)
    sent: list[Message] = []

    async def never() -> Message:
        return await asyncio.get_running_loop().create_future()  # type: ignore[no-any-return]

    async def send(message: Message) -> None:
        sent.append(message)

    scope: Scope = {
        "type": "http",
        "method": "POST",
        "path": "/act",
        "client": ("127.0.0.1", 5),
        "headers": [
            (b"host", b"localhost"),
            (b"content-length", b"5"),
            (b"authorization", f"Bearer {TOKEN}".encode()),
        ],
    }
    asyncio.run(Access(application(), Site((), TOKEN))(scope, never, send))
    assert (sent[0]["status"], acted) == (408, [])


def test_a_path_with_line_breaks_is_one_line_of_the_log(caplog: pytest.LogCaptureFixture) -> None:
    ask(application(), "POST", "/act%0d%0aFORGED")
    (line,) = [record.getMessage() for record in caplog.records if record.name == access.__name__]
    assert "\n" not in line
    assert "\r" not in line


def test_every_response_has_the_headers_and_none_allows_another_origin(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL)
    here, foreign = application(), {"Origin": "https://evil.example"}
    for method, path in (("GET", "/act"), ("GET", "/no-such-path"), ("POST", "/act")):
        response = ask(here, method, path, foreign)
        assert {name: response.headers[name] for name in HEADERS} == HEADERS
        assert response.headers["Cache-Control"] == "no-store"
        assert not [name for name in response.headers if name.startswith("access-control")]


@pytest.mark.parametrize("path", ["/../etc/passwd", "/static/../../etc/passwd", "/%2e%2e/%2e%2e/etc/passwd", "//etc"])
def test_a_path_that_climbs_leads_nowhere(path: str) -> None:
    assert ask(create_app(Site(())), "GET", path).status_code == 404


def test_below_a_prefix_nothing_is_served_beside_it() -> None:
    behind = create_app(Site((), prefix="/changeover"))
    assert ask(behind, "GET", "/changeover/healthz").text == "ok\n"
    assert ask(behind, "GET", "/healthz").status_code == 404
