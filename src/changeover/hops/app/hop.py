"""The application at the end of the chain."""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from signal import SIGTERM
from typing import ClassVar

from changeover.hops.app.settings import AppSettings
from changeover.hops.in_flight_endpoint import PATH, in_flight
from changeover.kit.command import is_program
from changeover.kit.direct_http import DirectClient
from changeover.kit.http import TIMEOUT, cannot_connect, not_ok
from changeover.model.extras import missing_package
from changeover.model.hop_traits import HopTraits
from changeover.model.instance import InFlight, Instance, LaunchSpec
from changeover.model.process_settings import fill
from changeover.model.software import Missing
from changeover.ports import LaunchContext

SOCKET = "app.sock"
"""In the folder of the instance."""
_EXAMPLE = (
    *(sys.executable, "-m", "changeover.example_app"),
    *("--host", "{host}", "--port", "{port}", "--instance", "{name}", "--version-label", "{version}"),
    *("--shared", "{shared}", "--lame-duck-file", "{lame_duck}"),
)


class App:
    """An HTTP application: the example, which counts its requests and uploads, or any other."""

    traits: ClassVar[HopTraits] = HopTraits(
        kind="app",
        settings=AppSettings,
        takes="http",
        ready_path="/readyz",
        # TERM is graceful for Python's servers; QUIT, nginx's graceful signal, kills them at once.
        stop_signal=SIGTERM,
        # A shell passes no signal on, and ends at once itself. Servers with workers expect one for each, as of Ctrl-C.
        stop_to="group",
        own_control=False,
        control_paths=("/readyz", "/inflight"),
        sees_uploads=True,
        passes_on=False,
    )

    def __init__(self, client: DirectClient) -> None:
        self._client = client
        self._templates: Mapping[str, AppSettings] = {}

    def learn(self, templates: Mapping[str, AppSettings]) -> None:
        self._templates = templates

    def launch(self, settings: AppSettings, context: LaunchContext) -> LaunchSpec:
        instance = context.instance
        known = {
            "host": instance.address.host,
            "port": str(instance.address.port),
            "name": instance.name,
            "version": settings.version or instance.template,
            "shared": context.shared,
            "lame_duck": context.lame_duck,
            "folder": context.folder,
            "socket": f"{instance.directory}/{SOCKET}",
        }
        words = [word.get_secret_value() for word in settings.command]
        # The example stays in its own folder: Python would import modules from that of the chain file.
        own_folder = not words or not context.folder
        return LaunchSpec(
            tuple(fill(word, known) for word in words or _EXAMPLE),
            env={name: fill(word.get_secret_value(), known) for name, word in settings.env.items()},
            cwd="" if own_folder and not settings.cwd else str(Path(context.folder, settings.cwd)),
            socket=known["socket"] if settings.listen == "unix" else "",
            inherits=settings.listen == "inherited",
            secrets=settings.secrets,
            umask=int(settings.umask, 8),
            user=settings.user,
            nofile=settings.limits.nofile,
        )

    def missing_software(self, templates: Collection[AppSettings]) -> Iterator[Missing]:
        if any(not template.command for template in templates):
            yield from missing_package("uvicorn", "the example application")

    def missing_files(self, settings: AppSettings, folder: Path) -> Iterator[str]:
        home = folder / settings.cwd
        if not home.is_dir():
            yield f"cwd: {home} is not a folder"
        for program in (word.get_secret_value() for word in settings.command[:1]):
            if "{" not in program and not is_program(program, home):
                yield f"command: the program {program} does not exist or is not executable"
        if settings.env_file and not (folder / settings.env_file).is_file():
            yield f"env_file: {folder / settings.env_file} is not a file"
        for name, source in settings.secrets.items():
            if source.file and not (folder / source.file).is_file():
                yield f"secrets.{name}: {folder / source.file} is not a file"

    async def not_ready(self, instance: Instance, timeout: float = TIMEOUT) -> str:
        asked, address = instance.readiness, instance.control
        if asked.tcp:
            return await cannot_connect(address.host, address.port, timeout, socket=instance.socket)
        path = asked.path or self.traits.ready_path
        return await not_ok(
            self._client,
            f"http://{'localhost' if instance.socket else address}{path}",
            timeout,
            headers=asked.request_headers,
            statuses=asked.status,
            body=asked.body,
            socket=instance.socket,
        )

    async def lame_duck(self, instance: Instance, on: bool) -> None:
        """The file is all it needs: it closes each connection with its next answer while the file is there."""

    async def in_flight(self, instance: Instance) -> InFlight | None:
        settings = self._templates.get(instance.template, AppSettings())
        if settings.command and settings.in_flight is None:
            return None
        return await in_flight(self._client, instance, settings.in_flight.path if settings.in_flight else PATH)
