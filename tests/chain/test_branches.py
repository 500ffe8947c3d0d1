"""A chain that branches twice: an nginx and an Envoy whose routes lead to tiers that are rolled each by itself."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
from tests.chain.chains import Chain, Said
from tests.chain.conftest import own_chain

PATHS = {"/hello": "runtime", "/uploads?ref=none": "stored", "/blob/1": "blobs"}
"""Path of the example application -> the tier that answers it."""


def branching(said: Said) -> None:
    """A change: the edge leads to an application of its own and to the gateway, which leads to two others."""
    tiers = {tier["name"]: tier for tier in said["tiers"]}
    edge, gateway, runtime = tiers["edge"], tiers["gateway"], tiers["runtime"]
    edge |= {"size": 1, "to": ["gateway", "blobs"]}
    for template in edge["templates"].values():
        template["routes"] = [{"path": "/"}, {"path": "/blob", "to": "blobs"}]
    gateway |= {"size": 1, "to": ["runtime", "stored"]}
    for template in gateway["templates"].values():
        template["routes"] = [{"path": "/"}, {"path": "/uploads", "to": "stored"}]
    said["tiers"] = [edge, gateway, *({**runtime, "name": name, "size": 1} for name in sorted(PATHS.values()))]


@contextmanager
def traffic(chain: Chain) -> Iterator[None]:
    """GETs of every path, one after the other. Each must get an answer, from an instance of its tier."""
    failures: list[object] = []
    ended = threading.Event()

    def send() -> None:
        with chain.client() as client:
            for path, tier in itertools.cycle(PATHS.items()):
                if ended.is_set():
                    break
                try:
                    answer = client.get(path)
                except httpx.HTTPError as error:
                    failures.append((path, error))
                else:
                    if answer.status_code != 200 or not by(answer).startswith(f"{tier}-"):
                        failures.append((path, answer.status_code, by(answer)))

    thread = threading.Thread(target=send)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
    assert not failures


def by(answer: httpx.Response) -> str:
    """The instance that answered."""
    return str(answer.headers.get("x-changeover-instance", ""))


def test_each_tier_of_a_branching_chain_is_rolled_by_itself_without_a_lost_request(tmp_path: Path) -> None:
    with own_chain(tmp_path, branching) as chain:
        chain.up()
        with traffic(chain):
            for path, tier in PATHS.items():
                rolled = chain.roll(tier, "v2")
                assert {one["name"].rsplit("-", 2)[0] for one in rolled["instances"]} == {tier}
                answers = {path: by(chain.get(path)).split("-")[1] for path in PATHS}
                assert answers[path] == "v2"
                if tier == "runtime":
                    assert answers == {path: "v2" if path == "/hello" else "v1" for path in PATHS}
            chain.run("roll", "--all", "--to", "v2")
        assert {one["template"] for one in chain.status()["tiers"]} == {"v2"}
