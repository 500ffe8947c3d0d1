"""The bootstrap of an Envoy."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.hops.contexts import BEHIND, INNER, instance, launch_context, tier

from changeover.hops.app.hop import App
from changeover.hops.envoy.bootstrap import bootstrap
from changeover.hops.envoy.member_list import EnvoyEndpoint, endpoints, members
from changeover.hops.envoy.router import kept
from changeover.hops.envoy.settings import EnvoySettings
from changeover.model.chain import Tier
from changeover.model.health import Health
from changeover.model.instance import Address
from changeover.ports import InnerTier

CONTEXT = launch_context(instance=instance("gateway-v1-1"), tier=tier("envoy"))


def made(**settings: Any) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(bootstrap(EnvoySettings.model_validate(settings), CONTEXT))
    return document


def manager(document: dict[str, Any]) -> dict[str, Any]:
    listener, _ = document["static_resources"]["listeners"]
    found: dict[str, Any] = listener["filter_chains"][0]["filters"][0]["typed_config"]
    return found


def cluster(document: dict[str, Any]) -> dict[str, Any]:
    (found,) = document["static_resources"]["clusters"]
    return dict(found)


def routes(document: dict[str, Any]) -> list[dict[str, Any]]:
    return list(manager(document)["route_config"]["virtual_hosts"][0]["routes"])


def test_it_serves_and_is_controlled_at_addresses_of_its_own() -> None:
    document = made()
    served = document["static_resources"]["listeners"][0]["address"]["socket_address"]
    assert served == {"address": "127.0.0.1", "port_value": 20001}
    control = document["static_resources"]["listeners"][1]["address"]["socket_address"]
    assert control == {"address": "127.0.0.1", "port_value": 20002}
    assert document["node"] == {"id": "gateway-v1-1", "cluster": "edge"}


def test_its_admin_interface_is_a_socket_of_the_operator_alone() -> None:
    assert made()["admin"]["address"] == {"pipe": {"path": "admin.sock", "mode": 0o600}}


def test_each_route_leads_to_its_tier_the_longest_path_first() -> None:
    web = replace(INNER, tier=tier("app", name="web", affinity={"cookie": "at"}), membership="/members/web/e.json")
    settings = EnvoySettings.model_validate({"routes": [{"path": "/"}, {"path": "/web", "to": "web"}]})
    document = json.loads(bootstrap(settings, replace(CONTEXT, behind=(INNER, web))))
    found = [(one["match"]["prefix"], one["route"]["cluster"]) for one in routes(document)]
    assert found == [("/web", "web")] * 2 + [("/", "runtime")] * 2
    assert [cluster["name"] for cluster in document["static_resources"]["clusters"]] == ["runtime", "web"]
    assert ["typed_per_filter_config" in one for one in routes(document)] == [True, True, False, False]


@pytest.mark.parametrize(
    ("given", "context", "wanted"),
    [
        ({}, {}, "3600.000s"),
        ({}, {"trusted_peers": ()}, "20.000s"),
        ({}, {"trusted_peers": (), "tier": tier("envoy", drain={"deadline": "10s"})}, "5.000s"),
        ({"idle_timeout": "2m"}, {"trusted_peers": ()}, "120.000s"),
    ],
)
def test_a_drain_of_the_first_tier_does_not_wait_an_hour_for_an_idle_client(
    given: dict[str, Any], context: dict[str, Any], wanted: str
) -> None:
    document = json.loads(bootstrap(EnvoySettings.model_validate(given), replace(CONTEXT, **context)))
    assert manager(document)["common_http_protocol_options"] == {"idle_timeout": wanted}


# -- the tier behind -----------------------------------------------------------------------------------------------


def test_the_members_behind_come_from_a_file_whose_folder_is_watched() -> None:
    found = cluster(made())
    assert (found["name"], found["type"]) == ("runtime", "EDS")
    assert found["eds_cluster_config"]["eds_config"]["path_config_source"] == {
        "path": "/state/members/runtime/endpoints.json",
        "watched_directory": {"path": "/state/members/runtime"},
    }


def test_members_are_checked_as_their_tier_says() -> None:
    (check,) = cluster(made())["health_checks"]
    assert check["http_health_check"] == {
        "path": "/readyz",
        "expected_statuses": [{"start": 200, "end": 201}],
        "request_headers_to_add": [set_header("User-Agent", "changeover")],
    }
    assert (check["interval"], check["no_traffic_interval"], check["timeout"]) == ("0.250s", "0.250s", "1.000s")
    assert (check["healthy_threshold"], check["unhealthy_threshold"]) == (3, 4)


def test_all_nodes_together_check_an_instance_at_rest_once_a_second_and_soon_after_a_failure() -> None:
    for nodes, pause in ((1, "1.000s"), (2, "2.000s"), (9, "4.000s")):
        tier = CONTEXT.tier.model_copy(update={"size": nodes})
        check = check_with(tier=tier)
        assert {check[key] for key in ("interval", "no_traffic_healthy_interval")} == {pause}
        soon = ("healthy_edge_interval", "unhealthy_edge_interval", "unhealthy_interval", "no_traffic_interval")
        assert {check[key] for key in soon} == {"0.250s"}


def set_header(name: str, value: str) -> dict[str, Any]:
    return {"header": {"key": name, "value": value}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}


def check_with(tier: Tier = CONTEXT.tier, **health: Any) -> dict[str, Any]:
    inner = InnerTier(BEHIND.model_copy(update={"health": Health.model_validate(health)}), App.traits, None)
    document = json.loads(bootstrap(EnvoySettings(), replace(CONTEXT, tier=tier, behind=(inner,))))
    (check,) = cluster(document)["health_checks"]
    return dict(check)


def test_members_are_asked_for_readiness_as_their_tier_says() -> None:
    headers = {"host": "shop.example", "X-Token": "100%"}
    assert check_with(path="/healthz", status=[200, 204], headers=headers, body="up")["http_health_check"] == {
        "path": "/healthz",
        "expected_statuses": [{"start": 200, "end": 201}, {"start": 204, "end": 205}],
        "request_headers_to_add": [set_header("User-Agent", "changeover"), set_header("X-Token", "100%%")],
        "host": "shop.example",
        "receive": [{"text": "7570"}],
        "response_buffer_size": 8192,
    }


def test_a_check_that_only_connects_asks_nothing() -> None:
    check = check_with(tcp=True)
    assert check["tcp_health_check"] == {}
    assert "http_health_check" not in check


def test_nothing_is_sent_to_a_member_that_is_not_ready_or_was_taken_out() -> None:
    found = cluster(made())
    assert found["common_lb_config"]["healthy_panic_threshold"] == {"value": 1}
    assert found["ignore_health_on_host_removal"] is True


def test_an_envoy_without_anything_behind_it_is_refused() -> None:
    with pytest.raises(ValueError, match="edge: an envoy tier needs a tier behind it"):
        bootstrap(EnvoySettings(), launch_context(behind=()))


# -- what may be sent again, and how long things may take ----------------------------------------------------------


def test_only_a_safe_request_is_sent_again_after_it_reached_an_instance() -> None:
    safe, other = routes(made())
    (method,) = safe["match"]["headers"]
    assert method == {"name": ":method", "string_match": {"safe_regex": {"regex": "GET|HEAD"}}}
    assert set(safe["route"]["retry_policy"]["retry_on"].split(",")) == {"connect-failure", "refused-stream", "reset"}
    assert "headers" not in other["match"]
    assert set(other["route"]["retry_policy"]["retry_on"].split(",")) == {"connect-failure", "refused-stream"}


def test_every_request_finds_a_route_and_none_is_cut_for_being_slow() -> None:
    for route in routes(made()):
        assert route["match"]["prefix"] == "/"
        assert route["route"]["cluster"] == BEHIND.name
        assert route["route"]["timeout"] == "0s"  # Envoy's default would be 15 s for a whole answer


def test_a_websocket_is_passed_on_and_no_other_upgrade() -> None:
    assert manager(made())["upgrade_configs"] == [{"upgrade_type": "websocket"}]


def test_silence_is_bounded_as_the_settings_say() -> None:
    document = made(idle_timeout="1h", stream_idle_timeout="5m", upstream_idle_timeout="30s", connect_timeout="250ms")
    assert manager(document)["common_http_protocol_options"]["idle_timeout"] == "3600.000s"
    assert manager(document)["stream_idle_timeout"] == "300.000s"
    assert cluster(document)["connect_timeout"] == "0.250s"
    (options,) = cluster(document)["typed_extension_protocol_options"].values()
    assert options["common_http_protocol_options"]["idle_timeout"] == "30.000s"


@given(st.text(st.characters(exclude_categories=["Cs", "Cc"])))
def test_a_header_says_what_the_template_says(value: str) -> None:
    """`%` begins a command in Envoy's header values; doubled, it is a percent sign."""
    (added,) = manager(made(headers={"X-Odd": value}))["route_config"]["response_headers_to_add"]
    assert added["header"]["key"] == "X-Odd"
    assert added["header"]["value"].split("%%") == value.split("%")


