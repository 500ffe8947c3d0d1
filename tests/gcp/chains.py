"""Chains of one tier on the fake: its world with agents on the VMs, its chain file, and the command in a process."""

from __future__ import annotations

import json
import os
import sys
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from tests.forked import GOOGLE, Forked
from tests.gcp.fakes import Fake, Json
from tests.gcp.worlds import PORT, REGION, ZONE, template, world
from typer.testing import CliRunner

from changeover.cli.main import cli

AGENT_PORT = 9180
TOKEN = "a-token-for-tests"
PROGRAM = Path(__file__).with_name("vm_with_agent.py")
ENVIRONMENT = {"AGENT_TOKEN": TOKEN, "COLUMNS": "1000"}
DEADLINE = 120
"""Seconds for a command."""


def agent_world(*, size: int = 2, drain: int = 0, regional: bool = False, speed: float = 20, **group: Any) -> Json:
    """The world of one group whose VMs have an agent, which the backend service's health check asks."""
    made = world(size=size, drain=drain, regional=regional, speed=speed, **group)
    script = f"exec {sys.executable} -I -S {PROGRAM} {PORT} {AGENT_PORT} {TOKEN}"
    made["resources"]["global/instanceTemplates"] = [template(name, script) for name in ("web-v1", "web-v2", "web-v3")]
    made["resources"]["global/healthChecks"][1] = {
        "name": "ready",
        "type": "HTTP",
        "checkIntervalSec": 5,
        "unhealthyThreshold": 2,
        "httpHealthCheck": {"port": AGENT_PORT, "requestPath": "/readyz"},
    }
    return made


@dataclass
class GcpChain:
    """The chain file and the state folder of one chain on a fake."""

    fake: Fake
    folder: Path
    regional: bool = False
    tier: dict[str, Any] = field(default_factory=dict)
    look: str = "200ms"

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.write()

    @property
    def file(self) -> Path:
        return self.folder / "chain.yaml"

    @property
    def state(self) -> Path:
        return self.folder / "state"

    def write(self, **changes: Any) -> None:
        place = {"region": REGION} if self.regional else {"zone": ZONE}
        tier = {
            "name": "web",
            "kind": "app",
            "group": "web",
            "backend_services": ["web"],
            "agent": {"port": AGENT_PORT, "token_env": "AGENT_TOKEN"},
            "update": {"min_ready": "200ms", "watch": "200ms", **self.tier.pop("update", {})},
            "templates": {name: {"instance_template": f"web-{name}"} for name in ("v1", "v2")},
            **self.tier,
            **changes,
        }
        platform = {
            "kind": "gcp",
            "project": "shop",
            **place,
            "endpoint": self.fake.endpoint,
            "look": self.look,
            "propagation": "500ms",
        }
        chain = {"name": "shop", "platform": platform, "listen": self.fake.address("web"), "tiers": [tier]}
        self.file.write_text(yaml.safe_dump(chain), encoding="utf-8")

    def start(self, *words: str) -> Forked:
        return Forked(self._words(*words), env={**os.environ, **ENVIRONMENT}, needs=GOOGLE)

    def _words(self, *words: str) -> list[str]:
        file = ["-f", str(self.file)] if words[0] in ("up", "plan", "roll") else []
        return [*words, *file, "--state", str(self.state)]

    def run(self, *words: str, code: int = 0) -> str:
        """Its standard output and standard error; it must end with that code.

        All but a roll run inside this process, which imports the client of Google once.
        """
        if words[0] == "roll":
            with self.start(*words) as process:
                try:
                    out, error = process.communicate(timeout=DEADLINE)
                finally:
                    process.kill()  # one that exceeds the deadline
            ended = process.returncode
        else:
            with warnings.catch_warnings(action="ignore", category=DeprecationWarning):  # the client of Google has one
                ran = CliRunner(env=ENVIRONMENT).invoke(cli, self._words(*words), catch_exceptions=False)
            out, error, ended = ran.stdout, ran.stderr, ran.exit_code
        assert ended == code, f"{words}: {ended}\n{out}\n{error}"
        return out + error

    def status(self) -> Json:
        return dict(json.loads(self.run("status", "--json")))
