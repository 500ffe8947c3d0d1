"""Hooks and notifications with real commands, a real web server and the real Apprise.

Every address in these tests contains TOKEN. After each test the fixture checks that no message, error or log line does.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.process.web_server import WebServer, refusing, web_server

from changeover.engine.hooks.run import HookFailed, HookRunner
from changeover.engine.runtime import Progress
from changeover.kit import command as kit_command
from changeover.kit.process import start_time
from changeover.model.hooks import Hook, HookPayload, Notify, Point

TOKEN = "s3cr3t-t0ken"
PAYLOAD = HookPayload(
    chain="shop", rollout=7, tier="gateway", from_template="v1", to_template="v2", at=1.5, counts={"admitted": 3}
)
BEFORE, AFTER = Point.BEFORE_TIER, Point.AFTER_TIER


class Stage:
    """The environment of a hook runner: its folder, the variables of its commands, and everything that it reports."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.mark = f"HOOK_TEST={uuid.uuid4()}"
        self.environ = {**os.environ, **dict([self.mark.split("=")])}
        self.progress: list[Progress] = []
        self.kept: list[str] = []
        self.errors: list[str] = []
        self.reported = asyncio.Event()

    def on_progress(self, event: Progress) -> None:
        self.progress.append(event)
        self.reported.set()

    def runner(self, *parts: Hook | Notify) -> HookRunner:
        return HookRunner(
            [part for part in parts if isinstance(part, Hook)],
            [part for part in parts if isinstance(part, Notify)],
            self.on_progress,
            lambda payload, text: self.kept.append(text),
            now=lambda: 1.5,
            folder=self.folder,
            environ=self.environ,
        )

    def perform(
        self, *parts: Hook | Notify, points: tuple[Point, ...] = (BEFORE,), payload: HookPayload = PAYLOAD
    ) -> None:
        async def go() -> None:
            async with self.runner(*parts) as hooks:
                for point in points:
                    await hooks.run(point, payload)

        asyncio.run(go())

    def failure(self, *parts: Hook | Notify) -> str:
        """What the error says in which a hook before the tier ends."""
        with pytest.raises(HookFailed) as caught:
            self.perform(*parts)
        self.errors += [str(caught.value), repr(caught.value), caught.value.reason]
        assert caught.value.exit_code == 2
        return str(caught.value)

    def warnings(self) -> list[str]:
        return [event.text for event in self.progress if event.level == "warning"]

    def left_running(self) -> list[str]:
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit() and start_time(int(entry.name)) is not None:
                try:
                    if self.mark.encode() in (entry / "environ").read_bytes():
                        found.append((entry / "cmdline").read_bytes().decode(errors="replace"))
                except OSError:
                    continue
        return found


@pytest.fixture
def stage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> Iterator[Stage]:
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    caplog.set_level(1)
    stage = Stage(tmp_path)
    yield stage
    assert stage.left_running() == []
    texts = [*(event.text for event in stage.progress), *stage.errors, caplog.text, *capfd.readouterr()]
    assert [text for text in texts if TOKEN in text] == []


@pytest.fixture
def server() -> Iterator[WebServer]:
    with web_server() as server:
        yield server


def command(program: str, *arguments: str, point: Point = BEFORE, **more: Any) -> Hook:
    return Hook(point=point, command=(sys.executable, "-c", program, *arguments), **{"name": "mine", **more})


def shell(script: str, point: Point = BEFORE, **more: Any) -> Hook:
    return Hook(point=point, command=("sh", "-c", script), **{"name": "mine", **more})


def webhook(server: WebServer, path: str, point: Point = BEFORE, **more: Any) -> Hook:
    return Hook(point=point, webhook=f"http://{server.address}/{path}/{TOKEN}", **more)


def notify(server: WebServer, path: str, **more: Any) -> Notify:
    return Notify(url=f"json://me:{TOKEN}@{server.address}/{path}/{TOKEN}", **{"at": (BEFORE, AFTER), **more})


# -- commands --------------------------------------------------------------------------------------------------------


