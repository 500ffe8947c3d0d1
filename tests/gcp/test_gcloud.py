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

pytestmark = [
    pytest.mark.skipif(shutil.which("gcloud") is None, reason="gcloud is not installed"),
    pytest.mark.timeout(300),  # gcloud takes seconds to start
]
MANAGED = ("compute", "instance-groups", "managed")
IN_ZONE = f"--zone={ZONE}"


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
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def read(fake: Fake, *words: str) -> Any:
    return json.loads(gcloud(fake, *words, "--format=json"))


def names(fake: Fake) -> dict[str, str]:
    """Instances with the names of their templates, asked without gcloud: each of its commands takes a second."""
    found = fake.call("POST", f"zones/{ZONE}/instanceGroupManagers/web/listManagedInstances").json()
    return {each["name"]: each["version"]["instanceTemplate"].rpartition("/")[2] for each in found["managedInstances"]}


def rolled(fake: Fake, *words: str) -> None:
    """Give a rolling action, and wait as gcloud does."""
    bounds = ("--max-surge=2", "--max-unavailable=0")
    gcloud(fake, *MANAGED, "rolling-action", words[0], "web", IN_ZONE, *words[1:], *bounds)
    gcloud(fake, *MANAGED, "wait-until", "web", IN_ZONE, "--version-target-reached")
    gcloud(fake, *MANAGED, "wait-until", "web", IN_ZONE, "--stable")


def test_gcloud_reads_and_rolls_a_group(fake: Fake) -> None:
    (group,) = read(fake, *MANAGED, "list")
    assert group["name"] == "web"
    assert read(fake, *MANAGED, "describe", "web", IN_ZONE)["targetSize"] == 2
    rolled(fake, "start-update", "--version=template=web-v2")
    assert list(names(fake).values()) == ["web-v2", "web-v2"]


@pytest.mark.fuzz
def test_gcloud_replaces_what_is_up_to_date_and_reads_health(fake: Fake) -> None:
    before = names(fake)
    rolled(fake, "replace")
    after = names(fake)
    assert len(after) == 2
    assert before.keys().isdisjoint(after)
    (group,) = read(fake, *MANAGED, "list", f"--zones={ZONE}")
    assert group["targetSize"] == 2
    assert len(read(fake, *MANAGED, "list-instances", "web", IN_ZONE)) == 2
    (health,) = read(fake, "compute", "backend-services", "get-health", "web", "--global")
    assert {each["healthState"] for each in health["status"]["healthStatus"]} == {"HEALTHY"}
