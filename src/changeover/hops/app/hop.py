"""The application at the end of the chain."""

from __future__ import annotations

import re
import sys
from signal import SIGTERM, Signals
from typing import ClassVar, Literal

import httpx
from pydantic import BaseModel

from changeover.hops.app.settings import AppSettings
from changeover.hops.counted import in_flight
from changeover.kit.http import is_ok
from changeover.model.instance import InFlight, Instance, LaunchSpec
from changeover.ports import LaunchContext

_EXAMPLE = (
    *(sys.executable, "-m", "changeover.example_app"),
    *("--host", "{host}", "--port", "{port}", "--instance", "{name}", "--version-label", "{version}"),
    *("--shared", "{shared}", "--lame-duck-file", "{lame_duck}"),
)


class App:
    """An HTTP application that counts its own requests and uploads."""

    kind: ClassVar[str] = "app"
    Settings: ClassVar[type[BaseModel]] = AppSettings
    ready_path: ClassVar[str] = "/readyz"
    own_control: ClassVar[bool] = False
    sees_uploads: ClassVar[bool] = True
    takes: ClassVar[Literal["tls", "http", "bytes"]] = "http"
    names_clients: ClassVar[bool] = False
    # TERM is graceful for Python's servers; QUIT, nginx's graceful signal, kills them at once.
    stop_signal: ClassVar[Signals] = SIGTERM

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client

    def launch(self, settings: AppSettings, place: LaunchContext) -> LaunchSpec:
        instance = place.instance
        known = {
            "host": instance.address.host,
            "port": str(instance.address.port),
            "name": instance.name,
            "version": settings.version or instance.template,
            "shared": place.shared,
            "lame_duck": place.lame_duck,
        }
        argv = tuple(_fill(word, known) for word in settings.command or _EXAMPLE)
        return LaunchSpec(argv, env=settings.env)

    async def ready(self, instance: Instance) -> bool:
        return await is_ok(self._client, f"http://{instance.control}{self.ready_path}")

    async def lame_duck(self, instance: Instance, on: bool) -> None:
        """The file is all it needs: it closes each connection with its next answer while the file is there."""

    async def in_flight(self, instance: Instance) -> InFlight:
        return await in_flight(self._client, instance)


def _fill(word: str, known: dict[str, str]) -> str:
    return re.sub(r"\{(\w+)\}", lambda found: known.get(found[1], found[0]), word)
