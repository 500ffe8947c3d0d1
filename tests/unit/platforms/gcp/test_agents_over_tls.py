"""Agents with TLS: whose certificate is trusted, and what the controller makes of each handshake that fails."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import trustme
from pydantic import ValidationError

from changeover.agent.access import tls as agent_context
from changeover.agent.config import AgentConfig
from changeover.hops import registry
from changeover.kit import http
from changeover.model.instance import Address, Instance
from changeover.model.platform import AgentSettings
from changeover.platforms.gcp.agents import Agents, NoAnswer
from changeover.platforms.gcp.hop import AgentHop

VM = "edge-v2-3"
TOKEN = "CHANGEOVER_TEST_TOKEN"
NOW = datetime.now(UTC)
EXPIRED: dict[str, Any] = {"not_before": NOW - timedelta(days=2), "not_after": NOW - timedelta(days=1)}
Change = Callable[[ssl.SSLContext], None]


class Pki:
    """Two authorities and the certificates of one agent and one controller, as files."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ours, self.other = trustme.CA(), trustme.CA()
        self.ours.cert_pem.write_to_path(str(folder / "ca"))
        self.other.cert_pem.write_to_path(str(folder / "other-ca"))
        self.issue("agent", VM)
        self.issue("controller", "controller")

    def issue(self, file: str, name: str, *, of: trustme.CA | None = None, **dates: Any) -> str:
        issued = (of or self.ours).issue_cert(name, **dates)
        path = self.folder / file
        path.write_bytes(issued.private_key_and_cert_chain_pem.bytes())
        return str(path)

    def file(self, name: str) -> str:
        return str(self.folder / name)


@pytest.fixture
def pki(tmp_path: Path) -> Pki:
    return Pki(tmp_path)


@pytest.fixture(autouse=True)
def _token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(TOKEN, "0123456789abcdef")


class Exchange:
    """One agent that answers over a context, or in plain HTTP, and one question of the controller."""

    def __init__(self, pki: Pki, *, certificate: str = "agent", client_ca: str = "", plain: bool = False) -> None:
        config = AgentConfig("app", 80, "", certificate=pki.file(certificate), client_ca=client_ca and pki.file("ca"))
        self.context = None if plain else agent_context(config)
        self.requests: list[str] = []

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            self.requests.append((await reader.readuntil(b"\r\n\r\n")).decode())
            text = json.dumps({"format": 1, "name": VM, "ready": True, "lame_duck": False})
            writer.write(f"HTTP/1.1 200 OK\r\nContent-Length: {len(text)}\r\n\r\n{text}".encode())
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    def ask(self, settings: dict[str, Any], before: Callable[[], None] = lambda: None) -> list[str]:
        """Why it was not ready, at two questions; `before` the second."""

        async def run() -> list[str]:
            server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self.context)
            async with server, http.client() as client:
                at = Address(*server.sockets[0].getsockname()[:2])
                vm = Instance(VM, "edge", "v2", at, at)
                agents = Agents(client, AgentSettings.model_validate(settings))
                hop = AgentHop(registry.known_hops()["nginx"], agents)
                first = await hop.not_ready(vm, 1.0)
                before()
                self.cure = ""
                try:
                    await agents.status(vm, 1.0)
                except NoAnswer as error:
                    self.cure = error.cure
                return [first, await hop.not_ready(vm, 1.0)]

        return asyncio.run(run())


def over_tls(pki: Pki, **tls: str) -> dict[str, Any]:
    return {"token_env": TOKEN, "tls": {"ca": pki.file("ca"), **tls}}


def test_an_agent_is_asked_over_tls_and_with_the_token(pki: Pki) -> None:
    agent = Exchange(pki)
    assert agent.ask(over_tls(pki)) == ["", ""]
    assert "bearer 0123456789abcdef" in agent.requests[0].lower()


def test_a_client_certificate_needs_no_token(pki: Pki) -> None:
    agent = Exchange(pki, client_ca="ca")
    tls = {"ca": pki.file("ca"), "certificate": pki.file("controller")}
    assert agent.ask({"tls": tls}) == ["", ""]
    assert "authorization" not in agent.requests[0].lower()


