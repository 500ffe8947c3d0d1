"""A fake Compute Engine for a test: started as a process, asked over HTTP, and ended with a look at its exit code."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import httpx

ROOT = Path(__file__).parents[2]
Json = dict[str, Any]


class Fake:
    def __init__(self, world: Json, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.world = world
        self.project: str = world["project"]
        file = folder / "world.json"
        file.write_text(json.dumps({"folder": str(folder), **world}), encoding="utf-8")
        self._errors = (folder / "stderr").open("w+", encoding="utf-8")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.gcp.fake", str(file)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, self.errors()
        self.ready: Json = json.loads(line)
        self.endpoint: str = self.ready["endpoint"]
        self.http = httpx.Client(base_url=self.endpoint, timeout=30, trust_env=False)

    def errors(self) -> str:
        return (self.folder / "stderr").read_text(encoding="utf-8")

    def environment(self) -> dict[str, str]:
        """For a client that reads gcloud's variables."""
        return {
            "CLOUDSDK_API_ENDPOINT_OVERRIDES_COMPUTE": f"{self.endpoint}/compute/v1/",
            "CLOUDSDK_AUTH_DISABLE_CREDENTIALS": "true",
            "CLOUDSDK_CORE_PROJECT": self.project,
            "CLOUDSDK_CORE_DISABLE_PROMPTS": "1",
            "CLOUDSDK_CONFIG": str(self.folder / "gcloud"),
        }

    def state(self) -> Json:
        return dict(self.http.get("/fake/state").raise_for_status().json())

    def address(self, rule: str) -> str:
        """HOST:PORT of a forwarding rule."""
        return str(self.state()["forwarding_rules"][rule])

    def log(self, method: str = "") -> list[Json]:
        """Calls of the API so far; of one method, such as `instanceGroupManagers.patch`, or of all."""
        calls = self.http.get("/fake/log").raise_for_status().json()
        return [call for call in calls if method in {"", call.get("method")}]

    def fault(self, **spec: Any) -> None:
        """See the table in fake/wire/faults.py."""
        self.http.post("/fake/faults", json=spec).raise_for_status()

    def actors(self, **on: bool) -> None:
        self.http.put("/fake/actors", json=on).raise_for_status()

    def call(self, verb: str, path: str, body: Json | None = None) -> httpx.Response:
        """A call as a third party makes it; `path` is below the project."""
        url = f"/compute/v1/projects/{self.project}/{path}"
        return self.http.request(verb, url, json=body)

    def stop(self) -> int:
        """End it, and give its exit code: 1 after a message that broke the contract."""
        self.process.send_signal(signal.SIGTERM)
        return self._ended()

    def kill(self) -> None:
        self.process.kill()
        self._ended()

    def _ended(self) -> int:
        code = self.process.wait(30)
        self.http.close()
        self._errors.close()
        if self.process.stdout is not None:
            self.process.stdout.close()
        return code


@contextlib.contextmanager
def running(world: Json, folder: Path) -> Iterator[Fake]:
    """A fake that must end with exit code 0: no message broke the contract."""
    fake = Fake(world, folder)
    try:
        yield fake
    finally:
        code = fake.stop()
    assert code == 0, fake.errors()


T = TypeVar("T")


def until(question: Callable[[], T], what: str, deadline: float = 60) -> T:
    """The first answer that is true."""
    end = time.monotonic() + deadline
    while not (answer := question()):
        assert time.monotonic() < end, f"{what}: not within {deadline:.0f} s"
        time.sleep(0.05)
    return answer


def free_port() -> int:
    """Below the range of outgoing connections, and free on every loopback address at this moment."""
    for port in range(20000 + os.getpid() % 5000, 32000):
        with socket.socket() as tried, contextlib.suppress(OSError):
            tried.bind(("0.0.0.0", port))  # noqa: S104  it never listens
            return port
    raise AssertionError("no free port")


def left_running(folder: Path) -> list[str]:
    """Processes with that folder in their command line or as a part of their working folder."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal() and int(entry.name) != os.getpid():
            with contextlib.suppress(OSError):
                command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                if str(folder) in command or str(folder) in os.readlink(entry / "cwd"):  # noqa: PTH115
                    found.append(command)
    return found
