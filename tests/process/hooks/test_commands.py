"""Hooks that are commands, with real processes."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time

import pytest
from tests.process.hooks.staging import AFTER, BEFORE, PAYLOAD, TOKEN, Stage, command, shell, webhook
from tests.process.web_server import WebServer

from changeover.engine.hooks.run import HookFailed
from changeover.kit import command as kit_command
from changeover.kit.process import start_time
from changeover.model.hooks import Hook, HookPayload, Point


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
        time.sleep(0.02)
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
