"""The example with an nginx.conf of one's own: rolled under traffic without a lost request."""

from __future__ import annotations

import getpass
import os
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.chain.chains import REPOSITORY, Chain, Said, here, tier_of
from tests.chain.conftest import own_chain

TRAFFIC = ("--rate", 50, "--connections", 8, "--uploads", 2, "--upload-size", "3MB", "--upload-time", "1s")
EXAMPLE = REPOSITORY / "examples/05-own-nginx"


def quick(said: Said) -> None:
    """The pool's times are of an L4 tier's drain, which this chain has not; nginx.conf has the other."""
    for template in tier_of(said, "edge")["templates"].values():
        del template["keepalive_timeout"]


@contextmanager
def example(folder: Path) -> Iterator[Chain]:
    """Workers of another account could not enter the folder of a test."""
    shutil.copytree(EXAMPLE, folder, dirs_exist_ok=True)
    for file in folder.glob("nginx*.conf"):
        file.write_text(file.read_text().replace("www-data", getpass.getuser()))
    with own_chain(folder, quick, example=EXAMPLE / "chain.yaml") as chain:
        yield chain


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chain]:
    with example(tmp_path_factory.mktemp("own nginx")) as chain:
        chain.up()
        yield chain


def test_what_is_added_to_the_configuration_is_printed_with_its_reason(chain: Chain) -> None:
    said = chain.here("render", "nginx", "-f", chain.file).out
    assert "nginx.conf:4: `pid /run/nginx.pid` becomes `pid nginx.pid`" in said
    assert "`worker_shutdown_timeout" in said


def test_every_part_of_the_configuration_serves(chain: Chain) -> None:
    with chain.client() as client:
        assert client.get("/hello").headers["x-edge-version"] == "v1"
        assert client.get("/local").text.startswith("served by edge-v1-")
        static = client.get("/style.css", headers={"Host": "static.example.com"})
        assert (static.status_code, static.headers["cache-control"]) == (200, "max-age=3600")
        assert client.get("/hello", headers={"Accept-Encoding": "gzip"}).status_code == 200
        assert client.get("/inflight").status_code == 404


def test_every_tier_is_rolled_under_traffic_without_a_lost_request(chain: Chain) -> None:
    probe = chain.start("probe", *TRAFFIC, "--json")
    probe.says(" in flight")
    for tier in ("runtime", "edge"):
        assert chain.roll(tier, "v2")["outcome"] == "completed"
    done = probe.signal(signal.SIGTERM).end(code=0)
    assert done.json["lost"] == 0
    chain.serves("edge", "v2")


def test_an_undo_goes_back_to_the_files_that_ran_and_not_to_what_became_of_them(chain: Chain) -> None:
    """The template v2 serves; its file is lost, and so is an included one."""
    for name in ("nginx-v2.conf", "conf.d/gzip.conf"):
        (chain.folder / name).rename(chain.folder / f"{name}.away")
    try:
        refused = chain.run("plan", "edge", "--to", "v1", code=2)
        assert "nginx-v2.conf cannot be read" in refused.err
        one = chain.instances("edge")[0]
        os.kill(one["pid"], signal.SIGKILL)
        chain.until(
            lambda seen: (
                one["pid"] not in {i["pid"] for i in seen["instances"]}
                and all(i["phase"] == "admitted" for i in seen["instances"])
            ),
            "another instance of v2",
        )
        chain.serves("edge", "v2")
    finally:
        for name in ("nginx-v2.conf", "conf.d/gzip.conf"):
            (chain.folder / f"{name}.away").rename(chain.folder / name)


def test_a_mistake_is_named_by_file_and_line_before_anything_starts(chain: Chain) -> None:
    broken = (chain.folder / "nginx.conf").read_text().replace("sendfile           on", "sendfile  onn")
    (chain.folder / "broken.conf").write_text(broken)
    file = chain.folder / "broken.yaml"
    file.write_text(chain.file.read_text().replace("config: nginx.conf", "config: broken.conf"))
    done = here("up", "-f", file, "--state", chain.folder / "other", code=2)
    assert 'invalid value "onn" in "sendfile" directive' in done.err
    assert "in broken.conf:17" in done.err
    assert not list((chain.folder / "other/instances").glob("*/instance.json"))


@pytest.mark.soak
def test_the_same_restarts_without_a_drain_lose_requests(tmp_path: Path) -> None:
    """The control: the traffic above notices what a rollout would break."""
    with example(tmp_path) as chain:
        done = chain.run("demo", "-f", chain.file, "--json", "--naive", *TRAFFIC, code=None)
        assert (done.code, done.json["verdict"]["lost"] > 0) == (3, True), done
