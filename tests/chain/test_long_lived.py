"""WebSockets and server-sent events pass through every tier, and a roll waits for them."""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import yaml
from tests.chain.chains import PATIENCE, Chain, Said, tier_of, trust
from tests.chain.conftest import own_chain
from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, CloseConnection, Event, Request, TextMessage

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
        tier["drain"]["long_lived"] = {"after": "1s"}


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
    said = yaml.safe_load(chain.file.read_text())
    tier_of(said, "runtime")["drain"].update(deadline="500ms", policy="cut")
    file.write_text(yaml.safe_dump(said, sort_keys=False))
    with connected(chain, UPGRADE) as stream:
        until(stream, b"\r\n\r\n")
        roll = chain.start("roll", "runtime", "--to", chain.other("runtime"), "-f", file, "--json")
        assert stream.recv(100) == b""
        done = roll.end(code=3)
    assert any(one["cut"] for one in done.json["instances"])


def test_an_application_closes_its_websockets_when_it_is_asked_and_the_client_comes_back(chain: Chain) -> None:
    (old,) = chain.instances("runtime", phase="admitted")
    websocket = WSConnection(ConnectionType.CLIENT)
    with connected(chain, websocket.send(Request("x", "/socket"))) as stream:
        assert isinstance(next_event(stream, websocket), AcceptConnection)
        stream.sendall(websocket.send(TextMessage("before")))
        message = next_event(stream, websocket)
        assert isinstance(message, TextMessage)
        assert message.data == "before"
        roll = chain.start("roll", "runtime", "--to", chain.other("runtime"), "--json")
        closed = next_event(stream, websocket)
        assert isinstance(closed, CloseConnection)
        assert (closed.code, closed.reason) == (1001, "the instance is replaced")
        stream.sendall(websocket.send(closed.response()))
        told = roll.end(code=0).json
    assert (told["interrupted"], told["long_lived"]) == (False, [])
    again = WSConnection(ConnectionType.CLIENT)
    with connected(chain, again.send(Request("x", "/socket"))) as stream:
        assert isinstance(next_event(stream, again), AcceptConnection)
        assert chain.instances("runtime", phase="admitted")[0]["name"] != old["name"]


def test_a_websocket_is_asked_to_close_some_time_after_the_removal(chain: Chain) -> None:
    file = chain.folder / "asks.yaml"
    said = yaml.safe_load(chain.file.read_text())
    tier_of(said, "runtime")["drain"]["long_lived"] = {"policy": "ask", "after": "6s"}
    file.write_text(yaml.safe_dump(said, sort_keys=False))
    websocket = WSConnection(ConnectionType.CLIENT)
    with connected(chain, websocket.send(Request("x", "/socket"))) as stream:
        assert isinstance(next_event(stream, websocket), AcceptConnection)
        roll = chain.start("roll", "runtime", "--to", chain.other("runtime"), "-f", file, "--json")
        removed = chain.until(draining, "an instance that drains")
        (old,) = [one["name"] for one in removed["instances"] if one["phase"] == "draining"]
        stream.sendall(websocket.send(TextMessage("still there")))
        message = next_event(stream, websocket)
        assert isinstance(message, TextMessage)
        closed = next_event(stream, websocket)
        assert isinstance(closed, CloseConnection)
        assert closed.code == 1001
        stream.sendall(websocket.send(closed.response()))
        roll.end(code=0)
    last = chain.here("history", "--json").json["rollouts"][-1]["id"]
    log = chain.here("show", last, "--json").json["log"]
    assert any("asked to close what it has open" in str(line) and old in str(line) for line in log)


def draining(seen: Said) -> bool:
    return any(one["tier"] == "runtime" and one["phase"] == "draining" for one in seen["instances"])


def next_event(stream: socket.socket, websocket: WSConnection) -> Event:
    while True:
        for event in websocket.events():
            return event
        websocket.receive_data(stream.recv(4096) or None)


def test_events_end_with_their_instance_and_say_when_to_come_back(chain: Chain) -> None:
    with connected(chain, EVENTS) as stream:
        until(stream, b"retry: 100\n")
        roll = chain.start("roll", "runtime", "--to", chain.other("runtime"), "--json")
        until(stream, b"\r\n0\r\n\r\n")
        assert roll.end(code=0).json["long_lived"] == []


def test_what_stays_open_is_cut_as_long_lived_and_is_no_loss(chain: Chain) -> None:
    file = chain.folder / "long.yaml"
    said = yaml.safe_load(chain.file.read_text())
    tier_of(said, "runtime")["drain"]["long_lived"] = {"policy": "cut", "after": "500ms"}
    file.write_text(yaml.safe_dump(said, sort_keys=False))
    (old,) = chain.instances("runtime", phase="admitted")
    with connected(chain, UPGRADE) as stream:
        until(stream, b"\r\n\r\n")
        roll = chain.start("roll", "runtime", "--to", chain.other("runtime"), "-f", file, "--json")
        assert stream.recv(100) == b""
        told = roll.end(code=0).json
    assert (told["outcome"], told["interrupted"]) == ("completed", False)
    (text,) = told["long_lived"]
    assert text.startswith(f"{old['name']}: cutting 1 connection, open")
    assert [one["cut"] for one in told["instances"]] == [None, None]


def test_status_and_plan_name_what_is_open_for_long_where_the_routers_know_it(chain: Chain) -> None:
    with connected(chain, UPGRADE) as stream:
        until(stream, b"\r\n\r\n")

        def aged(seen: Said) -> bool:
            found = [one["long_lived"] for one in seen["instances"] if one["tier"] in ("edge", "l4", "gateway")]
            return all(one["connections"] and one["oldest_seconds"] >= 1 for one in found)

        seen = chain.until(aged, "connections that are open for a second")
        assert [one["long_lived"] for one in seen["instances"] if one["tier"] == "runtime"] == [None]
        planned = chain.run("plan", "l4", "--to", chain.other("l4"), "--json", code=4).json["long_lived"]
    (named,) = planned
    assert named["tier"] == "l4"
    assert named["connections"] >= 1
