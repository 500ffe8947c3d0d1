"""What is in flight behind a Kong, which knows it of no target, and keeps idle connections to those it has removed."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml
from tests.chain.chains import Chain, running_in, until
from tests.chain.plain_clients import gets, plain_templates, uploads_to
from tests.kong.kongs import REAL, double, plain_document, route

pytestmark = pytest.mark.skipif(bool(REAL), reason="sets the double's pool of connections")


@contextmanager
def behind_kong(folder: Path, *, pool_idle: int, workers: int, counts: bool) -> Iterator[Chain]:
    """An application that changeover does not know, behind a Kong that the chain does not start."""
    with double(folder, 1, database=True, pool_idle=pool_idle) as kong:
        route(kong, plain_document("runtime", None))
        runtime = {
            "name": "runtime",
            "kind": "app",
            "size": 1,
            "health": {"interval": "200ms", "rise": 1, "fall": 2},
            "drain": {"deadline": "120s"},
            "update": {"min_ready": "100ms", "progress_deadline": "60s"},
            "router": kong.given(),
            "templates": plain_templates(folder / "takers", workers=workers, counts=counts),
        }
        chain = Chain(folder, folder / "chain.yaml")
        chain.file.write_text(yaml.safe_dump({"name": "behind-kong", "tiers": [runtime]}, sort_keys=False))
        try:
            chain.up()
            until(lambda: chain.get().status_code == 200 or None, "an answer through Kong")
            yield chain
        finally:
            if running_in(folder):
                chain.run("down")


def kernel(chain: Chain) -> int:
    """The connections to the one instance. Asked by another process: the double is in this one, which leaves out its
    own."""
    (one,) = chain.run("status", "--json").json["instances"]
    return int(one["in_flight_counts"]["kernel"])


def test_slow_uploads_to_three_workers_are_all_finished(tmp_path: Path) -> None:
    with behind_kong(tmp_path, pool_idle=1, workers=3, counts=True) as chain, gets(chain.edge_url, keep=True):
        with uploads_to(chain.edge_url, 9, tmp_path / "takers") as uploads:
            until(lambda: kernel(chain) >= len(uploads) or None, "the uploads at the instance")
            roll = chain.start("roll", "runtime", "--to", "v2", "--json")
            roll.says("out of every router")
            answers = [upload.finish() for upload in uploads[1:]]
            roll.says("counts of what is in flight differ, the highest holds: the instance ")
            answers.append(uploads[0].finish())
        assert {answer["version"] for answer in answers} == {"v1"}
        assert len({answer["pid"] for answer in answers}) > 1
        assert roll.end(0).json["outcome"] == "completed"


def test_a_drain_does_not_wait_for_idle_connections_where_one_process_counts_no_request(tmp_path: Path) -> None:
    pool_idle = 35
    with behind_kong(tmp_path, pool_idle=pool_idle, workers=1, counts=True) as chain, gets(chain.edge_url, keep=True):
        began = time.monotonic()
        assert chain.roll("runtime", "v2")["outcome"] == "completed"
        assert time.monotonic() - began < pool_idle


def test_a_drain_ends_with_the_pool_where_nothing_else_counts(tmp_path: Path) -> None:
    with behind_kong(tmp_path, pool_idle=2, workers=2, counts=False) as chain, gets(chain.edge_url, keep=True):
        assert chain.roll("runtime", "v2")["outcome"] == "completed"
