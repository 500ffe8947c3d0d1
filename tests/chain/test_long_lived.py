"""WebSockets and server-sent events pass through every tier, and a roll waits for them."""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from tests.chain.chains import PATIENCE, Chain, Said, tier_of, trust
from tests.chain.conftest import own_chain

APP = Path(__file__).with_name("streaming_app.py")
UPGRADE = b"GET /socket HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
EVENTS = b"GET /events HTTP/1.1\r\nHost: x\r\n\r\n"


def streaming(said: Said) -> None:
    runtime = tier_of(said, "runtime")
    words = [sys.executable, str(APP), "{port}", "{name}", "{version}", "{lame_duck}"]
    for template in runtime["templates"].values():
        template["command"] = words
    for tier in said["tiers"]:
        tier["size"] = 1


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chain]:
    with own_chain(tmp_path_factory.mktemp("streaming"), streaming) as chain:
        chain.up()
        yield chain


def connected(chain: Chain, request: bytes) -> socket.socket:
    """A connection over TLS that has sent that request."""
    edge = urlsplit(chain.edge_url)
    plain = socket.create_connection((edge.hostname or "", edge.port or 0), PATIENCE)
    secure = trust(chain.ca_file).wrap_socket(plain, server_hostname=edge.hostname)
    secure.sendall(request)
    return secure


def until(stream: socket.socket, end: bytes) -> bytes:
    seen = b""
    while end not in seen:
        piece = stream.recv(4096)
        assert piece, seen
        seen += piece
    return seen


def echoes(stream: socket.socket, word: bytes) -> bool:
    stream.sendall(word)
    return until(stream, word) == word


def test_events_arrive_as_they_are_sent(chain: Chain) -> None:
    with connected(chain, EVENTS) as stream:
        until(stream, b"data: 1\n")
        until(stream, b"data: 3\n")


@pytest.mark.parametrize("tier", ["edge", "l4", "gateway", "runtime"])
def test_a_websocket_lives_through_the_roll_of_a_tier_which_waits_for_its_end(chain: Chain, tier: str) -> None:
    with connected(chain, UPGRADE) as stream:
        assert b" 101 " in until(stream, b"\r\n\r\n")
        assert echoes(stream, b"before")
        roll = chain.start("roll", tier, "--to", chain.other(tier), "--json")
        chain.until(
            lambda seen: [i for i in seen["instances"] if i["tier"] == tier and i["phase"] == "draining"],
            f"an instance of {tier} that drains",
        )
        assert echoes(stream, b"while it drains")
        (draining,) = chain.instances(tier, phase="draining")
        assert draining["in_flight"]["connections"] >= 1
    assert roll.end(code=0).json["outcome"] == "completed"


def test_only_websocket_is_upgraded(chain: Chain) -> None:
    with connected(chain, UPGRADE.replace(b"websocket", b"h2c").replace(b"/socket", b"/hello")) as stream:
        assert b" 200 " in until(stream, b"\r\n\r\n")


def test_a_drain_that_cuts_ends_a_websocket_at_its_deadline_and_says_so(chain: Chain) -> None:
    file = chain.folder / "cuts.yaml"
    file.write_text(chain.file.read_text().replace("deadline: 60s", "deadline: 500ms\n    policy: cut"))
    with connected(chain, UPGRADE) as stream:
        until(stream, b"\r\n\r\n")
        roll = chain.start("roll", "runtime", "--to", chain.other("runtime"), "-f", file, "--json")
        assert stream.recv(100) == b""
        done = roll.end(code=3)
    assert any(one["cut"] for one in done.json["instances"])
