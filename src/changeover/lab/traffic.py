"""The requests of a demonstration. Each function makes its precondition true: first the request, then what happens."""

from __future__ import annotations

import asyncio

from changeover.audit.google.facts import POOL_IDLE
from changeover.lab.stage import Stage


async def in_flight(stage: Stage) -> None:
    """A slow upload and a download, both begun when it happens. The download ends as soon as it has happened."""
    await _in_flight(stage, 0.01)


async def slow_in_flight(stage: Stage) -> None:
    """The same, with a download that takes as long as the application does."""
    await _in_flight(stage, stage.times.app_time)


async def long_in_flight(stage: Stage) -> None:
    """For signals that cut at once: a shorter upload, and a download that takes as long.

    Servers take a moment to exit, and a manager's time until SIGKILL is to be far away.
    """
    part = 0.4
    await _in_flight(stage, part * stage.times.upload / stage.times.rate, part)


async def upload_in_flight(stage: Stage) -> None:
    """A slow upload alone, for a server that does one request at a time."""
    times, begun = stage.times, asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        upload = stage.client.request("POST", body=times.upload, rate=times.rate, wait=times.app_time, begun=begun)
        tasks.create_task(upload)
        await begun.wait()
        stage.happen()


async def _in_flight(stage: Stage, wait: float, part: float = 1.0) -> None:
    """`wait`: seconds of the download; `part`: of the assumed upload."""
    times, begun, downloading = stage.times, asyncio.Event(), asyncio.Event()
    body = int(part * times.upload)
    upload = stage.client.request("POST", body=body, rate=times.rate, wait=times.app_time, begun=begun)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(upload)
        await begun.wait()
        tasks.create_task(stage.client.request("GET", wait=wait, begun=downloading))
        await downloading.wait()
        stage.happen()


async def through_pool(stage: Stage) -> None:
    """Uploads and downloads without a break, before it happens and until everything that follows it is over."""
    times, ends = stage.times, asyncio.Event()

    async def flow(method: str, begun: asyncio.Event) -> None:
        while not ends.is_set():
            await stage.client.request(method, body=1000 * (method == "POST"), wait=times.app_time, begun=begun)

    async with asyncio.TaskGroup() as tasks:
        for method in ("GET", "POST") * 2:
            begun = asyncio.Event()
            tasks.create_task(flow(method, begun))
            await begun.wait()
        stage.happen()
        await stage.over()
        await asyncio.sleep(times.asked.roll_window / times.scale)
        ends.set()


async def reused_by_clients(stage: Stage) -> None:
    """Uploads on connections that their clients have left idle, for every time up to that of Google's load balancer."""
    longest, count = POOL_IDLE / stage.times.scale, 150
    async with asyncio.TaskGroup() as tasks:
        for number in range(1, count + 1):
            tasks.create_task(stage.client.reuse("POST", longest * number / count, body=100))


async def after_pauses(stage: Stage) -> None:
    """Pairs of uploads with longer and longer pauses in between, in which a pool keeps their connection."""
    for number in range(25):
        await stage.client.request("POST", body=100)
        await asyncio.sleep(number * 0.01)
        await stage.client.request("POST", body=100)


async def after_almost_a_second(stage: Stage) -> None:
    """Pairs of uploads with pauses around a second in between, at which the server gives up idle connections."""
    for number in range(10):
        await stage.client.request("POST", body=100)
        await asyncio.sleep(0.9 + number * 0.015)
        await stage.client.request("POST", body=100)


async def on_every_second(stage: Stage) -> None:
    """GETs to each location, where every second connection to the servers behind is reset before it is read."""
    for origin in stage.origins:
        origin.accepted, origin.every_second = 0, True
    for below in ("", "/api") * 5:
        await stage.client.request("GET", below=below)


async def carried_out_and_cut(stage: Stage) -> None:
    """Uploads, of which a server carries one out and breaks its connection before it answers."""
    stage.origins[0].failing = 1
    before = sum(sum(origin.carried_out.values()) for origin in stage.origins)
    count = 4
    for _ in range(count):
        await stage.client.request("POST", body=1000)
    stage.left = sum(sum(origin.carried_out.values()) for origin in stage.origins) - before - count


async def replaced_behind(stage: Stage) -> None:
    """A slow upload, while the server behind is replaced with a drain of 60 s, and a GET."""
    times, begun = stage.times, asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(stage.client.request("POST", body=times.upload, rate=times.rate, begun=begun))
        await begun.wait()
        await asyncio.sleep(0.25 * times.upload / times.rate)
        replaced = [tasks.create_task(one.replace(60.0 / times.scale)) for one in stage.origins]
        await stage.client.request("GET")
        await asyncio.gather(*replaced)


async def held_open(stage: Stage) -> None:
    """An upload that outlasts every limit; counts the old workers that are left when the longest one is over."""
    begun, old = asyncio.Event(), stage.first.workers()
    holding = asyncio.ensure_future(stage.client.request("POST", body=50_000, rate=1000, begun=begun))
    await begun.wait()
    stage.happen()
    await stage.over()
    await asyncio.sleep(500.0 / stage.times.scale)
    stage.left = len(old & stage.first.workers())
    holding.cancel()
    await asyncio.gather(holding, return_exceptions=True)


async def to_a_deleted_machine(stage: Stage) -> None:
    """GETs from a client that waits as long as assumed, while one of the servers behind answers no packet."""
    stage.origins[0].vanish()
    for _ in stage.origins:
        await stage.client.request("GET", patience=(stage.times.asked.edge_timeout or 0) / stage.times.scale)


async def silent_application(stage: Stage) -> None:
    """A download and an upload whose response the application takes its time for; nothing happens."""
    for method in ("GET", "POST"):
        await stage.client.request(method, body=1000 * (method == "POST"), wait=stage.times.app_time)


async def slow_upload(stage: Stage) -> None:
    """A GET, then a slow upload; nothing happens."""
    await stage.client.request("GET")
    await stage.client.request("POST", body=stage.times.upload, rate=stage.times.rate)


async def arriving_late(stage: Stage) -> None:
    """An upload is in flight when the stop begins; requests on new connections arrive once the server drains."""
    times, begun = stage.times, asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(stage.client.request("POST", body=times.upload, rate=times.rate, begun=begun))
        await begun.wait()
        stage.happen()
        await _drains(stage)
        for method in ("GET", "POST") * 3:
            tasks.create_task(stage.client.request(method, body=100 * (method == "POST")))


async def _drains(stage: Stage) -> None:
    """Until the server refuses connections; or for 2 s, if it goes on to accept them."""
    for _ in range(100):
        try:
            (await stage.client.connect()).close()
        except OSError:
            return
        await asyncio.sleep(0.02)


async def whole_upload(stage: Stage) -> None:
    """An upload of the assumed size as fast as it goes, and a GET; nothing happens."""
    await stage.client.request("GET")
    await stage.client.request("POST", body=stage.times.asked.upload)


async def pausing_upload(stage: Stage) -> None:
    """An upload whose client pauses in its middle, and a GET; nothing happens."""
    times = stage.times
    await stage.client.request("GET")
    await stage.client.request("POST", body=10_000, rate=times.rate, pause=times.asked.client_stall / times.scale)