# -- the member list -----------------------------------------------------------------------------------------------


def test_the_member_list_has_every_instance_by_its_name() -> None:
    members = {
        "runtime-v2-3": EnvoyEndpoint(Address("127.0.0.1", 21002), Address("127.0.0.1", 22002), 10),
        "runtime-v1-1": EnvoyEndpoint(Address("127.0.0.1", 21001), Address("127.0.0.1", 22001), 90),
    }
    (resource,) = json.loads(endpoints("runtime", members))["resources"]
    assert resource["cluster_name"] == "runtime"
    (group,) = resource["endpoints"]
    first, second = group["lb_endpoints"]
    assert first["endpoint"] == {
        "hostname": "runtime-v1-1",
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": 21001}},
        "health_check_config": {"port_value": 22001},
    }
    assert (second["endpoint"]["hostname"], second["load_balancing_weight"]) == ("runtime-v2-3", 10)


def test_an_instance_at_a_unix_socket_is_listed_by_its_path() -> None:
    """Envoy refuses a port for health checks beside it."""
    listed = {"runtime-v1-1": EnvoyEndpoint.of(replace(instance(), socket="/state/app.sock"), 7)}
    (resource,) = json.loads(text := endpoints("runtime", listed))["resources"]
    (host,) = resource["endpoints"][0]["lb_endpoints"]
    assert host["endpoint"] == {"hostname": "runtime-v1-1", "address": {"pipe": {"path": "/state/app.sock"}}}
    read = members(text)
    assert endpoints("runtime", read) == text
    assert kept(read, [replace(instance("runtime-v1-1"), socket="/state/app.sock")]) == read
    assert not kept(read, [replace(instance("runtime-v1-1"), socket="/other/app.sock")])


def test_an_empty_member_list_is_one_too() -> None:
    (resource,) = json.loads(endpoints("runtime", {}))["resources"]
    assert resource["endpoints"] == []
