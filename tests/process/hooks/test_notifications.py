"""Notifications, with a real web server and the real Apprise."""

from __future__ import annotations

import asyncio

import pytest
from tests.process.hooks.staging import AFTER, BEFORE, PAYLOAD, TOKEN, Stage, notify, shell
from tests.process.web_server import WebServer, refusing

from changeover.model.hooks import HookPayload, Notify, Point


def test_a_notification_says_what_happened(stage: Stage, server: WebServer) -> None:
    ended = HookPayload(
        "shop", 7, "gateway", "v1", "v2", 1.5, outcome="undone", reason="2 requests broke", counts={"admitted": 3}
    )
    stage.perform(notify(server, "200", at=(Point.ON_FAILURE,)), points=(BEFORE, Point.ON_FAILURE), payload=ended)
    (asked,) = server.asked
    assert asked.body["title"] == "shop: gateway v1 -> v2: undone"
    assert asked.body["message"].splitlines() == [
        "2 requests broke",
        "Rollout 7 of chain shop, on failure.",
        "3 admitted",
    ]
    assert asked.body["type"] == "failure"
    assert stage.progress == []


def test_the_address_of_a_notification_may_come_from_the_environment(stage: Stage, server: WebServer) -> None:
    stage.environ["PYTHONWARNINGS"] = "error"  # some of Apprise's services would not be loaded
    stage.environ["TELL"] = f"json://{server.address}/200/{TOKEN}"
    stage.perform(Notify(url="env:TELL", at=(BEFORE,)))
    assert [asked.path for asked in server.asked] == [f"/200/{TOKEN}"]


def test_notifications_come_in_order(stage: Stage, server: WebServer) -> None:
    points = (BEFORE, Point.AFTER_STEP, AFTER)
    stage.perform(notify(server, "200", at=points), points=points)
    ways = [asked.body["title"].rpartition(": ")[2] for asked in server.asked]
    assert ways == ["before tier", "after step", "after tier"]


def test_a_rollout_does_not_wait_for_a_notification_but_its_end_does(stage: Stage, server: WebServer) -> None:
    async def go() -> None:
        async with stage.runner(notify(server, "never")) as hooks:
            await hooks.run(BEFORE, PAYLOAD)
            assert not server.came.is_set()
            await asyncio.to_thread(server.came.wait)
            server.let_go.set()

    asyncio.run(go())
    assert stage.progress == []


@pytest.mark.parametrize("path", ["500", "garbage"])
def test_a_notification_that_fails_is_reported(stage: Stage, server: WebServer, path: str) -> None:
    stage.perform(notify(server, path))
    (error,) = stage.warnings()
    assert error.startswith("notify json://*** did not receive before_tier: ")


def test_a_refused_notification_is_reported(stage: Stage) -> None:
    with refusing() as address:
        stage.perform(Notify(url=f"json://{address}/{TOKEN}", at=(BEFORE,)))
    (error,) = stage.warnings()
    assert "did not receive before_tier: A Connection error" in error


def test_a_notification_that_takes_too_long_is_given_up(stage: Stage, server: WebServer) -> None:
    stage.perform(notify(server, "never", timeout="1s"))
    assert stage.warnings() == ["notify json://*** did not receive before_tier: it took longer than 1s"]


def test_a_stopped_command_does_not_wait_for_notifications(stage: Stage, server: WebServer) -> None:
    async def go() -> None:
        async with stage.runner(notify(server, "never")) as hooks:
            await hooks.run(BEFORE, PAYLOAD)
            await asyncio.to_thread(server.came.wait)
            raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(go())
    assert stage.warnings() == ["1 notification was not sent before the command ended"]


@pytest.mark.parametrize("url", [f"slak://{TOKEN}/x", f"slack://{TOKEN}", f"mailto://{TOKEN}"])
def test_an_address_that_apprise_does_not_know_is_reported_at_the_start(stage: Stage, url: str) -> None:
    async def go() -> None:
        async with stage.runner(Notify(url=url)):
            await stage.reported.wait()

    asyncio.run(go())
    (error,) = stage.warnings()
    assert error.startswith(f"notify {url.split(':')[0]}://*** cannot work: ")


def test_a_notification_without_its_variable_is_reported_once(stage: Stage) -> None:
    stage.perform(Notify(url="env:TELL", at=(BEFORE,)), points=(BEFORE, BEFORE))
    assert stage.warnings() == ["notify env:TELL cannot be reached: environment variable TELL is not set"]


def test_notifications_are_sent_also_when_a_hook_stops_the_rollout(stage: Stage, server: WebServer) -> None:
    stage.failure(shell("exit 1"), notify(server, "200"))
    assert len(server.asked) == 1
