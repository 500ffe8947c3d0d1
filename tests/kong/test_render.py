"""What `changeover render kong` prints is taken by Kong as it is."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.chain.chains import EXAMPLE, WITH_RELAY, chain_file, here, tier_of
from tests.kong.kongs import REAL, Kong, any_kong, run
from tests.kong.test_tier import with_kong
from tests.unit.json_page import insist

Described = dict[str, Any]


def rendered(file: Path) -> Described:
    found: Described = json.loads(here("render", "kong", "-f", file, "--state", file.parent / "no state", "--json").out)
    return found


def routed(given: Described) -> None:
    """A change: the runtime is behind a Kong outside of the chain, whose routes buffer uploads."""
    given["tiers"] = [tier_of(given, "runtime")]
    router = {"kind": "kong", "admin": ["http://127.0.0.1:8001"], "proxy": "127.0.0.1:8000", "upstream": "Reels.v1"}
    given["tiers"][0] |= {"router": router, "affinity": {"header": "X-User"}}


@pytest.fixture
def kong(tmp_path: Path) -> Iterator[Kong]:
    with any_kong(tmp_path, 1, database=False) as found:
        yield found


@pytest.mark.parametrize("example", [EXAMPLE, WITH_RELAY], ids=lambda example: example.parent.name)
def test_what_is_printed_is_taken(kong: Kong, example: Path) -> None:
    if kong.database:
        pytest.skip("with a database it is decK that takes it")
    run(kong.api().load(rendered(example)))
    if not REAL:
        node = kong.served[0].node
        (upstream,), (route,) = node.known["upstreams"].values(), node.known["routes"].values()
        assert upstream["name"] == "runtime"
        assert upstream["healthchecks"]["active"]["http_path"] == "/readyz"
        assert (route["paths"], route["request_buffering"]) == (["/"], False)


def test_yaml_and_json_say_the_same() -> None:
    text = here("render", "kong", "-f", EXAMPLE, "--state", "/nowhere").out
    assert yaml.safe_load(text) == rendered(EXAMPLE)
    insist("render", rendered(EXAMPLE))


def test_a_router_outside_of_the_chain_decides_the_name_and_the_buffering(tmp_path: Path) -> None:
    reported = rendered(chain_file(tmp_path, routed))
    (service,), (upstream,) = reported["services"], reported["upstreams"]
    assert service["host"] == upstream["name"] == "Reels.v1"
    assert [route["request_buffering"] for route in service["routes"]] == [True]
    assert (upstream["algorithm"], upstream["hash_on"]) == ("consistent-hashing", "header")
    assert (upstream["hash_on_header"], upstream["hash_fallback"]) == ("x_user", "cookie")


def test_only_what_is_known_can_be_rendered() -> None:
    given = here("render", "relay", "-f", EXAMPLE, code=2).err
    assert "there is nothing to render for relay\n" in given
    assert "There is: envoy, haproxy, haproxy-tcp, kong, nginx, nginx-stream." in given


def test_a_kong_of_the_chain_is_configured_as_its_first_template_says(tmp_path: Path) -> None:
    def buffered(given: Described) -> None:
        with_kong(given)
        tier_of(given, "gateway")["templates"]["v1"] = {"retries": 4, "routes": [{"path": "/x", "buffering": "buffer"}]}

    (service,) = rendered(chain_file(tmp_path, buffered))["services"]
    assert service["retries"] == 4
    assert [(route["paths"], route["request_buffering"]) for route in service["routes"]] == [(["/x"], True)]
