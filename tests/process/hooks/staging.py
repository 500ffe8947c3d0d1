"""The environment of a hook runner, and hooks to run in it. Each address contains TOKEN."""

from __future__ import annotations

import asyncio
import os
import sys
import uuid
from pathlib import Path
from typing import Any

import pytest
from tests.process.web_server import WebServer

from changeover.engine.hooks.run import HookFailed, HookRunner
from changeover.engine.runtime import Progress
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


def command(program: str, *arguments: str, point: Point = BEFORE, **more: Any) -> Hook:
    return Hook(point=point, command=(sys.executable, "-c", program, *arguments), **{"name": "mine", **more})


def shell(script: str, point: Point = BEFORE, **more: Any) -> Hook:
    return Hook(point=point, command=("sh", "-c", script), **{"name": "mine", **more})


def webhook(server: WebServer, path: str, point: Point = BEFORE, **more: Any) -> Hook:
    return Hook(point=point, webhook=f"http://{server.address}/{path}/{TOKEN}", **more)


def notify(server: WebServer, path: str, **more: Any) -> Notify:
    return Notify(url=f"json://me:{TOKEN}@{server.address}/{path}/{TOKEN}", **{"at": (BEFORE, AFTER), **more})
