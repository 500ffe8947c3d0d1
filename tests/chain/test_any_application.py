"""Applications that changeover does not know are rolled: no request is lost, whoever counts what is in flight.

In front is HAProxy, which counts sessions, or an Envoy, of which the kernel knows the connections.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from tests.chain.chains import Chain, Said, running_in
from tests.chain.plain_clients import gets, plain_templates, uploads_to

GATEWAY = {"name": "gateway", "kind": "envoy", "size": 1, "templates": {"v1": {}, "v2": {}}}


def write(chain: Chain, *outer: Said, workers: int, counts: bool, **more: object) -> None:
    quick = {
        "health": {"interval": "100ms", "rise": 1, "fall": 2},
        "update": {"min_ready": "100ms", "progress_deadline": "60s"},
        "drain": {"deadline": "60s"},
    }
    runtime = {
        "name": "runtime",
        "kind": "app",
        "size": 1,
        "templates": plain_templates(chain.folder / "takers", workers=workers, counts=counts),
    }
    tiers = [{**quick, **tier} for tier in (*outer, {**runtime, **more})]
    chain.file.write_text(yaml.safe_dump({"name": "any", "tiers": tiers}, sort_keys=False))


@pytest.fixture
def chain(tmp_path: Path) -> Iterator[Chain]:
    found = Chain(tmp_path, tmp_path / "chain.yaml")
    try:
        yield found
    finally:
        if running_in(tmp_path):
            found.run("down")


BEHIND: dict[str, tuple[Said, ...]] = {"haproxy": (), "envoy": (GATEWAY,)}


@pytest.mark.parametrize(
    ("behind", "counts"), [("haproxy", True), ("envoy", False), pytest.param("envoy", True, marks=pytest.mark.soak)]
)
def test_slow_uploads_to_three_workers_are_all_finished(chain: Chain, behind: str, counts: bool) -> None:
    write(chain, *BEHIND[behind], workers=3, counts=counts)
    chain.up()
    with uploads_to(chain.edge_url, 9, chain.folder / "takers") as uploads:
        roll = chain.start("roll", "runtime", "--to", "v2", "--json")
        roll.says("out of every router")
        (leaving,) = chain.instances("runtime", phase="draining")
        assert leaving["in_flight"]["connections"] >= len(uploads)
        answers = [upload.finish() for upload in uploads[1:]]
        if counts:  # two of three workers have nothing, and say so
            roll.says("counts of what is in flight differ, the highest holds: the instance ")
        answers.append(uploads[0].finish())
    assert {answer["version"] for answer in answers} == {"v1"}
    assert len({answer["pid"] for answer in answers}) > 1
    assert roll.end(0).json["outcome"] == "completed"


@pytest.mark.parametrize("behind", BEHIND)
def test_an_application_that_counts_nothing_is_rolled_under_traffic(chain: Chain, behind: str) -> None:
    write(chain, *BEHIND[behind], workers=1, counts=False)
    chain.up()
    # HAProxy passes bytes: a client's connection stays with its instance for as long as the client keeps it.
    with gets(chain.edge_url, keep=behind == "envoy") as versions:
        assert chain.roll("runtime", "v2")["outcome"] == "completed"
    assert set(versions) == {"v1", "v2"}
