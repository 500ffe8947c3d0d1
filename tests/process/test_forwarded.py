"""No client can name itself: the first tier removes its forwarded headers, unless it is a trusted peer."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Mapping
from ipaddress import IPv4Network
from pathlib import Path

import pytest
from tests.process.balanced import Balancer, Client, Web, through_envoys
from tests.process.relayed import relaying, scripted
from tests.process.test_affinity import run as balance
from tests.process.test_relay_streaming import echo
from tests.process.test_routes import Edge, run

from changeover.model.forwarded import FORWARDED_HEADERS
from changeover.model.instance import Instance
from changeover.relay.config import LOOPBACK, Networks, hidden, networks

NAMED = dict.fromkeys(FORWARDED_HEADERS, "10.9.9.9")
CLIENT = "10.1.2.3"


def forwarded(headers: Mapping[str, str]) -> dict[str, str]:
    """The forwarded headers of a request, without the scheme, which the first tier knows itself."""
    names = {name.lower() for name in FORWARDED_HEADERS} - {"x-forwarded-proto"}
    return {name: value for name, value in headers.items() if name in names}


async def get(edge: Edge, *, proxied: bool) -> Mapping[str, str]:
    """What the tier behind gets of a request in which the client names itself in every way."""
    reader, writer = await asyncio.open_connection(edge.at.host, edge.at.port)
    with contextlib.closing(writer):
        lines = "".join(f"{name}: {value}\r\n" for name, value in NAMED.items())
        header = f"PROXY TCP4 {CLIENT} 127.0.0.1 4711 443\r\n" if proxied else ""
        writer.write(f"{header}GET / HTTP/1.1\r\nHost: edge\r\n{lines}Connection: close\r\n\r\n".encode())
        assert b" 200 " in await reader.read()
    return edge.behind.headers


@pytest.mark.parametrize(("proxied", "peer"), [(True, CLIENT), (False, "127.0.0.1")])
def test_nginx_removes_them_from_other_peers_and_passes_those_of_trusted_ones(
    tmp_path: Path, proxied: bool, peer: str
) -> None:
    async def refused(edge: Edge) -> None:
        got = await get(edge, proxied=proxied)
        assert forwarded(got) == {"x-forwarded-for": peer}
        assert got["x-forwarded-proto"] == "http"

    async def believed(edge: Edge) -> None:
        got = await get(edge, proxied=proxied)
        passed = {name.lower(): value for name, value in NAMED.items()} | {"x-forwarded-for": f"10.9.9.9, {peer}"}
        assert forwarded(got) == {name: value for name, value in passed.items() if name != "x-forwarded-proto"}
        assert got["x-forwarded-proto"] == "10.9.9.9"

    for trusted, story in (((), refused), (("192.0.2.0/24",), refused), ((f"{peer}/32",), believed)):
        run(tmp_path, story, {"path": "/"}, proxied=proxied, trusted_peers=trusted)


def test_nginx_behind_another_tier_passes_them(tmp_path: Path) -> None:
    async def story(edge: Edge) -> None:
        got = await get(edge, proxied=False)
        assert (got["x-forwarded-for"], got["forwarded"]) == ("10.9.9.9, 127.0.0.1", "10.9.9.9")
        assert got["x-forwarded-proto"] == "10.9.9.9"
        await edge.client.get(f"http://{edge.at}/")  # from a tier that reads no HTTP
        assert edge.behind.headers["x-forwarded-proto"] == "http"

    run(tmp_path, story, {"path": "/"})


@pytest.mark.parametrize("trusted", [(), None])
def test_nginx_passes_the_request_id_of_a_client_and_makes_none(
    tmp_path: Path, trusted: tuple[str, ...] | None
) -> None:
    async def story(edge: Edge) -> None:
        await edge.client.get(f"http://{edge.at}/", headers={"X-Request-Id": "from the client"})
        assert edge.behind.headers["x-request-id"] == "from the client"
        await edge.client.get(f"http://{edge.at}/")
        assert "x-request-id" not in edge.behind.headers

    run(tmp_path, story, {"path": "/"}, trusted_peers=trusted)


@pytest.mark.parametrize(("trusted", "wanted"), [((), None), (("192.0.2.0/24",), None), (None, "10.9.9.9")])
def test_envoy_as_the_first_tier_removes_them(
    tmp_path: Path, trusted: tuple[str, ...] | None, wanted: str | None
) -> None:
    async def story(balancer: Balancer, webs: list[Web], instances: list[Instance]) -> None:
        await balancer.answers([Client({**NAMED, "X-Marked": "yes"})])
        (got,) = (head for web in webs for head in web.heads if "x-marked" in head)  # the rest are health checks
        assert [got.get(name) for name in ("forwarded", "x-real-ip", "x-forwarded-host")] == [wanted] * 3
        assert got.get("x-forwarded-for") == wanted
        assert got["x-forwarded-proto"] == (wanted or "http")

    balance(tmp_path, through_envoys, "none", story, nodes=1, trusted_peers=trusted)


@pytest.mark.parametrize("network", [f"{CLIENT}/32", "192.0.2.0/24"])
def test_envoy_as_the_first_tier_passes_those_of_trusted_peers(tmp_path: Path, network: str) -> None:
    named = {**NAMED, "X-Forwarded-Proto": "https"}
    wanted: dict[str, str | None] = dict.fromkeys(map(str.lower, named))
    wanted |= {"x-forwarded-for": CLIENT, "x-forwarded-proto": "http"}
    if CLIENT in network:
        wanted = {name.lower(): value for name, value in named.items()}
        wanted["x-forwarded-for"] = f"10.9.9.9,{CLIENT}"
    wanted.pop("x-envoy-external-address")  # Envoy sets it itself

    async def story(balancer: Balancer, webs: list[Web], instances: list[Instance]) -> None:
        (at,) = balancer.at
        reader, writer = await asyncio.open_connection(at.host, at.port)
        with contextlib.closing(writer):
            lines = "".join(f"{name}: {value}\r\n" for name, value in {**named, **COMMANDS, "X-Marked": "yes"}.items())
            header = f"PROXY TCP4 {CLIENT} 127.0.0.1 4711 443\r\n"
            writer.write(f"{header}GET / HTTP/1.1\r\nHost: a\r\n{lines}Connection: close\r\n\r\n".encode())
            assert b" 200 " in await reader.read()
        (got,) = (head for web in webs for head in web.heads if "x-marked" in head)
        assert {name: got.get(name) for name in wanted} == wanted
        assert [name for name in got if name.startswith("x-envoy-")] == ["x-envoy-external-address"]

    trusted = ("198.51.100.7/32", network)
    balance(tmp_path, through_envoys, "none", story, nodes=1, proxied=True, trusted_peers=trusted)


@pytest.mark.parametrize(
    ("trusted", "wanted"),
    [
        ((), "127.0.0.1"),
        ((IPv4Network("192.0.2.0/24"),), "127.0.0.1"),
        ((IPv4Network("127.0.0.0/8"),), "10.9.9.9, 127.0.0.1"),
        (None, "10.9.9.9, 127.0.0.1"),
    ],
)
def test_a_relay_removes_them_from_other_peers(trusted: tuple[IPv4Network, ...] | None, wanted: str) -> None:
    lines = "".join(f"{name}: {value}\r\n" for name, value in NAMED.items())

    async def go() -> None:
        async with (
            scripted(echo) as where,
            relaying(where, trusted_peers=trusted) as relayed,
            relayed.client() as client,
        ):
            await client.send(f"GET / HTTP/1.1\r\nHost: a\r\n{lines}\r\n".encode())
            got = json.loads((await client.got()).body)["headers"]
        assert got["x-forwarded-for"] == wanted
        assert ("forwarded" in got) == (", " in wanted)
        assert got["x-forwarded-proto"] == ("10.9.9.9" if ", " in wanted else "http")

    asyncio.run(go())


# -- other ways to the same end --------------------------------------------------------------------------------------

COMMANDS = {"X-Envoy-Upstream-Rq-Timeout-Ms": "40", "X-Envoy-Retry-On": "5xx", "X-Envoy-Internal": "true"}
"""What Envoy obeys if a client with a private address sends it."""
SMUGGLED = {
    "X_Forwarded_For": "10.9.9.9",  # for servers that pass headers in variables, the same name
    "X-Real_IP": "10.9.9.9",
    "Connection": "x-forwarded-for, x-forwarded-proto, x-real-ip",  # would have a proxy remove its own header again
}
HIDDEN = ("/inflight", "/readyz")
SPELLINGS = ("/readyz", "/readyz?a=b", "//readyz", "/%72eady%7A", "/x/../readyz", "/%2e/inflight", "http://a/readyz")


async def status(at: tuple[str, int], path: str) -> int:
    reader, writer = await asyncio.open_connection(*at)
    with contextlib.closing(writer):
        writer.write(f"GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode())
        return int((await reader.readline()).split()[1])


def test_a_client_of_envoy_commands_nothing_and_gets_no_control_answer(tmp_path: Path) -> None:
    async def story(balancer: Balancer, webs: list[Web], instances: list[Instance]) -> None:
        with pytest.raises(AssertionError, match="400 Bad Request"):  # Envoy refuses such a `Connection`
            await balancer.answers([Client(SMUGGLED)])
        smuggled = {name: value for name, value in SMUGGLED.items() if name != "Connection"}
        await balancer.answers([Client({**COMMANDS, **smuggled, "X-Marked": "yes"})])
        (got,) = (head for web in webs for head in web.heads if "x-marked" in head)
        assert {name for name in got if "envoy" in name or "forwarded" in name or "real" in name} == {
            "x-forwarded-proto"
        }
        (at,) = balancer.at
        assert {path: await status((at.host, at.port), path) for path in SPELLINGS} == dict.fromkeys(SPELLINGS, 404)
        assert [await status((at.host, at.port), path) for path in ("/readyz/x", "/", "/x")] == [200] * 3

    balance(tmp_path, through_envoys, "none", story, nodes=1, trusted_peers=(), hidden_paths=HIDDEN)


def test_an_inner_envoy_obeys_no_client_either(tmp_path: Path) -> None:
    async def story(balancer: Balancer, webs: list[Web], instances: list[Instance]) -> None:
        await balancer.answers([Client({**COMMANDS, "X-Marked": "yes", "X-Forwarded-For": "10.1.1.1"})])
        (got,) = (head for web in webs for head in web.heads if "x-marked" in head)
        assert not [name for name in got if name.startswith("x-envoy-")]
        assert got["x-forwarded-for"] == "10.1.1.1"

    balance(tmp_path, through_envoys, "none", story, nodes=1)


def test_a_client_of_a_relay_smuggles_nothing_and_gets_no_control_answer() -> None:
    lines = "".join(f"{name}: {value}\r\n" for name, value in SMUGGLED.items())

    async def go() -> None:
        async with (
            scripted(echo) as where,
            relaying(where, trusted_peers=(), hidden=hidden(HIDDEN)) as relayed,
            relayed.client() as client,
        ):
            await client.send(f"GET / HTTP/1.1\r\nHost: a\r\n{lines}\r\n".encode())
            got = json.loads((await client.got()).body)["headers"]
            assert forwarded(got) == {"x-forwarded-for": "127.0.0.1"}
            assert got["x-forwarded-proto"] == "http"
            assert not {"x_forwarded_for", "x-real_ip"} & got.keys()
            assert {path: await status(relayed.address, path) for path in SPELLINGS} == dict.fromkeys(SPELLINGS, 404)
            assert [await status(relayed.address, path) for path in ("/readyz/x", "/", "/x")] == [200] * 3

    asyncio.run(go())


def test_a_relay_takes_a_proxy_header_from_named_peers_alone(capsys: pytest.CaptureFixture[str]) -> None:
    request = b"PROXY TCP4 10.9.9.9 127.0.0.1 4711 443\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"

    async def go(proxies: Networks, *, answers: bool) -> None:
        async with scripted(echo) as where, relaying(where, proxy_protocol=True, proxies=proxies) as relayed:
            for _ in range(2):
                async with relayed.client() as client:
                    await client.send(request)
                    if answers:
                        got = json.loads((await client.got()).body)["headers"]
                        assert got["x-forwarded-for"] == "10.9.9.9"
                    else:
                        assert await client.is_closed()

    asyncio.run(go(networks(LOOPBACK), answers=True))
    assert "PROXY" not in capsys.readouterr().err
    asyncio.run(go(networks(["10.0.0.0/8"]), answers=False))
    assert capsys.readouterr().err.count("127.0.0.1 may not send a PROXY header") == 1


def test_a_client_of_nginx_smuggles_nothing(tmp_path: Path) -> None:
    async def story(edge: Edge) -> None:
        reader, writer = await asyncio.open_connection(edge.at.host, edge.at.port)
        with contextlib.closing(writer):
            lines = "".join(f"{name}: {value}\r\n" for name, value in {**SMUGGLED, **COMMANDS}.items())
            writer.write(f"GET / HTTP/1.1\r\nHost: edge\r\n{lines}\r\n".encode())
            await reader.readuntil(b"ok")
        assert forwarded(edge.behind.headers) == {"x-forwarded-for": "127.0.0.1"}
        assert not {"x_forwarded_for", "x-real_ip"} & edge.behind.headers.keys()

    run(tmp_path, story, {"path": "/"}, trusted_peers=())
