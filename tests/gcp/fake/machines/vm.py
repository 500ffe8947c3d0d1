"""A VM: a folder, an address, and real processes below one that ends them all."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import time
from pathlib import Path

from tests.gcp.fake.clock import Clock
from tests.gcp.fake.resources.links import link, name_of
from tests.gcp.fake.wire.errors import Json

INIT = Path(__file__).with_name("init.py")


class Vm:
    """`path`: of the instance, from `projects/` on. `properties`: of its template."""

    def __init__(
        self, path: str, number: str, template: str, properties: Json, address: str, metadata_port: int, folder: Path
    ) -> None:
        self.path = path
        self.number = number
        self.template = template
        self.address = address
        self.folder = folder
        self.status = "PROVISIONING"
        self.preempted = False
        self.labels: Json = properties.get("labels", {})
        self.attributes: dict[str, str] = {
            item["key"]: item.get("value", "") for item in properties.get("metadata", {}).get("items", [])
        }
        self.created_by = ""
        """The group that made it, for `metadata.created-by`."""
        self.stamp = ""
        self.started = 0.0
        """On the machine's monotonic clock, `booted` in Unix seconds; 0: not yet."""
        self.booted = 0.0
        self.changed = asyncio.Event()
        """Set, and replaced, when something that its metadata server tells has changed."""
        self._scheduling: Json = properties.get("scheduling", {})
        self._machine = properties.get("machineType", "e2-small")
        self._environment = {
            "PATH": os.environ.get("PATH", os.defpath) + ":/usr/sbin:/sbin",
            "HOME": str(folder),
            "LANG": "C.UTF-8",
            "GCE_METADATA_HOST": f"{address}:{metadata_port}",
        }
        self._init: asyncio.subprocess.Process | None = None

    @property
    def name(self) -> str:
        return name_of(self.path)

    @property
    def zone(self) -> str:
        return self.path.split("/")[3]

    def tell(self) -> None:
        """Wake every request to its metadata server that waits for a change."""
        self.changed.set()
        self.changed = asyncio.Event()

    async def start(self, clock: Clock) -> None:
        """Run the startup script in a fresh folder."""
        self.stamp = clock.stamp()
        await self._run()
        self.status = "RUNNING"
        self.started, self.booted = time.monotonic(), time.time()

    async def _run(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        for key in ("startup-script", "shutdown-script"):
            script = self.folder / key
            script.unlink(missing_ok=True)
            if key == "startup-script" or key in self.attributes:
                script.write_text(self.attributes.get(key, ""), encoding="utf-8")
        self._init = await asyncio.create_subprocess_exec(
            sys.executable,
            "-I",
            "-S",
            str(INIT),
            str(self.folder),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.DEVNULL,
            env=self._environment,
            cwd=self.folder,
            start_new_session=True,
        )

    async def shut_down(self, clock: Clock, *, graceful: bool = True, period: float | None = None) -> None:
        """SIGTERM to every process, at most the documented period for them to end, then the power is off.

        scheduling.gracefulShutdown: first PENDING_STOP for maxDuration, ten minutes by default, of which only the
        metadata server tells. `graceful`: false with noGracefulShutdown. `period`: of a preemption, another.
        """
        settings = self._scheduling.get("gracefulShutdown", {})
        if settings.get("enabled") and graceful:
            self.status = "PENDING_STOP"
            self.tell()
            await clock.sleep(int(settings.get("maxDuration", {}).get("seconds", 600)))
        self.status = "STOPPING"
        self.tell()
        if self._init is not None:
            await self._order(b"shutdown\n")
            try:
                async with asyncio.timeout(clock.real(period or clock.delays.shutdown)):
                    await self._init.wait()
            except TimeoutError:
                await self.power_off()
        self.status = "TERMINATED"

    async def power_off(self) -> None:
        """SIGKILL to every process."""
        if self._init is not None:
            await self._order(b"off\n")
            await self._init.wait()
        self.status = "TERMINATED"

    async def _order(self, line: bytes) -> None:
        assert self._init is not None
        assert self._init.stdin is not None
        with contextlib.suppress(ConnectionError):
            self._init.stdin.write(line)
            await self._init.stdin.drain()

    def resource(self) -> Json:
        items = [{"key": key, "value": value} for key, value in self.attributes.items()]
        if self.template:
            items.append({"key": "instance-template", "value": self.template})
        if self.created_by:
            items.append({"key": "created-by", "value": self.created_by})
        zone = self.path.rpartition("/instances/")[0]
        return {
            "kind": "compute#instance",
            "id": self.number,
            "creationTimestamp": self.stamp,
            "name": self.name,
            "zone": link(zone),
            "selfLink": link(self.path),
            "status": self.status,
            "machineType": link(f"{zone}/machineTypes/{name_of(self._machine)}"),
            "labels": self.labels,
            "metadata": {"kind": "compute#metadata", "items": items},
            "networkInterfaces": [
                {
                    "kind": "compute#networkInterface",
                    "name": "nic0",
                    "networkIP": self.address,
                    "stackType": "IPV4_ONLY",
                }
            ],
            "scheduling": {"preemptible": False, "onHostMaintenance": "MIGRATE", **self._scheduling},
        }
