"""What a chain says of itself, what goes through it, and how it comes and goes."""

from __future__ import annotations

import hashlib
import os
import re
import socket
from pathlib import Path

import httpx
import pytest
from tests.chain.chains import CLIENT, Chain, Said, chain_file, running_in
from tests.unit.json_page import insist

TIERS = {"edge": "nginx", "l4": "nginx-stream", "gateway": "envoy", "runtime": "app"}
INSTANCE = {"name", "tier", "template", "phase", "pid", "address", "control", "in_flight", "drain_seconds_left"}


@pytest.fixture(scope="module")
def status(resting: Chain) -> Said:
    return resting.status()


def test_status_says_where_to_send_requests_and_whom_to_trust(status: Said) -> None:
    assert (status["chain"], status["up"], status["active_command"]) == ("four-tiers", True, None)
    assert re.fullmatch(r"https://127\.0\.0\.1:\d+", status["edge_url"])
    assert Path(status["ca_file"]).read_text(encoding="utf-8").startswith("-----BEGIN CERTIFICATE-----")


def test_status_has_every_tier_in_order(status: Said) -> None:
    assert [(tier["name"], tier["kind"]) for tier in status["tiers"]] == list(TIERS.items())
    for tier in status["tiers"]:
        assert (tier["template"], tier["size"], tier["serving"], tier["status"]) == ("v1", 2, 2, "resting")


def test_status_has_every_instance_with_what_it_has_in_flight(status: Said) -> None:
    instances = status["instances"]
    assert [instance["tier"] for instance in instances] == [name for name in TIERS for _ in range(2)]
    for instance in instances:
        assert set(instance) >= INSTANCE
        assert (instance["template"], instance["phase"]) == ("v1", "admitted")
        assert set(instance["in_flight"]) >= {"requests", "connections", "uploads", "bytes_left"}
        os.kill(instance["pid"], 0)  # raises if there is no such process
        assert re.fullmatch(r"127\.0\.0\.1:\d+", instance["address"])
    assert len({instance["pid"] for instance in instances}) == len(instances)


def test_status_for_people_shows_every_instance(resting: Chain, status: Said) -> None:
    told = resting.run("status").out
    assert status["edge_url"] in told
    for instance in status["instances"]:
        assert re.search(rf"{instance['name']} +admitted +{instance['address']} ", told), told


def test_up_again_changes_nothing(resting: Chain, status: Said) -> None:
    again = resting.run("up", "-f", resting.file, "--json")
    assert "already up" in again.err
    assert [i["pid"] for i in again.json["instances"]] == [i["pid"] for i in status["instances"]]
    assert (again.json["edge_url"], again.json["ca_file"]) == (status["edge_url"], status["ca_file"])


@pytest.mark.parametrize(("http2", "version"), [(False, "HTTP/1.1"), (True, "HTTP/2")])
def test_a_get_goes_through_all_four_tiers(resting: Chain, status: Said, http2: bool, version: str) -> None:
    with resting.client(http2=http2) as client:
        answer = client.get("/hello")
    assert (answer.status_code, answer.http_version) == (200, version)
    assert answer.json()["version"] == "v1"
    assert answer.json()["instance"] in {i["name"] for i in status["instances"] if i["tier"] == "runtime"}
    assert (answer.headers["x-edge-version"], answer.headers["x-gateway-version"]) == ("v1", "v1")


def test_a_client_that_does_not_trust_the_chain_is_not_served(resting: Chain) -> None:
    with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
        httpx.get(f"{resting.edge_url}/hello", **CLIENT)


@pytest.mark.parametrize("http2", [False, True], ids=["HTTP/1.1", "HTTP/2"])
@pytest.mark.parametrize("chunked", [False, True], ids=["content-length", "chunked"])
def test_an_upload_can_be_read_from_every_instance(resting: Chain, http2: bool, chunked: bool) -> None:
    body = os.urandom(3_000_000)
    with resting.client(http2=http2) as client:
        answer = client.post("/upload", content=iter([body]) if chunked else body)
    assert answer.status_code == 201
    told = answer.json()
    assert (told["bytes"], told["sha256"]) == (len(body), hashlib.sha256(body).hexdigest())
    read = [resting.get(f"/upload/{told['id']}/content") for _ in range(16)]
    assert all(answer.content == body for answer in read)
    assert {answer.headers["x-changeover-instance"] for answer in read} == {"runtime-v1-1", "runtime-v1-2"}


def test_a_chain_waits_for_its_port_goes_whole_and_comes_again_with_what_was_uploaded(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as holder:
        address = f"127.0.0.1:{holder.getsockname()[1]}"
        chain = Chain(tmp_path, chain_file(tmp_path, lambda said: said.update(listen=address)))
        refused = chain.run("up", "-f", chain.file, "--json", code=2)
        assert address in refused.json["error"][0]["what"]
        assert "Nothing was started" in refused.err
        assert running_in(tmp_path) == {}
    nothing_up(chain)
    before = chain.up()
    assert before["edge_url"] == f"https://{address}"
    with chain.client() as client:
        answer = client.post("/upload", content=b"kept")
        assert answer.status_code == 201, (answer.text, answer.headers)
        upload = answer.json()["id"]
    down = chain.down()
    assert down == {"stopped": [instance["name"] for instance in before["instances"]], "killed": []}
    insist("down", down)
    assert running_in(chain.folder) == {}
    nothing_up(chain)
    assert chain.up()["edge_url"] == before["edge_url"]
    assert chain.get(f"/upload/{upload}/content").content == b"kept"

    chain.down()
    assert running_in(tmp_path) == {}


def nothing_up(chain: Chain) -> None:
    """Insist that every command says so, and that none fails that has nothing to do."""
    told = chain.status()
    assert (told["up"], told["edge_url"], told["ca_file"], told["instances"]) == (False, None, None, [])
    assert chain.here("down", "--json").json == {"stopped": [], "killed": []}
    for words in (("roll", "runtime", "--to", "v2"), ("probe",)):
        done = chain.here(*words, "--json", code=2)
        assert done.json["exit_code"] == 2
        assert "no chain is up" in done.json["error"][0]["what"]
        assert "changeover up" in done.err
