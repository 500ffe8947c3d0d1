"""A real Prometheus watches a chain by `changeover serve` while it is rolled: every panel of the dashboard has data,
and a lost request, a dead keeper, a stuck drain and a template that crashes make their alerts fire.

The alerts are those of monitoring/alerts.yaml with a shorter `for`: promtool has proved the whole times.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from signal import SIGKILL, SIGTERM
from typing import Any

import httpx
import pytest
import yaml
from tests.chain.chains import REPOSITORY, Chain, Command, Said, SlowUpload, as_canary, small, template, tier_of, until
from tests.chain.conftest import own_chain

from changeover.kit.sockets import free_port

pytestmark = pytest.mark.skipif(
    shutil.which("prometheus") is None, reason="Prometheus is not installed: Debian's package prometheus"
)

LONG = 120.0
"""Seconds until an alert must fire that needs a whole rollout or several deaths."""
PANELS = [
    panel
    for panel in json.loads((REPOSITORY / "monitoring/grafana/changeover.json").read_text())["panels"]
    if panel["type"] != "row"
]


def guarded(said: Said) -> None:
    """A change: the runtime is rolled as a canary, which a guard judges by the probe."""
    condition = {"name": "broken", "source": "probe", "measure": "error_ratio", "at_most": 0.5}
    said["guards"] = [{"name": "few", "conditions": [condition | {"interval": "2s", "count": 2}]}]
    as_canary(said, [{"set_weight": 50}, {"analyse": "30s"}], guard=["few"])


def behind_an_edge(said: Said) -> None:
    """A change: the smallest chain behind an edge that buffers the bodies of one route. Only one upload takes it."""
    edge = tier_of(said, "edge") | {"size": 1}
    small(said)
    said["tiers"].insert(0, edge)
    buffered = {"path": "/buffered", "buffering": "buffer", "max_body": "5MB", "disk": "10MB"}
    for settings in edge["templates"].values():
        settings["routes"] = [{"path": "/"}, buffered]


class Prometheus:
    """A Prometheus that scrapes one address."""

    def __init__(self, url: str) -> None:
        self._client = httpx.Client(base_url=url, trust_env=False, timeout=20)
        self.began = time.time()

    def ask(self, path: str, **parameters: object) -> Any:
        return self._client.get(f"/api/v1/{path}", params=parameters).raise_for_status().json()["data"]  # type: ignore[arg-type]

    def is_ready(self) -> bool:
        with contextlib.suppress(httpx.TransportError):
            return self._client.get("/-/ready").is_success
        return False

    def since_it_began(self, query: str) -> list[Any]:
        """The series that the query had at any second."""
        return self.ask("query_range", query=query, start=self.began, end=time.time(), step=1)["result"]  # type: ignore[no-any-return]

    def firing(self) -> set[str]:
        return {one["labels"]["alertname"] for one in self.ask("alerts")["alerts"] if one["state"] == "firing"}


@contextlib.contextmanager
def prometheus(folder: Path, target: str) -> Iterator[Prometheus]:
    rules = re.sub(r"for: \w+", "for: 1s", (REPOSITORY / "monitoring/alerts.yaml").read_text())
    (folder / "alerts.yaml").write_text(rules)
    config = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": ["alerts.yaml"],
        "scrape_configs": [{"job_name": "changeover", "static_configs": [{"targets": [target]}]}],
    }
    (folder / "prometheus.yaml").write_text(yaml.safe_dump(config))
    address = f"127.0.0.1:{free_port('127.0.0.1')}"
    words = ["--config.file=prometheus.yaml", f"--storage.tsdb.path={folder}/data", f"--web.listen-address={address}"]
    with (folder / "prometheus.log").open("wb") as log:
        process = subprocess.Popen(["prometheus", *words], cwd=folder, stdout=log, stderr=log)
        try:
            found = Prometheus(f"http://{address}")
            until(lambda: found.is_ready() or None, "Prometheus to be ready")
            yield found
        finally:
            process.kill()
            process.wait()
            found._client.close()


@pytest.mark.timeout(240)
def test_a_rollout_fills_every_panel_and_faults_make_their_alerts_fire(tmp_path: Path) -> None:
    folders = [tmp_path / name for name in ("chain", "prometheus")]
    for folder in folders:
        folder.mkdir()
    with contextlib.ExitStack() as stack:
        chain = stack.enter_context(own_chain(folders[0], behind_an_edge, guarded))
        chain.up()
        serve = started(stack, chain, "serve", "--listen", "127.0.0.1:0")
        target = address_in(serve.says("Serving http://"))
        prom = stack.enter_context(prometheus(folders[1], target))
        uploads = ("--uploads", 2, "--upload-size", "2MB", "--upload-time", "4s")
        probe = started(stack, chain, "probe", "--rate", 60, *uploads)
        probe.says("GET")
        until(lambda: prom.since_it_began("changeover_probe_requests_total") or None, "the first scrape of a probe")
        with SlowUpload(chain, path="/buffered"):
            held = "changeover_buffered_body_bytes > 0 and on (tier) changeover_buffered_body_ratio > 0"
            until(lambda: prom.since_it_began(held) or None, "half of an upload on the disk of the edge", LONG)
        with SlowUpload(chain) as upload:  # a drain that no scrape can miss
            upload.arrives()
            roll = started(stack, chain, "roll", "runtime", "--to", "v2")
            for seen in ("drain_remaining_seconds", "requests_in_flight", "uploads_in_flight", "upload_left_bytes"):
                until(partial(prom.since_it_began, f"changeover_{seen}"), f"{seen} of a drain", LONG)
            check_metrics(target)  # of a canary, with a probe
            upload.finish()
        roll.end(0)
        check_metrics(target)
        until(lambda: prom.since_it_began('changeover_rollout_info{phase="completed"}') or None, "the outcome")
        assert empty_panels(prom) == []
        # How full the disk is, is a fact of the machine that tests, not of the rollout.
        assert prom.firing() - {"ChangeoverDiskNearlyFull", "ChangeoverBodyDiskNearlyFull"} == set()

        lose_a_request(chain)
        until(lambda: "ChangeoverRequestLost" in prom.firing() or None, "the alert of a lost request")
        end_keeper(chain)
        until(lambda: "ChangeoverKeeperGone" in prom.firing() or None, "the alert of a dead keeper")
        probe.signal(SIGTERM).end(3)
        serve.signal(SIGTERM).end(0)


@pytest.mark.soak
@pytest.mark.timeout(400)
def test_a_stuck_drain_and_a_template_that_crashes_make_their_alerts_fire(tmp_path: Path) -> None:
    folders = [tmp_path / name for name in ("chain", "prometheus")]
    for folder in folders:
        folder.mkdir()
    server = shutil.copy(REPOSITORY / "tests/process/dying_server.py", folders[0] / "server.py")
    frail = template("runtime", "frail", command=[sys.executable, str(server), "{port}", "{lame_duck}", "at:3"])
    with contextlib.ExitStack() as stack:
        chain = stack.enter_context(own_chain(folders[0], small, waiting, frail))
        chain.up()
        serve = started(stack, chain, "serve", "--listen", "127.0.0.1:0")
        target = address_in(serve.says("Serving http://"))
        prom = stack.enter_context(prometheus(folders[1], target))

        with SlowUpload(chain) as upload:
            upload.arrives()
            roll = started(stack, chain, "roll", "runtime", "--to", "v2")
            until(lambda: "ChangeoverDrainOverdue" in prom.firing() or None, "the alert of a stuck drain", LONG)
            assert roll.process.poll() is None
            upload.finish()
        roll.end(0)
        until(lambda: "ChangeoverDrainOverdue" not in prom.firing() or None, "the end of that alert", LONG)

        assert "ChangeoverTemplateCrashLooping" not in prom.firing()
        chain.roll("runtime", "frail")

        def crashing() -> bool | None:
            """A request at which an instance may die, and whether the alert fires."""
            with contextlib.suppress(httpx.HTTPError):
                chain.get("/")
            return "ChangeoverTemplateCrashLooping" in prom.firing() or None

        until(crashing, "the alert of a template that crashes", LONG)
        serve.signal(SIGTERM).end(0)


def check_metrics(target: str) -> None:
    """Promtool finds no fault in what a scraper gets now."""
    text = httpx.get(f"http://{target}/metrics", trust_env=False, timeout=20).raise_for_status().content
    done = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, timeout=40, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, b"")


def waiting(said: Said) -> None:
    """A change: a drain of the runtime is past its deadline at once, and waits for what is in flight."""
    tier_of(said, "runtime")["drain"] = {"deadline": "500ms", "policy": "wait"}


def address_in(line: str) -> str:
    """Host and port of the first URL in a line."""
    found = re.search(r"http://([^/\s]+)", line)
    assert found is not None, line
    return found[1]


def started(stack: contextlib.ExitStack, chain: Chain, *words: object) -> Command:
    """A command that has ended when the stack has, so that a failure leaves none."""
    command = chain.start(*words)

    def end() -> None:
        if command in Command.running:
            command.signal(SIGKILL).end()

    stack.callback(end)
    return command


def empty_panels(prom: Prometheus) -> list[str]:
    """The queries of panels that never had data."""
    found = []
    for panel in PANELS:
        for target in panel["targets"]:
            query = target["expr"].replace('chain="$chain"', 'chain!=""').replace("$tier", "runtime")
            if not prom.since_it_began(query):
                found.append(f"{panel['title']}: {query}")
    return found


def lose_a_request(chain: Chain) -> None:
    """The control: every instance of the runtime dies at once, under traffic."""
    for instance in chain.instances("runtime"):
        os.kill(instance["pid"], SIGKILL)


def end_keeper(chain: Chain) -> None:
    until(lambda: chain.status()["keeper_pid"], "a keeper")
    os.kill(chain.status()["keeper_pid"], SIGKILL)
