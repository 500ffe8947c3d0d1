"""Calls of the Compute API: where they go, with which credentials, and which are made again."""

from __future__ import annotations

import asyncio
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from google.auth import impersonated_credentials
from google.auth.credentials import AnonymousCredentials
from google.auth.exceptions import DefaultCredentialsError, RefreshError
from google.oauth2.credentials import Credentials

from changeover.model.errors import ChangeoverError
from changeover.model.platform import PlatformSettings
from changeover.platforms.gcp.api.calls import Calls, Refused
from changeover.platforms.gcp.api.endpoint import GOOGLE, OVERRIDE, Endpoint, credentials_for, endpoint_of
from changeover.platforms.gcp.api.groups import path_below_project
from changeover.platforms.gcp.api.retry import Failure, RetryTiming, pause
from changeover.ports import Unknown


def settings(endpoint: str | None = None) -> PlatformSettings:
    given = {} if endpoint is None else {"endpoint": endpoint}
    return PlatformSettings.model_validate({"kind": "gcp", "project": "shop", "zone": "europe-west1-b", **given})


def test_the_chain_files_endpoint_comes_before_gclouds_and_that_before_googles() -> None:
    override = {OVERRIDE: "http://127.0.0.1:8080/compute/v1/"}
    assert endpoint_of(settings(), {}) == Endpoint(GOOGLE, with_credentials=True)
    assert endpoint_of(settings(), override) == Endpoint("http://127.0.0.1:8080", with_credentials=False)
    found = endpoint_of(settings("https://compute.example.com/compute/v1"), override)
    assert found == Endpoint("https://compute.example.com", with_credentials=True)


@pytest.mark.parametrize("host", ["127.0.0.1:8080", "localhost", "[::1]:8080"])
def test_plain_http_to_loopback_gets_no_credentials(host: str) -> None:
    assert not endpoint_of(settings(f"http://{host}"), {}).with_credentials


@pytest.mark.parametrize("host", ["10.0.0.7:8080", "compute.example.com", "127.0.0.1.example.com"])
def test_plain_http_to_anything_else_is_refused(host: str) -> None:
    with pytest.raises(ChangeoverError, match="in the clear"):
        endpoint_of(settings(f"http://{host}"), {})


@pytest.mark.parametrize("value", ["http://127.0.0.1:8080/compute/beta/", "ftp://127.0.0.1", "127.0.0.1:8080"])
def test_an_override_that_is_no_address_of_version_1_is_refused(value: str) -> None:
    with pytest.raises(ChangeoverError, match=OVERRIDE):
        endpoint_of(settings(), {OVERRIDE: value})


ACCOUNT = "roller@shop.iam.gserviceaccount.com"


def test_an_endpoint_of_plain_http_looks_for_no_credentials_whatever_the_chain_file_names(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("google.auth.default", lambda **_: pytest.fail("looked for credentials"))
    found = endpoint_of(settings("http://127.0.0.1:8080"), {})
    for impersonate in (None, ACCOUNT):
        assert isinstance(credentials_for(found, impersonate), AnonymousCredentials)


def test_another_account_is_acted_as_with_the_own_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    own = Credentials(token="own")  # type: ignore[no-untyped-call]
    monkeypatch.setattr("google.auth.default", lambda scopes: (own, "shop"))
    google = Endpoint(GOOGLE, with_credentials=True)
    assert credentials_for(google, None) is own
    acting = credentials_for(google, ACCOUNT)
    assert isinstance(acting, impersonated_credentials.Credentials)
    assert (acting.service_account_email, acting._source_credentials.token) == (ACCOUNT, "own")


def test_without_credentials_the_operator_learns_where_they_come_from(monkeypatch: pytest.MonkeyPatch) -> None:
    def none(scopes: object) -> None:
        raise DefaultCredentialsError("Your default credentials were not found. To set up")  # type: ignore[no-untyped-call]

    monkeypatch.setattr("google.auth.default", none)
    with pytest.raises(ChangeoverError, match="application-default login"):
        credentials_for(Endpoint(GOOGLE, with_credentials=True), None)


DENIED = RefreshError(  # type: ignore[no-untyped-call]
    "Unable to acquire impersonated credentials",
    '{"error": {"code": 403, "message": "Permission \'iam.serviceAccounts.getAccessToken\' denied"}}',
)


def test_credentials_that_are_refused_are_named_at_once_and_not_asked_for_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = []

    class Groups:
        def __init__(self, **_: object) -> None: ...

        def get(self, **_: object) -> None:
            asked.append(1)
            raise DENIED

    monkeypatch.setattr("google.cloud.compute_v1.InstanceGroupManagersClient", Groups)
    calls = Calls(Endpoint("http://127.0.0.1:1", with_credentials=False), None, RetryTiming())
    with pytest.raises(Unknown, match="getAccessToken' denied") as error:
        asyncio.run(calls.ask("group web", "InstanceGroupManagersClient", "get", {}, str))
    assert "the credentials were refused: Unable to acquire impersonated credentials" in str(error.value)
    assert len(asked) == 1


@pytest.mark.parametrize(
    ("code", "body"),
    [
        (200, b"<html>a proxy</html>"),
        (200, b"[]"),
        (200, b"{}"),
        (200, b'{"name": 3}'),
        (302, b"<html>log in first</html>"),
        (400, b'{"error": "x"}'),
        (404, b"<html>not found</html>"),
    ],
)
def test_an_answer_of_another_server_is_none_and_what_it_does_not_have_is_not_missing(code: int, body: bytes) -> None:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(code)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None: ...

    about = {"project": "shop", "zone": "z", "instance_group_manager": "web"}
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        endpoint = Endpoint(f"http://127.0.0.1:{server.server_port}", with_credentials=False)
        calls = Calls(endpoint, None, RetryTiming(attempts=1))
        with pytest.raises(Unknown, match="another server is at its address") as error:
            asyncio.run(calls.ask("group web", "InstanceGroupManagersClient", "get", about, str))
        server.shutdown()
    assert not isinstance(error.value, Refused), "it has no status that could mean something"


TIMING = RetryTiming()


@pytest.mark.parametrize(
    "failure",
    [
        Failure(None, "", "connection reset"),
        Failure(429, "", ""),
        Failure(500, "backendError", ""),
        Failure(503, "", ""),
    ],
)
def test_a_call_without_a_good_answer_is_made_again_ever_later_and_not_for_ever(failure: Failure) -> None:
    pauses = [pause(failure, attempt, TIMING) for attempt in range(1, TIMING.attempts + 1)]
    assert pauses[-1] is None
    waits = [seconds for seconds in pauses if seconds is not None]
    assert len(waits) == TIMING.attempts - 1
    assert waits == sorted(waits)


def test_of_the_refusals_only_a_used_up_quota_of_calls_is_repeated() -> None:
    assert pause(Failure(403, "rateLimitExceeded", ""), 1, TIMING) == TIMING.limited
    for code, reason in ((403, "forbidden"), (403, "quotaExceeded"), (400, "invalid"), (404, ""), (409, ""), (412, "")):
        assert pause(Failure(code, reason, ""), 1, TIMING) is None


@pytest.mark.parametrize(
    "link",
    [
        "https://www.googleapis.com/compute/v1/projects/p/zones/z/instances/n",
        "https://www.googleapis.com/compute/beta/projects/p/zones/z/instances/n",
        "http://127.0.0.1:9/compute/v1/projects/other/zones/z/instances/n",
        "zones/z/instances/n",
    ],
)
def test_links_are_compared_by_what_stands_behind_the_project(link: str) -> None:
    assert path_below_project(link) == "zones/z/instances/n"
