"""Uploads from pages of other origins: preflights, readable responses, and origins that are not allowed."""

from __future__ import annotations

import pytest
from starlette.types import Scope
from tests.unit.uploads.serving import Instance

from changeover.uploads import CompletedUpload, Cors, FileStore, Forbidden, Response

PAGE = "https://example.com"
PREFLIGHT = {"access_control_request_method": "PATCH", "access_control_request_headers": "tus-resumable,x-own"}


def with_cors(store: FileStore, cors: Cors) -> Instance:
    def refuse(_: Scope) -> str:
        raise Forbidden("log in first")

    return Instance(store, authorise=refuse, cors=cors)


async def test_a_preflight_is_answered_before_the_client_is_authorised(store: FileStore) -> None:
    instance = with_cors(store, Cors([PAGE], max_age=60))
    got = await instance.got("OPTIONS", "/some-upload", origin=PAGE, **PREFLIGHT)
    assert got.status == 204
    assert got.headers["access-control-allow-origin"] == PAGE
    assert got.headers["vary"] == "Origin"
    assert got.headers["access-control-allow-headers"] == "tus-resumable, x-own"
    assert got.headers["access-control-max-age"] == "60"
    for method in ("PATCH", "PUT", "HEAD", "DELETE", "POST"):
        assert method in got.headers["access-control-allow-methods"]


async def test_a_page_may_read_a_refusal_too(store: FileStore) -> None:
    got = await with_cors(store, Cors([PAGE])).got("POST", "/", b"hello", origin=PAGE)
    assert (got.status, got.headers["access-control-allow-origin"]) == (403, PAGE)


@pytest.mark.parametrize("method", ["OPTIONS", "POST"])
@pytest.mark.parametrize("origin", ["https://evil.example", "http://example.com", "null", PAGE + ".evil.example"])
async def test_another_origin_is_not_allowed(store: FileStore, method: str, origin: str) -> None:
    instance = Instance(store, cors=Cors([PAGE]))
    got = await instance.got(method, "/", origin=origin, **(PREFLIGHT if method == "OPTIONS" else {}))
    assert [name for name in got.headers if name.startswith("access-control")] == []
    assert got.headers["vary"] == "Origin"


async def test_every_origin_may_be_allowed(store: FileStore) -> None:
    got = await Instance(store, cors=Cors(["*"])).got("POST", "/", b"hello", origin="null")
    assert got.headers["access-control-allow-origin"] == "*"
    assert "vary" not in got.headers


async def test_cookies_may_be_allowed(store: FileStore) -> None:
    instance = Instance(store, cors=Cors([PAGE], credentials=True))
    for method in ("OPTIONS", "POST"):
        got = await instance.got(method, "/", origin=PAGE, **(PREFLIGHT if method == "OPTIONS" else {}))
        assert got.headers["access-control-allow-credentials"] == "true"


async def test_the_options_of_tus_are_no_preflight(store: FileStore) -> None:
    got = await Instance(store, cors=Cors([PAGE])).got("OPTIONS", "/", origin=PAGE)
    assert got.headers["tus-version"] == "1.0.0"
    assert "Tus-Version" in got.headers["access-control-expose-headers"]


CREATIONS: list[tuple[str, dict[str, str]]] = [
    ("/", {}),
    ("/", {"upload_complete": "?0"}),
    ("/", {"upload_incomplete": "?1", "upload_draft_interop_version": "3"}),
    ("/", {"tus_resumable": "1.0.0", "upload_length": "5", "upload_metadata": "name aGk="}),
    ("/", {"tus_resumable": "1.0.0", "upload_defer_length": "1", "upload_concat": "partial"}),
    ("/?parts", {}),
    ("/?uploadType=resumable", {}),
]


async def test_a_page_may_read_every_field_of_every_dialect(store: FileStore) -> None:
    async def handler(_: CompletedUpload) -> Response:
        return Response(200, (("X-Own", "1"), ("Access-Control-Allow-Origin", "*")))

    instance = Instance(store, handler, cors=Cors([PAGE], expose=["X-Own"]))
    simple = {"content-type", "content-length", "cache-control", "vary"}  # readable without being exposed
    for path, headers in CREATIONS:
        got = await instance.got("POST", path, origin=PAGE, **headers)
        responses = [got]
        if headers.get("tus_resumable"):
            responses.append(await instance.got("HEAD", f"/{got.id}", origin=PAGE, tus_resumable="1.0.0"))
        elif "parts" not in path:
            responses.append(await instance.got("HEAD", f"/{got.id}", origin=PAGE))
            body = {"content_range": "bytes 0-1/9"}
            responses.append(await instance.got("PUT", f"/{got.id}", b"he", origin=PAGE, **body))
        for each in (*responses, await instance.got("OPTIONS", "/", origin=PAGE)):
            exposed = {name.strip().lower() for name in each.headers["access-control-expose-headers"].split(",")}
            sent = {name for name in each.headers if not name.startswith("access-control-")}
            assert sent - exposed - simple - {"x-content-type-options"} == set()
            assert each.headers["access-control-allow-origin"] == PAGE


@pytest.mark.parametrize(
    "settings",
    [
        {"origins": PAGE},
        {"origins": [PAGE + "/"]},
        {"origins": ["example.com"]},
        {"origins": ["https://*.example.com"]},
        {"origins": ["*"], "credentials": True},
        {"origins": [PAGE], "expose": ["X-A, X-B"]},
    ],
)
def test_a_setting_without_effect_is_refused(settings: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r".{10}"):
        Cors(**settings)  # type: ignore[arg-type]
