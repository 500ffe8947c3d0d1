"""Every registered hop as a process: it becomes ready, is a lame duck while it must be, and ends on its stop signal.

And a hop of the tests' own, registered by one line, as a whole chain: nothing else has to know it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import pytest
from tests.kong.kongs import have_kong
from tests.unit.hops import conforming, contexts
from tests.unit.hops.toy import Toy

from changeover import chain_files, wiring
from changeover.engine.controller import Controller
from changeover.engine.journal.lease import lease
from changeover.engine.lifecycle import bring_up, take_down
from changeover.hops import registry
from changeover.kit import process, sockets
from changeover.kit.direct_http import DirectClient
from changeover.model.errors import ChangeoverError
from changeover.model.instance import Instance
from changeover.platforms.local import tls
from changeover.ports import Hop, RoutesInward

HOST = "127.0.0.1"
PATIENCE = 40.0


async def until(holds: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not await holds():
            await asyncio.sleep(0.02)


@asynccontextmanager
async def running(kind: str, folder: Path, client: DirectClient) -> AsyncIterator[tuple[Hop, Instance]]:
    """An instance as its platform would start it, in front of a tier without members."""
    made = registry.HOPS[kind]
    hop = made(client)
    home, members = folder / "i", folder / "members" / "endpoints.json"
    for needed in (home, members.parent, folder / "shared"):
        needed.mkdir(parents=True)
    tls.ensure(folder / "tls")
    ports = [sockets.free_port(HOST, set())]
    ports.append(sockets.free_port(HOST, set(ports)) if made.traits.own_control else ports[0])
    instance = replace(contexts.instance("edge-v1-1", *ports), directory=str(home))
    if isinstance(hop, RoutesInward):
        await hop.router(contexts.BEHIND, str(members), lambda: (instance,)).open()
    launch = hop.launch(
        conforming.smallest(made),
        conforming.context(
            made,
            instance=instance,
            tier=contexts.tier(kind, drain={"deadline": "5s"}),
            outermost=True,
            shared=str(folder / "shared"),
            lame_duck=str(home / "lame-duck"),
            tls=str(folder / "tls"),
            behind=(replace(contexts.INNER, membership=str(members)),),
        ),
    )
    for name, text in launch.files.items():
        (home / name).write_text(text)
    if launch.check:
        await asyncio.to_thread(subprocess.run, launch.check, cwd=home, check=True, capture_output=True, timeout=60)
    pid, start = process.spawn(launch.argv, home=home, env={**os.environ, **launch.env})
    try:
        yield hop, replace(instance, pid=pid, born=start)
    finally:
        process.kill_session(pid, start, home)


@pytest.mark.parametrize("kind", conforming.KINDS)
def test_an_instance_is_ready_then_a_lame_duck_and_ready_again_and_ends_on_its_stop_signal(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    have_kong(tmp_path, monkeypatch)

    async def lives() -> None:
        client = DirectClient()
        async with running(kind, tmp_path, client) as (hop, instance):
            lame_duck = Path(instance.directory) / "lame-duck"

            async def ready() -> bool:
                return not await hop.not_ready(instance, PATIENCE)

            await until(ready)
            found = await hop.in_flight(instance)
            assert found is None or (found.requests or 0, found.connections) == (0, 0)

            async def unready() -> bool:
                return bool(await hop.not_ready(instance, PATIENCE))

            lame_duck.touch()
            for _ in range(2):  # a command without visible effect is given again
                await hop.lame_duck(instance, on=True)
            await until(unready)
            lame_duck.unlink()
            for _ in range(2):
                await hop.lame_duck(instance, on=False)
            await until(ready)
            assert instance.pid is not None
            assert instance.born is not None
            process.send(instance.pid, instance.born, hop.traits.stop_signal)
            deadline = time.monotonic() + PATIENCE
            while process.is_alive(instance.pid, instance.born):
                assert time.monotonic() < deadline, "it is idle, and does not end"
                await asyncio.sleep(0.02)
            assert await unready()

    asyncio.run(lives())


# -- a new hop -----------------------------------------------------------------------------------------------------

CHAIN = """
tiers:
  - name: edge
    kind: toy
    size: 1
    templates: {v1: {greeting: one}, v2: {greeting: two}}
    health: {interval: 50ms}
    update: {min_ready: 0}
"""


@pytest.fixture
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "HOPS", MappingProxyType({**registry.HOPS, Toy.traits.kind: Toy}))


@pytest.mark.usefixtures("registered")
def test_a_chain_of_a_new_hop_starts_rolls_and_ends(tmp_path: Path) -> None:
    file, state = tmp_path / "chain.yaml", tmp_path / "state"
    file.write_text(CHAIN)

    async def rolled() -> list[str]:
        client = DirectClient()
        found = wiring.wire(file, state)
        greetings = []
        with contextlib.closing(found.journal()) as journal, lease(journal, "test", time.time()):
            await bring_up(found.runtime, journal, lambda _: None)
            url = f"http://{found.platform.entry('edge')}/"
            greetings.append((await client.request("GET", url)).text)
            controller = Controller(found.runtime, journal, lambda _: None)
            async with controller.tending():
                journal.begin_rollout(controller.now, "edge", "v1", "v2")
                assert (await controller.move("edge", "v2")).outcome == "completed"
            greetings.append((await client.request("GET", url)).text)
            await take_down(found.runtime, journal, lambda _: None)
        return greetings

    assert asyncio.run(rolled()) == ["one", "two"]


@pytest.mark.usefixtures("registered")
def test_a_template_of_a_new_hop_is_checked_by_its_schema(tmp_path: Path) -> None:
    file = tmp_path / "chain.yaml"
    file.write_text(CHAIN.replace("greeting: two", "greting: two"))
    with pytest.raises(ChangeoverError, match=r"chain.yaml:6: tiers.0.templates.v2.greting: no such key"):
        chain_files.read_chain(file)
