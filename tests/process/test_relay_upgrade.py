"""A relay that is replaced by another process on the same machine, under load: no client may notice.

A sample of the replacements is made here; fifty of them behind `make soak`.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from tests.process.relayed import PATIENCE, Client

from changeover.kit.sockets import free_port
from changeover.relay.process.server import AT_ONCE
from changeover.uploads import CompletedUpload, FileStore, Response
from changeover.uploads.core.engine import Engine
from changeover.uploads.server.receive import Receiver

SIZE = 3_000_000


@dataclass
class Process:
    """A relay in a process of its own."""

    process: asyncio.subprocess.Process

    async def says(self, word: str) -> None:
        assert self.process.stderr is not None
        async with asyncio.timeout(PATIENCE):
            while word not in (line := (await self.process.stderr.readline()).decode()):
                assert line, f"it ended without saying {word}"

    async def ends(self) -> int:
        async with asyncio.timeout(PATIENCE):
            return await self.process.wait()


@asynccontextmanager
async def relay(*options: str) -> AsyncIterator[Process]:
    started = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "changeover.cli.commands.relay", *options, stderr=asyncio.subprocess.PIPE
    )
    try:
        yield Process(started)
    finally:
        if started.returncode is None:
            started.kill()
            await started.wait()


@dataclass
class Load:
    """Clients who ask until they are told to stop."""

    port: int
    answered: int = 0
    uploaded: int = 0
    wrong: list[str] = field(default_factory=list)
    stop: asyncio.Event = field(default_factory=asyncio.Event)

    @asynccontextmanager
    async def client(self) -> AsyncIterator[Client]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            yield Client(reader, writer)
        finally:
            writer.close()

    async def connecting(self) -> None:
        """A new connection for every request."""
        while not self.stop.is_set():
            with self._noted("a new connection"):
                async with self.client() as client:
                    await self._ask(client)

    async def keeping(self) -> None:
        """One connection for as long as it is kept."""
        while not self.stop.is_set():
            with self._noted("a kept connection"):
                async with self.client() as client:
                    while not self.stop.is_set() and await self._ask(client):
                        pass

    async def _ask(self, client: Client) -> bool:
        await client.begin("OPTIONS", "/upload")
        got = await client.got()
        if got.status != 204:
            self.wrong.append(f"answered {got.status}")
        self.answered += 1
        return got.headers.get("connection") != "close"

    async def uploading(self) -> None:
        """Slowly enough to be there when it is replaced."""
        while not self.stop.is_set():
            with self._noted("an upload"):
                async with self.client() as client:
                    body = os.urandom(SIZE)
                    await client.begin("POST", "/upload", content_length=SIZE)
                    for start in range(0, SIZE, SIZE // 20):
                        await client.send(body[start : start + SIZE // 20])
                        with contextlib.suppress(TimeoutError):
                            await asyncio.wait_for(self.stop.wait(), 0.05)
                    got = await client.got()
                    if (got.status, got.body.decode()) != (201, hashlib.sha256(body).hexdigest()):
                        self.wrong.append(f"an upload was answered {got.status}")
                    self.uploaded += 1

    @contextlib.contextmanager
    def _noted(self, what: str) -> Iterator[None]:
        try:
            yield
        except (OSError, asyncio.IncompleteReadError, TimeoutError) as error:
            self.wrong.append(f"{what}: {error!r}")


@asynccontextmanager
async def loaded(folder: Path) -> AsyncIterator[tuple[Load, tuple[str, ...]]]:
    """Load on a port where a relay is to be, and the options for that relay."""

    async def on_complete(finished: CompletedUpload) -> Response:
        return Response(201, (), (await finished.digest()).encode())

    engine = Engine(FileStore(folder / "uploads", durable=False), on_complete)
    async with Receiver(engine, "127.0.0.1", 0, root="/upload") as receiver:
        port = free_port("127.0.0.1")
        load = Load(port)
        upstream = ":".join(map(str, receiver.address))
        yield load, ("--upstream", upstream, "--segment", "POST /upload", "--listen", f"127.0.0.1:{port}")


async def under_load(load: Load, work: asyncio.Future[None]) -> None:
    clients = [
        asyncio.ensure_future(each()) for each in (load.connecting, load.keeping, load.uploading, load.uploading)
    ]
    await work
    load.stop.set()
    async with asyncio.timeout(PATIENCE):
        await asyncio.gather(*clients)


@pytest.mark.parametrize("times", [3, pytest.param(50, marks=pytest.mark.soak)])
def test_a_relay_hands_its_listeners_to_the_next_one_and_no_client_notices(tmp_path: Path, times: int) -> None:
    async def go() -> None:
        async with loaded(tmp_path) as (load, options), contextlib.AsyncExitStack() as stack:
            control = ("--control", str(tmp_path / "control"))
            first = await stack.enter_async_context(relay(*options, *control))
            await first.says("listening")

            async def replace() -> None:
                old = first
                for _ in range(times):
                    seen = load.answered, load.uploaded
                    new = await stack.enter_async_context(relay(*options, *control, "--take-over"))
                    await new.says("listening")
                    assert await old.ends() == 0
                    old = new
                    async with asyncio.timeout(PATIENCE):
                        while not (load.answered > seen[0] + 20 and load.uploaded > seen[1]):
                            await asyncio.sleep(0.01)

            await under_load(load, asyncio.ensure_future(replace()))
            assert load.wrong == []

    asyncio.run(go())


def test_relays_that_share_an_address_are_replaced_one_by_one_and_no_client_notices(tmp_path: Path) -> None:
    """The successor gets the socket of its predecessor, with the connections in its queue."""

    async def go() -> None:
        async with loaded(tmp_path) as (load, options), contextlib.AsyncExitStack() as stack:
            controls = [("--reuse-port", "--control", str(tmp_path / f"control-{number}")) for number in range(2)]
            running = [await stack.enter_async_context(relay(*options, *control)) for control in controls]
            for each in running:
                await each.says("listening")

            async def replace() -> None:
                for old, control in zip(running, controls, strict=True):
                    seen = load.answered, load.uploaded
                    new = await stack.enter_async_context(relay(*options, *control, "--take-over"))
                    await new.says("listening")
                    assert await old.ends() == 0
                    async with asyncio.timeout(PATIENCE):
                        while not (load.answered > seen[0] + 20 and load.uploaded > seen[1]):
                            await asyncio.sleep(0.01)

            await under_load(load, asyncio.ensure_future(replace()))
            assert load.wrong == []

    asyncio.run(go())


def test_a_relay_that_is_stopped_before_the_next_one_starts_is_missed(tmp_path: Path) -> None:
    """The control: the same load sees a gap."""

    async def go() -> None:
        async with loaded(tmp_path) as (load, options), relay(*options) as first:
            await first.says("listening")

            async def restart() -> None:
                first.process.send_signal(signal.SIGTERM)
                async with asyncio.timeout(PATIENCE):
                    while not load.wrong:
                        await asyncio.sleep(0.01)

            await under_load(load, asyncio.ensure_future(restart()))
            assert any("ConnectionRefused" in each for each in load.wrong)

    asyncio.run(go())


def test_who_had_connected_before_a_relay_was_told_to_stop_is_answered(tmp_path: Path) -> None:
    """More of them than it takes at once. It is stopped meanwhile, so that they are still in the kernel's queue."""

    async def go() -> None:
        async with loaded(tmp_path) as (load, options), relay(*options) as process, AsyncExitStack() as clients:
            await process.says("listening")
            process.process.send_signal(signal.SIGSTOP)
            connected = [await clients.enter_async_context(load.client()) for _ in range(3 * AT_ONCE)]
            for client in connected:
                await client.begin("OPTIONS", "/upload")
            process.process.send_signal(signal.SIGTERM)
            process.process.send_signal(signal.SIGCONT)
            for client in connected:
                got = await client.got()
                assert (got.status, got.headers["connection"]) == (204, "close")
            assert await process.ends() == 0

    asyncio.run(go())


