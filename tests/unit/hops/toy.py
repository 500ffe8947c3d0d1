"""A hop of the tests' own: one class, and one line where it is registered. Nothing else in the program knows it."""

from __future__ import annotations

import sys
from signal import SIGTERM
from typing import ClassVar

from pydantic import Field

from changeover.kit.direct_http import DirectClient
from changeover.kit.http import TIMEOUT, not_ok
from changeover.kit.sockets import open_connections
from changeover.model.config_model import ConfigModel
from changeover.model.hop_traits import HopTraits
from changeover.model.instance import InFlight, Instance, LaunchSpec
from changeover.ports import LaunchContext

SERVER = """
import http.server, pathlib, sys
host, port, lame_duck, greeting = sys.argv[1:]
class Toy(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        lame = self.path == "/toy/ready" and pathlib.Path(lame_duck).exists()
        self.send_response(503 if lame else 200)
        self.send_header("Content-Length", str(len(greeting)))
        self.end_headers()
        self.wfile.write(greeting.encode())
http.server.ThreadingHTTPServer((host, int(port)), Toy).serve_forever()
"""


class ToySettings(ConfigModel):
    """A server that answers every request with its greeting."""

    greeting: str = Field("hello", description="The body of every answer.")


class Toy:
    """The last tier of a chain."""

    traits: ClassVar[HopTraits] = HopTraits(
        kind="toy",
        settings=ToySettings,
        takes="http",
        ready_path="/toy/ready",
        stop_signal=SIGTERM,
        own_control=False,
        passes_on=False,
    )

    def __init__(self, client: DirectClient) -> None:
        self._client = client

    def launch(self, settings: ToySettings, context: LaunchContext) -> LaunchSpec:
        address = context.instance.address
        words = (address.host, str(address.port), context.lame_duck, settings.greeting)
        return LaunchSpec((sys.executable, "server.py", *words), {"server.py": SERVER})

    async def not_ready(self, instance: Instance, timeout: float = TIMEOUT) -> str:
        return await not_ok(self._client, f"http://{instance.control}{self.traits.ready_path}", timeout)

    async def lame_duck(self, instance: Instance, on: bool) -> None:
        """The file is all it needs."""

    async def in_flight(self, instance: Instance) -> InFlight:
        return InFlight(None, open_connections(instance.address.port))
