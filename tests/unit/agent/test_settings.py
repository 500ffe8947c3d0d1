"""agent.yaml is checked before the agent starts, each mistake with its line, and becomes plain options."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from changeover.agent.config import AgentConfig
from changeover.agent.settings import AgentFile
from changeover.hops import registry
from changeover.hops.haproxy.questions import api
from changeover.hops.questions import KINDS, Questions, questions
from changeover.model.chainfile import read_as
from changeover.model.errors import ChangeoverError
from changeover.model.instance import Address

SMALLEST: dict[str, Any] = {"kind": "app", "port": 8000, "token_file": "/etc/changeover/agent.token"}


def config(**given: Any) -> AgentConfig:
    return AgentConfig(**AgentFile.model_validate({**SMALLEST, **given}).options())


def test_the_smallest_configuration_gets_the_name_of_the_machine() -> None:
    found = config()
    assert (found.name, found.listen, found.metadata) == (socket.gethostname().partition(".")[0], "0.0.0.0:9180", True)


@pytest.mark.parametrize(("host", "asked"), [("", "127.0.0.1"), ("0.0.0.0", "127.0.0.1"), ("127.1.2.3", "127.1.2.3")])
def test_an_application_is_asked_where_it_serves(host: str, asked: str) -> None:
    assert config(host=host).instance.control == Address(asked, 8000)


def test_an_envoy_may_be_asked_at_a_unix_socket() -> None:
    instance = config(kind="envoy", control="unix:/run/envoy/admin.sock").instance
    assert instance.control == Address("/run/envoy/admin.sock", 0)


@pytest.mark.parametrize(("control", "asked"), [("unix:/run/h.sock", "/run/h.sock"), ("127.0.0.1:9999",) * 2])
def test_an_haproxy_is_asked_at_its_stats_socket(control: str, asked: str) -> None:
    assert api(config(kind="haproxy", control=control).instance).address == asked


def test_an_agent_can_ask_every_kind_of_software() -> None:
    assert set(KINDS) == set(registry.HOPS)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"kind": "nginx"}, "control is missing: where the nginx answers readiness"),
        ({"kind": "relay"}, "control is missing"),
        ({"kind": "nginx", "control": "unix:/run/x"}, "a nginx is asked at HOST:PORT"),
        ({"kind": "envoy", "control": "unix:run/x"}, "is asked at HOST:PORT"),
        ({"kind": "kong", "control": "8007"}, "control: an address is needed"),
        ({"kind": "haproxy"}, "control is missing"),
        ({"kind": "haproxy", "control": "unix:/h", "health": {"path": "/x"}}, "health: the agent asks the runtime API"),
        ({"kind": "haproxy-tcp", "control": "unix:/h", "counts_at": "/x"}, "counts_at: the agent asks the runtime API"),
        ({"listen": "9180"}, "listen: an address is needed"),
        ({"members": {"runtime": "/x"}}, "only an envoy"),
        ({"token_file": ""}, "control calls need token_file, token_env, or tls with client_ca"),
        ({"tls": {"certificate": "/a", "key": "/b"}, "token_file": ""}, "control calls need"),
        ({"timeout": "6s"}, "less than or equal to 5"),
        ({"lame_duck_file": "lame"}, "pattern"),
        ({"health": {"path": "readyz"}}, "pattern"),
        ({"health": {"tcp": True, "path": "/x"}}, "nothing is asked, so path has no meaning"),
        ({"kind": "nginx", "control": "127.0.0.1:1", "health": {"tcp": True}}, "health.tcp: only an application"),
        ({"port": 0}, "greater than or equal to 1"),
        ({"prot": 80}, "forbidden|no such key|not permitted"),
    ],
)
def test_a_mistake_is_named(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        config(**given)


def test_a_mistake_in_the_file_has_its_line() -> None:
    with pytest.raises(ChangeoverError, match=r"^agent\.yaml:2: .*prot"):
        read_as("kind: app\nprot: 80\nport: 80\ntoken_file: /x\n", "agent.yaml", AgentFile)


@pytest.mark.parametrize("kind", KINDS)
def test_an_agent_asks_where_a_hop_of_that_kind_does(kind: str) -> None:
    found = questions(kind)
    assert isinstance(found, Questions)
    traits = registry.HOPS[kind].traits
    assert (found.ready_path, found.own_control) == (traits.ready_path, traits.own_control)


def test_the_readiness_of_an_application_is_asked_as_its_tier_is() -> None:
    health = {"path": "/up", "status": [204, 200], "headers": {"Host": "shop"}, "body": "ok"}
    found = config(health=health).instance.readiness
    assert (found.path, found.status, found.host, found.body, found.tcp) == ("/up", (204, 200), "shop", "ok", False)
    assert config(health={"tcp": True}).instance.readiness.tcp
