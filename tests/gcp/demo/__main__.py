"""`make demo-gcp`: every tier of examples/03-google-cloud rolled on a fake of Google Cloud, under traffic.

The VMs are real processes: nginx, Envoy, the example application, and an agent on each. What Google does goes `SPEED`
times as fast as documented. Two controls follow, which must lose uploads: the same groups, updated by the fake's own
updater, with connection draining off, and with Google's usual 300 s against uploads that take longer.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import yaml
from tests.gcp.demo.world import NAME, TIERS, TOKEN, certificates, world
from tests.gcp.fakes import ROOT, Fake, Json, running, until
from tests.gcp.worlds import REGION

SPEED = 50
EXAMPLE = ROOT / "examples/03-google-cloud/chain.yaml"
PATIENCE = 240.0
"""Seconds for the rollout of every tier."""


@dataclass(frozen=True)
class Traffic:
    """`upload_seconds`: how long a client takes to send one upload."""

    rate: int = 40
    uploads: int = 4
    upload_size: str = "50MB"
    upload_seconds: float = 14.0


@dataclass(frozen=True)
class Result:
    way: str
    seconds: float
    probe: Json
    code: int


def roll_by_changeover(fake: Fake, folder: Path) -> None:
    """`roll --all`, as an operator does it."""
    _changeover(folder, "roll", "--all", "--to", "v2", "-f", str(folder / "chain.yaml"))


def _up(fake: Fake, folder: Path) -> None:
    file = folder / "chain.yaml"
    chain = yaml.safe_load(EXAMPLE.read_text(encoding="utf-8"))
    chain["platform"] |= {"endpoint": fake.endpoint, "look": "500ms"}
    chain["listen"] = fake.address("edge")
    file.write_text(yaml.safe_dump(chain, sort_keys=False), encoding="utf-8")
    _changeover(folder, "up", "-f", str(file))


def roll_by_updater(fake: Fake, folder: Path) -> None:
    """What `gcloud ... rolling-action start-update` sends, tier by tier from the inside out."""
    for tier in reversed(TIERS):
        path = f"regions/{REGION}/instanceGroupManagers/{tier}-mig"
        body = {
            "versions": [{"name": "v2", "instanceTemplate": f"global/instanceTemplates/{tier}-v2"}],
            "updatePolicy": {
                "type": "PROACTIVE",
                "minimalAction": "REPLACE",
                "maxSurge": {"fixed": 3},
                "maxUnavailable": {"fixed": 0},
            },
        }
        fake.call("PATCH", path, body).raise_for_status()

        until(partial(_reached, fake, tier), f"the update of {tier}", PATIENCE)


def _reached(fake: Fake, tier: str) -> bool:
    """Whether Google has nothing left to do with the group."""
    path = f"regions/{REGION}/instanceGroupManagers/{tier}-mig"
    status = fake.call("GET", path).raise_for_status().json()["status"]
    return bool(status["isStable"] and status["versionTarget"]["isReached"])


def run(
    way: str, roll: Callable[[Fake, Path], None], *, drain: int, traffic: Traffic, folder: Path, speed: float = SPEED
) -> Result:
    """One world, rolled under traffic. `drain`: seconds of connection draining at speed 1.

    A run that should not have lost anything, or did not end, leaves a copy of its folder, and says where.
    """
    folder.mkdir(parents=True)
    try:
        result = _run(way, roll, drain=drain, traffic=traffic, folder=folder, speed=speed)
    except BaseException:
        _keep(folder)
        raise
    if roll is roll_by_changeover and result.code:
        _keep(folder)
    return result


def _keep(folder: Path) -> None:
    """Ledger, journal and logs: pytest and the demo delete their own folders. Uploads and sockets are left out."""

    def left_out(place: str, names: list[str]) -> list[str]:
        found = [Path(place) / name for name in names]
        return [one.name for one in found if one.name == "shared" or not (one.is_file() or one.is_dir())]

    kept = Path(tempfile.mkdtemp(prefix="demo-gcp-failed-"))
    shutil.copytree(folder, kept, ignore=left_out, dirs_exist_ok=True)
    print(f"the ledger, the journal and the logs of this run are in {kept}", file=sys.stderr)


def _run(
    way: str, roll: Callable[[Fake, Path], None], *, drain: int, traffic: Traffic, folder: Path, speed: float
) -> Result:
    own = roll is roll_by_changeover
    ca = certificates(folder)
    with running(world(folder, speed=speed, drain=drain, by_agents=own), folder / "fake") as fake:
        # A gateway is ready once the controller has told it of its members.
        first = TIERS[:2] if own else TIERS
        until(lambda: all(_healthy(fake, tier) for tier in first), "the VMs to serve", PATIENCE)
        until(lambda: all(_reached(fake, tier) for tier in TIERS), "the groups to be stable", PATIENCE)
        if own:
            _up(fake, folder)
        started = time.monotonic()
        with _calls(fake, folder), _probe(fake, ca, folder, traffic) as probe:
            roll(fake, folder)
            seconds = time.monotonic() - started
            probe.terminate()
            out, error = probe.communicate(timeout=PATIENCE)
        assert out, error
        if own:
            _changeover(folder, "down")
        return Result(way, seconds, json.loads(out), probe.returncode)


@contextmanager
def _calls(fake: Fake, folder: Path) -> Iterator[None]:
    """Write down every call that the fake was asked, at the end."""
    try:
        yield
    finally:
        (folder / "calls.json").write_text(json.dumps(fake.log(), indent=1), encoding="utf-8")


def _healthy(fake: Fake, tier: str) -> bool:
    path = f"regions/{REGION}/backendServices/{tier}-bs"
    group = {"group": f"regions/{REGION}/instanceGroups/{tier}-mig"}
    answer = fake.call("POST", f"{path}/getHealth", group).raise_for_status().json()
    return [one["healthState"] for one in answer.get("healthStatus", [])].count("HEALTHY") == 2


@contextmanager
def _probe(fake: Fake, ca: Path, folder: Path, traffic: Traffic) -> Iterator[subprocess.Popen[str]]:
    """The probe, once its first requests have succeeded."""
    settings = {
        "url": f"https://{fake.address('edge')}",
        "rate": traffic.rate,
        "get": [{"path": "/hello", "fields": {"version": "{version}"}}],
        "post": [
            {
                "path": "/upload",
                "concurrent": traffic.uploads,
                "body": traffic.upload_size,
                "time": f"{traffic.upload_seconds}s",
                "headers": {"X-Upload-Ref": "{ref}"},
                "digest": {"field": "sha256"},
                "read_back": "/upload/{id}/content",
                "copies": {"path": "/uploads?ref={ref}", "field": "ids", "id": "id"},
            }
        ],
    }
    file, ledger = folder / "probe.yaml", folder / "ledger.jsonl"
    file.write_text(yaml.safe_dump(settings), encoding="utf-8")
    tls = ("--ca", str(ca), "--server-name", NAME)
    command = (
        sys.executable,
        "-m",
        "changeover",
        "probe",
        "--config",
        str(file),
        *tls,
        "--ledger",
        str(ledger),
        "--json",
    )
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            until(lambda: _uploaded(ledger), "the first upload", PATIENCE)
            yield process
        finally:
            process.kill()


def _uploaded(ledger: Path) -> bool:
    """Whether an upload has arrived: before that, the traffic proves nothing."""
    rows = ledger.read_text(encoding="utf-8").splitlines() if ledger.exists() else []
    return any(row.endswith("}") and _is_upload(json.loads(row)) for row in rows)


def _is_upload(row: Json) -> bool:
    return row.get("kind") == "upload" and row.get("outcome") == "ok"


def _changeover(folder: Path, *words: str) -> None:
    command = [sys.executable, "-m", "changeover", *words, "--state", str(folder / "state")]
    env = {**os.environ, "AGENT_TOKEN": TOKEN}
    subprocess.run(command, env=env, check=True, timeout=PATIENCE)


def main() -> int:
    parser = argparse.ArgumentParser(prog="make demo-gcp", description=__doc__)
    parser.add_argument("--no-controls", action="store_true", help="only changeover's own roll")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="demo-gcp-") as home:
        results = [
            run("changeover", roll_by_changeover, drain=300, traffic=Traffic(), folder=Path(home) / "own"),
        ]
        if not options.no_controls:
            results += [
                run(way, roll_by_updater, drain=drain, traffic=Traffic(), folder=Path(home) / f"drain-{drain}")
                for way, drain in (("Google's updater, no draining", 0), ("Google's updater, 300 s of draining", 300))
            ]
    for result in results:
        print(f"{result.way:<40} {result.seconds:>6.0f} s   {result.probe['summary']}")
        for reason, count in result.probe["failures_by_reason"].items():
            print(f"{count:>50} x {reason}")
    own, *controls = results
    if own.code == 0 and all(control.code == 3 for control in controls):
        return 0
    return own.code or 1


if __name__ == "__main__":
    sys.exit(main())