def test_a_command_gets_the_payload_as_json_and_in_its_environment(stage: Stage) -> None:
    program = """
import json, os, sys
variables = {key: value for key, value in os.environ.items() if key.startswith("CHANGEOVER_")}
json.dump([json.load(sys.stdin), variables, os.getcwd(), sys.argv[1:]], open("got.json", "w"))
"""
    stage.perform(command(program, "a b", "$HOME"))
    payload, environment, folder, arguments = json.loads((stage.folder / "got.json").read_text())
    assert payload == {**PAYLOAD.data(), "point": "before_tier"}
    assert (payload["from"], payload["to"]) == ("v1", "v2")
    assert environment["CHANGEOVER_POINT"] == "before_tier"
    assert (environment["CHANGEOVER_FROM"], environment["CHANGEOVER_TO"]) == ("v1", "v2")
    assert (folder, arguments) == (str(stage.folder), ["a b", "$HOME"])


def test_a_command_that_succeeds_is_reported_with_its_output(stage: Stage) -> None:
    stage.perform(shell("echo not frozen"))
    assert [event.level for event in stage.progress] == ["info"]
    assert stage.progress[0].text.startswith("before_tier hook mine passed in ")
    assert stage.progress[0].text.endswith(". Its output:\n    not frozen")


def test_a_relative_program_is_looked_for_in_the_chain_files_folder(stage: Stage) -> None:
    program = stage.folder / "check.sh"
    program.write_text("#!/bin/sh\necho here\n")
    program.chmod(0o755)
    stage.perform(Hook(point=BEFORE, command=("./check.sh",)))
    assert "hook check.sh passed" in stage.progress[0].text


def test_a_command_need_not_read_what_it_is_given(stage: Stage) -> None:
    stage.perform(shell("exit 0"), payload=HookPayload("shop", 7, "gateway", "v1", "v2", 1.5, reason="x" * 1_000_000))
    assert stage.warnings() == []


def test_a_failing_command_before_a_tier_raises_with_the_end_of_its_output(stage: Stage) -> None:
    error = stage.failure(shell("echo frozen until Monday >&2; exit 3"))
    assert error.startswith(
        "tier gateway: before_tier hook mine ended with exit code 3. Its output:\n    frozen until Monday"
    )
    assert "No instance of gateway was changed. Running instances continue to serve." in error
    assert stage.errors[-1] == "before_tier hook mine ended with exit code 3: frozen until Monday"


def test_hooks_of_one_point_run_in_order_and_the_first_failure_is_the_last(stage: Stage) -> None:
    stage.failure(shell("echo 1 >> ran"), shell("echo 2 >> ran; exit 1"), shell("echo 3 >> ran"))
    assert (stage.folder / "ran").read_text().split() == ["1", "2"]


def test_failures_of_other_hooks_are_reported_and_stop_nothing(stage: Stage) -> None:
    others = [point for point in Point if not point.can_stop]
    hooks = [shell("echo $CHANGEOVER_POINT >> ran; exit 1", point) for point in others for _ in range(2)]
    stage.perform(*hooks, points=tuple(Point))
    assert (stage.folder / "ran").read_text().split() == [point.value for point in others for _ in range(2)]
    assert len(stage.warnings()) == len(hooks)
    assert stage.warnings()[0] == "after_tier hook mine ended with exit code 1"


def test_only_the_hooks_of_the_point_run(stage: Stage) -> None:
    stage.perform(shell("echo before >> ran"), shell("echo after >> ran", AFTER), points=(AFTER,))
    assert (stage.folder / "ran").read_text().split() == ["after"]


GRANDCHILD = """
import signal, subprocess, sys
child = subprocess.Popen(["sleep", "1000"], process_group=0)
open("pid", "w").write(str(child.pid))
"""


def test_a_timeout_ends_the_whole_session(stage: Stage) -> None:
    error = stage.failure(command(f"{GRANDCHILD}\nprint('waiting', flush=True)\nsignal.pause()", timeout="2s"))
    assert "before_tier hook mine took longer than 2s and was killed. Its output:\n    waiting" in error
    assert start_time(int((stage.folder / "pid").read_text())) is None


def test_a_command_that_ignores_being_asked_to_end_is_ended(stage: Stage) -> None:
    assert "took longer" in stage.failure(shell("trap '' TERM INT HUP; while :; do sleep 1; done", timeout="300ms"))


