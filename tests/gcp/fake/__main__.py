"""`python -m tests.gcp.fake WORLD.json`: a Compute Engine on this machine, whose VMs are processes.

It serves http://127.0.0.1:PORT/compute/v1/ and prints one line of JSON when it is ready: `endpoint`, and what
`GET /fake/state` tells. SIGTERM ends it with everything it started; so does SIGKILL. Exit code 1: a message of either
side broke the contract; each is a line on standard error. It refuses a world that Google's schema does not allow.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import uvicorn
from tests.gcp.fake.machines.network import Network
from tests.gcp.fake.wire.application import Application
from tests.gcp.fake.wire.discovery import Discovery
from tests.gcp.fake.world import World

SO_BINDTODEVICE = 25


async def run(file: Path) -> int:
    network = Network()
    discovery = Discovery()
    metadata = listener("0.0.0.0", 0)  # noqa: S104  on loopback only: every address of 127.0.0.0/8 is a VM's
    world = World(file, network, metadata.getsockname()[1])
    sockets = [api := listener("127.0.0.1", world.port), metadata]
    if world.hollow:
        sockets.append(listener("0.0.0.0", world.hollow.agent_port))  # noqa: S104  on loopback only, too
    application = Application(world, discovery)
    try:
        await world.begin(discovery)
        config = uvicorn.Config(
            application.asgi, log_level="warning", lifespan="off", timeout_graceful_shutdown=1, timeout_keep_alive=600
        )
        server = Server(config)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, setattr, server, "should_exit", True)
        serving = loop.create_task(server.serve(sockets=sockets))
        while not server.started and not serving.done():
            await asyncio.sleep(0.01)
        print(json.dumps({"endpoint": f"http://127.0.0.1:{api.getsockname()[1]}", **world.state()}), flush=True)
        await serving
    finally:
        await world.end()
    for violation in world.faults.violations:
        print(f"fake: {violation}", file=sys.stderr)
    return 1 if world.faults.violations else 0


class Server(uvicorn.Server):
    """uvicorn would raise the signal again when it has ended, and hide the exit code."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def listener(host: str, port: int) -> socket.socket:
    made = socket.socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    made.setsockopt(socket.SOL_SOCKET, SO_BINDTODEVICE, b"lo\0")
    made.bind((host, port))
    made.listen(1024)
    made.set_inheritable(False)
    return made


if __name__ == "__main__":
    sys.exit(asyncio.run(run(Path(sys.argv[1]))))