def test_all_agents_may_have_one_certificate_of_a_name_that_the_chain_file_gives(pki: Pki) -> None:
    pki.issue("shared", "changeover-agent")
    agent = Exchange(pki, certificate="shared")
    assert "it is not known whether it is ready" in agent.ask(over_tls(pki))[0]
    assert "its certificate has another name" in agent.ask(over_tls(pki))[0]
    assert agent.ask(over_tls(pki, name="changeover-agent")) == ["", ""]


def test_no_token_is_sent_to_a_server_that_is_not_verified(pki: Pki) -> None:
    agent = Exchange(pki)
    found = agent.ask({"token_env": TOKEN, "tls": {"ca": pki.file("other-ca")}})[0]
    assert "its certificate is of an authority that `ca` does not have" in found
    assert agent.requests == []
    assert "`ca` has the authority" in agent.cure


def test_an_expired_certificate_is_called_expired_and_a_renewed_one_is_taken_at_once(pki: Pki) -> None:
    pki.issue("expired", VM, **EXPIRED)
    agent = Exchange(pki, certificate="expired")

    def renew() -> None:
        assert agent.context is not None
        agent.context.load_cert_chain(pki.file("agent"))

    before, after = agent.ask(over_tls(pki), renew)
    assert "its certificate has expired" in before
    assert "it is not known whether it is ready" in before
    assert after == ""


def test_the_files_of_the_controller_may_be_renewed_while_it_runs(pki: Pki) -> None:
    agent = Exchange(pki)
    settings = {"token_env": TOKEN, "tls": {"ca": pki.file("trusted")}}
    pki.other.cert_pem.write_to_path(pki.file("trusted"))

    def renew() -> None:
        pki.ours.cert_pem.write_to_path(pki.file("renewed"))
        Path(pki.file("renewed")).replace(pki.file("trusted"))

    before, after = agent.ask(settings, renew)
    assert "an authority that `ca` does not have" in before
    assert after == ""


def test_plain_http_to_an_agent_with_tls_is_named_with_the_key_that_is_missing(pki: Pki) -> None:
    agent = Exchange(pki)
    assert "it closed the connection without a response, as an agent with `tls` does" in agent.ask({})[0]
    assert "agent: {tls: {ca: FILE}}" in agent.cure


def test_tls_to_an_agent_of_plain_http_is_named_so(pki: Pki) -> None:
    agent = Exchange(pki, plain=True)
    assert "it did not answer the handshake of TLS" in agent.ask(over_tls(pki))[0]
    assert "remove `agent.tls`" in agent.cure


@pytest.mark.parametrize("newest", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("dates", [{}, EXPIRED], ids=["unknown", "expired"])
def test_a_client_certificate_that_the_agent_refuses_is_named(
    pki: Pki, newest: ssl.TLSVersion, dates: dict[str, Any]
) -> None:
    pki.issue("refused", "controller", of=None if dates else pki.other, **dates)
    agent = Exchange(pki, client_ca="ca")
    assert agent.context is not None
    agent.context.maximum_version = newest
    found = agent.ask(over_tls(pki, certificate=pki.file("refused")))[0]
    assert "refuses the client certificate" in found
    assert "`tls.client_ca` in agent.yaml" in agent.cure


def test_a_file_that_cannot_be_used_is_named(pki: Pki, tmp_path: Path) -> None:
    (tmp_path / "empty").write_text("")
    agent = Exchange(pki)
    for tls, expected in (
        ({"ca": "/nowhere/ca.pem"}, "/nowhere/ca.pem cannot be read: No such file"),
        ({"ca": pki.file("empty")}, f"{pki.file('empty')} is no file of certificates in PEM"),
        ({"ca": pki.file("ca"), "certificate": pki.file("ca")}, "cannot be used as a client certificate"),
    ):
        found = agent.ask({"token_env": TOKEN, "tls": tls})[0]
        assert expected in found
        assert agent.cure == "Correct the file, or `agent.tls` in the chain file."


def test_a_key_needs_its_certificate() -> None:
    with pytest.raises(ValidationError, match="a key needs its `certificate`"):
        AgentSettings.model_validate({"tls": {"ca": "/ca", "key": "/key"}})