def test_a_relay_takes_the_sockets_that_systemd_opened(tmp_path: Path) -> None:
    async def go() -> None:
        async with loaded(tmp_path) as (load, options):
            with socket.create_server(("127.0.0.1", load.port)) as opened:
                passes = f'export LISTEN_PID=$$ LISTEN_FDS=1; exec "$@" 3<&{opened.fileno()}'
                process = await asyncio.create_subprocess_exec(
                    *(
                        "bash",
                        "-c",
                        passes,
                        "bash",
                        sys.executable,
                        "-m",
                        "changeover.cli.commands.relay",
                        *options[:4],
                    ),
                    stderr=asyncio.subprocess.PIPE,
                    pass_fds=(opened.fileno(),),
                )
                try:
                    await Process(process).says("listening")
                    async with load.client() as client:
                        assert (await client.post(b"x" * 100_000)).status == 201
                finally:
                    process.send_signal(signal.SIGTERM)
                    assert await process.wait() == 0

    asyncio.run(go())


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--upstream", "nowhere", "--listen", "127.0.0.1:0"), "an address is needed"),
        (("--upstream", "127.0.0.1:1"), "--listen is needed"),
        (("--upstream", "127.0.0.1:1", "--listen", "127.0.0.1:0", "--segment", "upload"), "a method and a path"),
        (("--upstream", "127.0.0.1:1", "--take-over"), "--take-over needs --control"),
        (("--upstream", "127.0.0.1:1", "--take-over", "--control", "/nowhere/at/all"), "No such file"),
    ],
)
def test_what_a_relay_cannot_do_is_said_and_nothing_is_started(options: tuple[str, ...], says: str) -> None:
    async def go() -> None:
        async with relay(*options) as started:
            await started.says(says)
            assert await started.ends() == 2

    asyncio.run(go())


def test_a_relay_that_no_successor_could_reach_does_not_start(tmp_path: Path) -> None:
    async def go() -> None:
        control = tmp_path / "no-such-folder" / "control"
        where = ("--listen", "127.0.0.1:0", "--upstream", "127.0.0.1:1")
        async with relay(*where, "--control", str(control)) as process:
            await process.says(f"error: {control}: No such file or directory. The relay did not start.")
            assert await process.ends() == 2

    asyncio.run(go())
