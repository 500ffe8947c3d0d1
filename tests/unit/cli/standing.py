"""A chain that its journal calls up and that has no process: what commands decide before they act on any instance."""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from changeover.cli.main import cli
from changeover.engine.journal.journal import Journal
from changeover.model.instance import Address
from changeover.platforms.local.state_files import BalancerRecord, write_balancer

NEVER_BORN = -1
"""A start time that no process has: the recorded load balancer counts as dead."""

CHAIN = """
name: pair
listen: 127.0.0.1:8080
tiers:
  - name: edge
    kind: nginx-stream
    size: 2
    templates: {v1: {}, v2: {}}
  - name: runtime
    kind: app
    size: 2
    templates: {v1: {}, v2: {}}
"""
ON_GOOGLE = """
name: pair
platform: {kind: gcp, project: shop, zone: europe-west1-b, endpoint: "http://127.0.0.1:9"}
tiers:
  - name: edge
    kind: nginx
    group: edge-mig
    backend_services: [edge-bs]
    templates: {v1: {instance_template: edge-1}}
"""


@dataclass(frozen=True)
class Ran:
    """What a command left. Runs of spaces are one space, so that no message is broken where a test looks."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@dataclass(frozen=True)
class StandingChain:
    folder: Path

    @property
    def file(self) -> Path:
        return self.folder / "chain.yaml"

    @property
    def state(self) -> Path:
        return self.folder / "state"

    def run(self, *words: object) -> Ran:
        result = CliRunner(env={"COLUMNS": "1000"}).invoke(cli, [*map(str, words), "--state", str(self.state)])
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return Ran(result.exit_code, result.stdout, " ".join(result.stderr.split()))

    def journal(self) -> contextlib.closing[Journal]:
        return contextlib.closing(Journal(self.state / "journal.db"))

    @contextlib.contextmanager
    def controlled(self, purpose: str) -> Iterator[Journal]:
        """While the block lasts, this process is the controller of the chain."""
        with self.journal() as journal:
            journal.take_lease(purpose, time.time())
            yield journal
            journal.release_lease()


def standing_chain(folder: Path, text: str = CHAIN) -> StandingChain:
    chain = StandingChain(folder)
    chain.state.mkdir()
    chain.file.write_text(text)
    (chain.state / "chain.yaml").write_text(text)
    with chain.controlled("up") as journal:
        journal.set_chain_file(chain.file)
        journal.set_up()
    entries = {"edge": Address("127.0.0.1", 8080), "runtime": Address("127.0.0.1", 8081)}
    write_balancer(chain.state / "platform.json", BalancerRecord(os.getpid(), NEVER_BORN, entries, whole=True))
    return chain
