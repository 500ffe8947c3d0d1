"""Calls of the Compute API: where they go, with which credentials, and which are made again."""

from __future__ import annotations

import pytest

from changeover.model.errors import ChangeoverError
from changeover.model.platform import PlatformSettings
from changeover.platforms.gcp.api.endpoint import GOOGLE, OVERRIDE, Endpoint, endpoint_of
from changeover.platforms.gcp.api.groups import path_below_project
from changeover.platforms.gcp.api.retry import Failure, RetryTiming, pause


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
