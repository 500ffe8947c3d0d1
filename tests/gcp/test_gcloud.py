"""gcloud as a second client of the fake: it knows nothing of this project. Left out where it is not installed."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
from tests.gcp.fakes import Fake, running
from tests.gcp.worlds import ZONE, world

pytestmark = pytest.mark.skipif(shutil.which("gcloud") is None, reason="gcloud is not installed")
MANAGED = ("compute", "instance-groups", "managed")


@pytest.fixture(scope="module")
def fake(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fake]:
    with running(world(), tmp_path_factory.mktemp("fake")) as made:
        yield made


def gcloud(fake: Fake, *words: str) -> str:
    """The output of a command, which must succeed."""
    done = subprocess.run(
        ["gcloud", *words],
        env={**os.environ, **fake.environment()},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def read(fake: Fake, *words: str) -> Any:
    return json.loads(gcloud(fake, *words, "--format=json"))


def test_gcloud_reads_and_rolls_a_group(fake: Fake) -> None:
    zone = f"--zone={ZONE}"
    gcloud(fake, *MANAGED, "wait-until", "web", zone, "--stable")
    (group,) = read(fake, *MANAGED, "list", f"--zones={ZONE}")
    assert group["name"] == "web"
    assert read(fake, *MANAGED, "describe", "web", zone)["targetSize"] == 2
    template = "--version=template=web-v2"
    gcloud(
        fake, *MANAGED, "rolling-action", "start-update", "web", zone, template, "--max-surge=1", "--max-unavailable=0"
    )
    gcloud(fake, *MANAGED, "wait-until", "web", zone, "--version-target-reached")
    gcloud(fake, *MANAGED, "wait-until", "web", zone, "--stable")
    found = read(fake, *MANAGED, "list-instances", "web", zone)
    assert [each["version"]["instanceTemplate"].rpartition("/")[2] for each in found] == ["web-v2", "web-v2"]
    health = read(fake, "compute", "backend-services", "get-health", "web", "--global")
    assert {each["healthState"] for each in health[0]["status"]["healthStatus"]} == {"HEALTHY"}
