"""Hooks that are webhooks, with a real web server."""

from __future__ import annotations

import pytest
from tests.process.hooks.staging import AFTER, BEFORE, PAYLOAD, TOKEN, Stage, webhook
from tests.process.web_server import WebServer, refusing

from changeover.model.hooks import Hook


def test_a_webhook_is_posted_the_payload(stage: Stage, server: WebServer) -> None:
    stage.perform(webhook(server, "204"))
    (asked,) = server.asked
    assert asked.path == f"/204/{TOKEN}"
    assert asked.headers["Content-Type"] == "application/json"
    assert asked.body == {**PAYLOAD.data(), "point": "before_tier"}
    assert f"before_tier hook http://{server.address} passed in" in stage.progress[0].text


def test_a_webhooks_address_may_come_from_the_environment(stage: Stage, server: WebServer) -> None:
    stage.environ["URL"] = f"http://me:{TOKEN}@{server.address}/200/x"
    stage.perform(Hook(point=BEFORE, webhook="env:URL"))
    assert server.asked[0].headers["Authorization"].startswith("Basic ")
    assert "hook env:URL passed" in stage.progress[0].text


def test_a_missing_variable_is_reported_at_the_start_and_fails_where_it_is_needed(stage: Stage) -> None:
    error = stage.failure(Hook(point=BEFORE, webhook="env:URL"))
    assert "hook env:URL cannot be reached: environment variable URL is not set" in error
    assert stage.warnings() == ["before_tier hook env:URL cannot be reached: environment variable URL is not set"]


@pytest.mark.parametrize(
    "held", [f"ftp://host/{TOKEN}", TOKEN, f"http:///{TOKEN}", f"http://[{TOKEN}", f"http://h:{TOKEN}/"]
)
def test_a_variable_that_holds_no_web_address_is_not_repeated(stage: Stage, held: str) -> None:
    stage.environ["URL"] = held
    assert "cannot be " in stage.failure(Hook(point=BEFORE, webhook="env:URL"))


def test_a_response_other_than_2xx_fails_with_its_body(stage: Stage, server: WebServer) -> None:
    error = stage.failure(webhook(server, "500"))
    assert "responded with 500. Its output:\n    no route for /500/***" in error


def test_redirects_are_not_followed(stage: Stage, server: WebServer) -> None:
    assert "responded with 307; redirects are not followed" in stage.failure(webhook(server, "move"))
    assert len(server.asked) == 1


@pytest.mark.parametrize("path", ["never", "drip"])
def test_the_timeout_of_a_webhook_is_for_the_whole_of_it(stage: Stage, server: WebServer, path: str) -> None:
    assert "did not respond within 300ms" in stage.failure(webhook(server, path, timeout="300ms"))


def test_an_endless_answer_is_not_read_to_its_end(stage: Stage, server: WebServer) -> None:
    error = stage.failure(webhook(server, "endless"))
    assert "responded with 503. Its output:\n    /***/***/***/***" in error
    assert len(error) < 2500


def test_what_is_no_http_fails(stage: Stage, server: WebServer) -> None:
    assert "could not be reached: " in stage.failure(webhook(server, "garbage"))


def test_a_refused_connection_fails(stage: Stage) -> None:
    with refusing() as address:
        assert "could not be reached: " in stage.failure(Hook(point=BEFORE, webhook=f"http://{address}/{TOKEN}"))


def test_a_webhook_that_fails_after_a_point_is_reported(stage: Stage, server: WebServer) -> None:
    stage.perform(webhook(server, "500", AFTER), points=(AFTER,))
    assert len(stage.warnings()) == 1


def test_only_what_others_wrote_is_taken_secrets_out_of(stage: Stage, server: WebServer) -> None:
    """The path holds words that stand in this program's own messages."""
    error = stage.failure(webhook(server, "500/before_tier/hook/answered/gateway"))
    assert error.startswith(
        f"tier gateway: before_tier hook http://{server.address} responded with 500. Its output:\n    no route"
    )
    assert "/500/***/***/***/***/***" in error
