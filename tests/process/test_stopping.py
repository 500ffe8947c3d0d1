"""Instances that a stop signal must end: shells without `exec`, work after the response, signals of their own."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import yaml

from changeover import wiring
from changeover.model.instance import Instance

WORKS_ON = """
import os, signal, sys, time
def stop(number, frame):
    time.sleep(0.3)
    open("finished", "w").write(signal.Signals(number).name)
    os._exit(0)
signal.signal(signal.SIGTERM, stop)
signal.signal(signal.SIGINT, stop)
open("up", "w").close()
while True:
    signal.pause()
"""
"""A server that goes on working after its last response."""


@asynccontextmanager
async def started(folder: Path, **template: Any) -> AsyncIterator[tuple[wiring.Wired, Instance]]:
    (folder / "server.py").write_text(WORKS_ON)
    (folder / "start.sh").write_text(f"{sys.executable} {folder}/server.py\necho ended\n")
    file = folder / "chain.yaml"
    tier = {"name": "runtime", "kind": "app", "templates": {"v1": template}}
    file.write_text(yaml.safe_dump({"tiers": [tier]}))
    wired = wiring.wire(file, folder / "state")
    instance = await wired.platform.create("runtime-v1-1", wired.chain.tiers[0], "v1")
    try:
        async with asyncio.timeout(40):
            while not (Path(instance.directory) / "up").exists():
                await asyncio.sleep(0.01)
        yield wired, instance
    finally:
        await wired.platform.kill(instance)


async def stop(wired: wiring.Wired, instance: Instance) -> None:
    await wired.platform.stop(instance, *wired.runtime.stop_of(instance))
    async with asyncio.timeout(40):
        while not await wired.platform.gone([instance], [instance.name]):
            await asyncio.sleep(0.01)


def finished(instance: Instance) -> str:
    return (Path(instance.directory) / "finished").read_text()


def test_the_server_behind_a_shell_gets_the_signal_and_is_waited_for(tmp_path: Path) -> None:
    async def case() -> None:
        async with started(tmp_path, command=["bash", str(tmp_path / "start.sh")]) as (wired, instance):
            await stop(wired, instance)
            assert finished(instance) == "SIGTERM"

    asyncio.run(case())


def test_a_shell_with_job_control_starts_its_server_in_a_group_of_its_own_which_gets_the_signal(tmp_path: Path) -> None:
    async def case() -> None:
        async with started(tmp_path, command=["bash", "-m", str(tmp_path / "start.sh")]) as (wired, instance):
            await stop(wired, instance)
            assert finished(instance) == "SIGTERM"

    asyncio.run(case())


def test_the_signal_is_the_one_of_the_template_and_can_go_to_the_leader_alone(tmp_path: Path) -> None:
    async def case() -> None:
        command = [sys.executable, str(tmp_path / "server.py")]
        async with started(tmp_path, command=command, stop={"signal": "INT", "to": "leader"}) as (wired, instance):
            assert wired.runtime.stop_of(instance)[1] == "leader"
            await stop(wired, instance)
            assert finished(instance) == "SIGINT"

    asyncio.run(case())


def test_the_grace_of_a_template_reaches_the_rollout(tmp_path: Path) -> None:
    async def case() -> None:
        command = [sys.executable, str(tmp_path / "server.py")]
        async with started(tmp_path, command=command, stop={"grace": "45s"}) as (wired, _):
            assert wired.runtime.stop_grace("runtime") == {"v1": 45.0}

    asyncio.run(case())
