"""A Kong outside of the chain, as a chain file describes it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from changeover import chain_files
from changeover.hops.kong.external_settings import ExternalKong
from changeover.model.errors import ChangeoverError

PLAIN: dict[str, Any] = {"kind": "kong", "admin": ["http://10.0.0.7:8001"], "proxy": "10.0.0.5:8000"}
APP = {"name": "runtime", "kind": "app", "templates": {"v1": {}}}


def read(folder: Path, *outer: dict[str, Any], **given: Any) -> ExternalKong:
    file = folder / "chain.yaml"
    file.write_text(yaml.safe_dump({"tiers": [*outer, {**APP, "router": {**PLAIN, **given}}]}))
    router = chain_files.read_chain(file)[0].routers["runtime"]
    assert isinstance(router, ExternalKong)
    return router


def refused(folder: Path, *outer: dict[str, Any], **given: Any) -> str:
    with pytest.raises(ChangeoverError) as error:
        read(folder, *outer, **given)
    assert error.value.exit_code == 2
    return str(error.value)


def test_the_defaults_break_nothing(tmp_path: Path) -> None:
    router = read(tmp_path)
    assert router.request_buffering, "as Kong does by default"
    assert router.propagation_seconds == 10.0


def test_time_to_spread_is_waited_for_with_one_address_and_not_with_every_node(tmp_path: Path) -> None:
    both = ["http://10.0.0.7:8001", "https://10.0.0.8:8444/"]
    assert read(tmp_path, admin=both).propagation_seconds == 0.0
    assert read(tmp_path, admin=both).admin[1] == "https://10.0.0.8:8444"
    assert read(tmp_path, admin=both, propagation="7s").propagation_seconds == 7.0
    assert read(tmp_path, propagation="0s").propagation_seconds == 0.0


def test_a_password_in_an_address_is_refused_and_not_repeated(tmp_path: Path) -> None:
    reported = refused(tmp_path, admin=["http://me:hunter22@10.0.0.7:8001"])
    assert "tiers.0.router.admin.0: a password here would appear in messages" in reported
    assert "hunter22" not in reported


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"admin": []}, "router.admin"),
        ({"admin": ["10.0.0.7:8001"]}, "an address such as http://10.0.0.7:8001 is needed"),
        ({"admin": ["http://10.0.0.7:80010"]}, "router.admin.0: Port out of range"),
        ({"admin": ["http://10.0.0.7:8001?a=1"]}, "without ? and # is needed"),
        ({"proxy": "10.0.0.5"}, "router.proxy: an address is needed"),
        ({"ca": "ca.pem"}, "router.ca: String should match pattern '^/'"),
        ({"kind": "traefik"}, "router.kind: no router of this kind can stand outside of a chain\n  There are: envoy, "),
        ({"tokn_env": "X"}, "router.tokn_env: no such key\n  Did you mean token_env?"),
        ({"token_env": "not a variable"}, "router.token_env"),
        ({"upstream": "1.2.3.4"}, "router.upstream: Kong takes this for an IP address"),
        ({"upstream": "1234"}, "router.upstream: Kong takes this for an IP address"),
        ({"upstream": "a..b"}, "router.upstream: a name like that of a host is needed"),
        ({"upstream": "a.b."}, "router.upstream: a name like that of a host is needed"),
        ({"upstream": "-a.b"}, "router.upstream: a name like that of a host is needed"),
        ({"upstream": "a-.b"}, "router.upstream: a name like that of a host is needed"),
        ({"upstream": ""}, "router.upstream: a name like that of a host is needed"),
    ],
)
def test_a_mistake_is_reported_with_its_place(tmp_path: Path, given: dict[str, Any], why: str) -> None:
    assert why in refused(tmp_path, **given)


def test_a_hop_that_sends_to_an_address_sends_to_the_proxy(tmp_path: Path) -> None:
    edge = {"name": "edge", "kind": "nginx", "templates": {"v1": {}}}
    assert read(tmp_path, edge).proxy == "10.0.0.5:8000"
