"""In flight on a real server whose processes count each for itself: the kernel's count holds it."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import cast

import httpx
import yaml

from changeover import wiring
from changeover.engine.observe import Observer
from changeover.ports import Membership, Router
from changeover.rollout import events as on
from changeover.rollout.members.fleet import Fleet, Member
from changeover.rollout.members.phases import Phase

APPLICATION = """
uploads = 0

async def app(scope, receive, send):
    global uploads
    if scope["type"] != "http":
        return
    body = b'{"requests": 0, "connections": 0, "uploads": []}'
    if scope["path"] == "/upload":
        uploads += 1
        while (await receive()).get("more_body"):
            pass
        uploads -= 1
    elif scope["path"] == "/inflight":
        body = b'{"requests": %d, "connections": 0, "uploads": []}' % uploads
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": body})
"""


class RemovedFromAll:
    """A router that has removed the instance, and counts no sessions."""

    async def membership(self, names: frozenset[str]) -> Mapping[str, Membership]:
        return dict.fromkeys(names, Membership(False, True))


def test_an_upload_that_another_worker_receives_keeps_the_instance_draining(tmp_path: Path) -> None:
    async def case() -> None:
        (tmp_path / "several.py").write_text(APPLICATION)
        server = [*(sys.executable, "-m", "uvicorn", "several:app", "--app-dir", str(tmp_path), "--workers", "3")]
        server += ["--host", "{host}", "--port", "{port}"]
        tier = {"name": "runtime", "kind": "app", "templates": {"v1": {"command": server}}}
        (tmp_path / "chain.yaml").write_text(yaml.safe_dump({"tiers": [tier]}))
        async with httpx.AsyncClient(limits=httpx.Limits(max_keepalive_connections=0)) as client:
            wired = wiring.wire(tmp_path / "chain.yaml", tmp_path / "state", client)
            instance = await wired.platform.create("runtime-v1-1", wired.chain.tiers[0], "v1")
            hop = wired.runtime.hops["runtime"]
            try:
                async with asyncio.timeout(30):
                    while not await hop.ready(instance):
                        await asyncio.sleep(0.05)
                member = Member(instance.name, "v1", 1, Phase.DRAINING, {Phase.DRAINING: 0.0})
                observer = Observer(
                    hop, cast(Router, RemovedFromAll()), wired.platform, {instance.name: instance}, lambda: 1.0
                )
                _, upload = await asyncio.open_connection(instance.address.host, instance.address.port)
                upload.write(b"POST /upload HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nhalf")
                await upload.drain()
                for _ in range(20):  # most of the answers come from a worker without the upload
                    seen = [e for e in await observer.look(Fleet([member])) if isinstance(e, on.InFlightSeen)]
                    assert [event.in_flight.busy for event in seen] == [True]
                upload.close()
            finally:
                await wired.platform.kill(instance)

    asyncio.run(case())