def test_what_a_command_left_behind_ends_with_it_and_is_not_waited_for(stage: Stage) -> None:
    began = time.monotonic()
    stage.perform(command(GRANDCHILD))
    assert start_time(int((stage.folder / "pid").read_text())) is None
    assert time.monotonic() - began < 20


def test_a_process_that_cannot_be_killed_is_reported(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """As it would be with what belongs to another user."""
    monkeypatch.setattr(kit_command, "kill_session", lambda pid, start: None)
    stage.perform(shell("sleep 1000 & echo $! > pid"))
    survivor = int((stage.folder / "pid").read_text())
    os.kill(survivor, signal.SIGKILL)
    while start_time(survivor) is not None:
        os.sched_yield()
    assert stage.warnings() == [
        "before_tier hook mine started a process that cannot be killed from here; it still runs"
    ]


def test_a_cancelled_rollout_ends_its_hook(stage: Stage) -> None:
    fifo = stage.folder / "fifo"
    os.mkfifo(fifo)

    async def go() -> int:
        async with stage.runner(shell("sleep 1000 & echo $! > fifo; wait")) as hooks:
            task = asyncio.create_task(hooks.run(BEFORE, PAYLOAD))
            pid = int(await asyncio.to_thread(fifo.read_text))
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            return pid

    assert start_time(asyncio.run(go())) is None


@pytest.mark.parametrize("words", [("./missing",), ("/",), ("no-such-program-anywhere",)])
def test_a_command_that_cannot_be_run_fails(stage: Stage, words: tuple[str, ...]) -> None:
    assert f"hook mine cannot be run in {stage.folder}: " in stage.failure(
        Hook(point=BEFORE, name="mine", command=words)
    )


def test_a_command_ended_by_a_signal_fails(stage: Stage) -> None:
    assert "was killed by signal 9" in stage.failure(shell("kill -9 $$"))


def test_of_a_huge_output_the_end_is_kept(stage: Stage) -> None:
    error = stage.failure(command("print('x' * 30_000_000); print('y' * 1500); raise SystemExit('the end')"))
    assert error.splitlines()[1:3] == ["    […]", "    " + "x" * (2000 - 1500 - 2 - len("the end"))]
    assert error.splitlines()[4] == "    the end"
    assert len(error) < 2500


def test_endless_output_is_read_until_the_timeout_and_holds_nothing_up(stage: Stage) -> None:
    async def go() -> int:
        looks = 0
        async with stage.runner(shell("yes", timeout="500ms")) as hooks:
            task = asyncio.create_task(hooks.run(BEFORE, PAYLOAD))
            while not task.done():
                await asyncio.sleep(0)
                looks += 1
            with pytest.raises(HookFailed):
                await task
        return looks

    assert asyncio.run(go()) > 50


def test_output_does_nothing_to_a_terminal(stage: Stage) -> None:
    stage.perform(command(r"print('\x1b[31mred\x1b[0m \x1b]0;title\x07 \x9b2J [bold] a\rb')"))
    assert stage.progress[0].text.endswith("Its output:\n    red  ?2J [bold] a\n    b")


def test_secrets_are_taken_out_of_what_a_command_writes(stage: Stage, server: WebServer) -> None:
    stage.environ["URL"] = f"http://{server.address}/200/{TOKEN}"
    talks = command("import os; print(os.environ['URL']); print('é' * 8500 + '" + f"{TOKEN} {TOKEN}" + "' * 300)")
    stage.perform(Hook(point=AFTER, webhook="env:URL"), talks)
    assert "*** ***" in stage.progress[0].text


@pytest.mark.parametrize("cut", range(0, 30, 3))
def test_a_secret_is_not_shown_in_part_where_the_output_was_cut_off(stage: Stage, server: WebServer, cut: int) -> None:
    """The token begins before what is kept and ends in it."""
    talks = command(f"print('x' * 20000 + '{TOKEN}' * 900 + 'y' * {cut})")
    stage.perform(webhook(server, "200", AFTER), talks)
    shown = stage.progress[0].text.replace("***", "").split("Its output:")[1]
    assert {*shown} <= {*" \n[…]y*"}


# -- webhooks --------------------------------------------------------------------------------------------------------


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


# -- notifications ---------------------------------------------------------------------------------------------------


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
