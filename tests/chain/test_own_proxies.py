"""The example with a haproxy.cfg and an envoy.yaml of one's own: every tier is rolled without a lost request."""

from __future__ import annotations

import shutil
import signal
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import trustme
from tests.chain.chains import REPOSITORY, Chain, Said, here, tier_of, until
from tests.chain.conftest import own_chain

from changeover.kit.files import write_whole

TRAFFIC = ("--rate", 50, "--connections", 8, "--uploads", 2, "--upload-size", "3MB", "--upload-time", "1s")
EXAMPLE = REPOSITORY / "examples/04-own-proxies"


def quick(said: Said) -> None:
    """HAProxy has one time at the edge alone."""
    for template in tier_of(said, "edge")["templates"].values():
        for key in ("keepalive_time", "upstream_keepalive_time", "upstream_keepalive_timeout"):
            del template[key]


@contextmanager
def example(folder: Path) -> Iterator[Chain]:
    shutil.copytree(EXAMPLE, folder, dirs_exist_ok=True)
    with own_chain(folder, quick, example=EXAMPLE / "chain.yaml") as chain:
        yield chain


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chain]:
    with example(tmp_path_factory.mktemp("own proxies")) as chain:
        chain.up()
        yield chain


def test_what_is_added_to_the_configuration_is_printed_with_its_reason(chain: Chain) -> None:
    said = chain.here("render", "haproxy", "-f", chain.file).out
    assert "haproxy.cfg:14: `http-after-response set-header Connection close" in said
    said = chain.here("render", "envoy", "-f", chain.file).out
    assert "envoy.yaml: static_resources.clusters: cluster runtime, with its members from a file" in said


def test_every_part_of_the_configuration_serves(chain: Chain) -> None:
    with chain.client() as client:
        answer = client.get("/hello")
        assert (answer.headers["x-edge-version"], answer.headers["x-gateway-version"]) == ("v1", "v1")
        assert answer.headers["x-l7-version"] == "v1"
        assert answer.headers["x-gateway"].startswith("gateway-v1-")
        assert client.get("/gateway").text.startswith("served by gateway-v1-")
        assert client.get("/local").text.startswith("served by edge-v1-")
        assert "<title>static" in client.get("/", headers={"Host": "static.example.com"}).text
        assert client.get("/inflight").status_code == 404


def serves(address: tuple[str, int], pem: str) -> bool:
    """Whether a new connection gets the first certificate in `pem`."""
    return ssl.get_server_certificate(address) in pem


def test_a_renewed_certificate_is_served_to_new_connections_without_a_roll(chain: Chain) -> None:
    """The keeper looks after it. HAProxy itself has found the file of the haproxy.cfg."""
    where = urlsplit(chain.edge_url)
    address = str(where.hostname), int(where.port or 0)
    files = [chain.state / "tls" / name for name in ("edge.pem", "edge.key")]
    before = [file.read_text() for file in files]
    first = ssl.get_server_certificate(address)
    with chain.client() as client:
        assert client.get("/hello").status_code == 200
        other = trustme.CA().issue_cert("localhost")
        renewed = "".join(blob.bytes().decode() for blob in other.cert_chain_pems)
        for texts, expected in (((renewed, other.private_key_pem.bytes().decode()), renewed), (before, first)):
            for file, text in zip(files, texts, strict=True):
                write_whole(file, text, mode=0o600)
            until(partial(serves, address, expected), "its certificate")
            assert client.get("/hello").status_code == 200  # over the connection from before


@pytest.mark.parametrize(
    "tiers",
    [
        ("gateway", "l4", "edge"),
        pytest.param(("runtime", "gateway", "l7", "l4", "edge"), marks=pytest.mark.soak),
    ],
    ids=["one of each kind", "every tier"],
)
def test_tiers_are_rolled_under_traffic_without_a_lost_request(chain: Chain, tiers: tuple[str, ...]) -> None:
    probe = chain.start("probe", *TRAFFIC, "--json")
    probe.says(" in flight")
    goals = {tier: chain.other(tier) for tier in tiers}
    for tier in tiers:
        assert chain.roll(tier, goals[tier])["outcome"] == "completed"
    done = probe.signal(signal.SIGTERM).end(code=0)
    assert done.json["lost"] == 0
    chain.serves("edge", goals["edge"])


@pytest.mark.parametrize(
    ("name", "added", "reason"),
    [
        ("haproxy.cfg", "    blance roundrobin\n", "parsing [broken:33] : unknown keyword 'blance'"),
        ("envoy.yaml", "nonsense: 7\n", "'broken': Protobuf message"),
    ],
)
def test_a_mistake_is_named_by_file_before_anything_starts(chain: Chain, name: str, added: str, reason: str) -> None:
    (chain.folder / "broken").write_text((chain.folder / name).read_text() + added)
    file = chain.folder / "broken.yaml"
    file.write_text(chain.file.read_text().replace(f"config: {name}", "config: broken"))
    done = here("up", "-f", file, "--state", chain.folder / "other", code=2)
    assert reason in done.err
    assert not list((chain.folder / "other/instances").glob("*/instance.json"))


@pytest.mark.soak
def test_the_same_restarts_without_a_drain_lose_requests(tmp_path: Path) -> None:
    """The control: the traffic above notices what a rollout would break."""
    with example(tmp_path) as chain:
        done = chain.run("demo", "-f", chain.file, "--json", "--naive", *TRAFFIC, code=None)
        assert (done.code, done.json["verdict"]["lost"] > 0) == (3, True), done
