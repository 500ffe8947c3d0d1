"""`render gcp`: HCL that parses, attributes that the provider has, and nothing that the auditor finds."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from changeover.audit.assumptions import Assumptions
from changeover.audit.audit import Audit, audit
from changeover.audit.files import load
from changeover.audit.finding import Outcome
from changeover.audit.google.facts import drain
from changeover.cli.terraform import hcl
from changeover.cli.terraform.configuration import Place, configuration
from changeover.cli.terraform.tiers import cloud_tiers
from changeover.conf.terraform.hcl import read
from changeover.conf.terraform.syntax import Block, HclFile
from changeover.hops import registry
from changeover.model import chainfile
from changeover.model.errors import ChangeoverError

REGION = {"kind": "gcp", "project": "shop-prod", "region": "europe-west1"}
ZONE = {"kind": "gcp", "project": "shop-prod", "zone": "europe-west1-b"}
KONG = {"kind": "kong", "admin": ["http://10.0.0.9:8001"], "proxy": "10.0.0.9:8000"}
NAMED = (
    {
        "name": "edge",
        "kind": "nginx",
        "group": "edge-mig",
        "second_group": "edge-green",
        "backend_services": ["edge-bs"],
        "templates": {
            "2026-11-01": {"instance_template": "edge-20261101"},
            "2026-11-28": {"instance_template": "regions/europe-west1/instanceTemplates/edge-20261128"},
        },
    },
    {
        "name": "l4",
        "kind": "nginx-stream",
        "group": "l4-mig",
        "backend_services": ["l4-bs"],
        "agent": {"port": 9200, "token_env": "AGENT_TOKEN"},
        "templates": {"v1": {"instance_template": "l4-1"}},
    },
    {
        "name": "gateway",
        "kind": "kong",
        "group": "gateway-mig",
        "backend_services": ["gateway-a", "gateway-b"],
        "templates": {"v1": {"instance_template": "gateway-1"}},
    },
    {
        "name": "runtime",
        "kind": "app",
        "size": 12,
        "update": {"max_surge": 5},
        "group": "runtime-mig",
        "backend_services": ["runtime-bs"],
        "templates": {"v1": {"instance_template": "runtime-1"}},
    },
)
OVER_TLS = tuple({**tier, "agent": {"tls": {"ca": "/etc/ca.crt", "certificate": "/etc/own.pem"}}} for tier in NAMED)
MEMBERS = (
    {
        "name": "proxy",
        "kind": "envoy",
        "group": "proxy-mig",
        "backend_services": ["proxy-bs"],
        "templates": {"v1": {"instance_template": "proxy-1"}},
    },
    {"name": "inner", "kind": "kong", "group": "inner-mig", "templates": {"v1": {"instance_template": "inner-1"}}},
    {
        "name": "last",
        "kind": "app",
        "group": "last-mig",
        "router": KONG,
        "templates": {"v1": {"instance_template": "last-1"}},
    },
)
HERE = (
    {"name": "l4", "kind": "nginx-stream", "templates": {"v1": {}}},
    {"name": "proxy", "kind": "envoy", "templates": {"v1": {}}},
    {"name": "web", "kind": "app", "health": {"path": "/up"}, "templates": {"v1": {"version": "1"}}},
)

# The arguments that are used, of the provider's documentation, version 6:
# https://registry.terraform.io/providers/hashicorp/google/6.50.0/docs/resources/NAME
CHECK = "name check_interval_sec timeout_sec healthy_threshold unhealthy_threshold http_health_check{port request_path}"
CHECK += " https_health_check{port request_path}"
SERVICE = (
    "name load_balancing_scheme protocol port_name timeout_sec connection_draining_timeout_sec health_checks "
    "backend{group balancing_mode capacity_scaler}"
)
GROUP = (
    "name base_instance_name target_size version{instance_template} named_port{name port} "
    "auto_healing_policies{health_check initial_delay_sec} "
    "update_policy{type minimal_action replacement_method max_surge_fixed max_unavailable_fixed}"
)
TEMPLATE = (
    "name machine_type tags metadata_startup_script disk{source_image boot auto_delete} "
    "network_interface{network subnetwork} service_account{email scopes} "
    "scheduling{automatic_restart on_host_maintenance preemptible provisioning_model}"
)
RULE = "name load_balancing_scheme ip_protocol ip_address port_range target"
DOCUMENTED = {
    "google_compute_health_check": CHECK,
    "google_compute_region_health_check": f"{CHECK} region",
    "google_compute_backend_service": SERVICE,
    "google_compute_region_backend_service": f"{SERVICE} region",
    "google_compute_instance_group_manager": f"{GROUP} zone",
    "google_compute_region_instance_group_manager": GROUP[:-1] + " instance_redistribution_type} region",
    "google_compute_instance_template": TEMPLATE,
    "google_compute_region_instance_template": f"{TEMPLATE} region",
    "google_compute_firewall": "name network direction source_ranges source_tags target_tags allow{protocol ports}",
    "google_compute_subnetwork": "name region network ip_cidr_range purpose role",
    "google_compute_global_address": "name",
    "google_compute_address": "name region subnetwork address_type",
    "google_compute_url_map": (
        "name default_service default_route_action{weighted_backend_services{backend_service weight}}"
    ),
    "google_compute_region_url_map": "name region default_service",
    "google_compute_target_https_proxy": "name url_map ssl_certificates",
    "google_compute_target_tcp_proxy": "name backend_service",
    "google_compute_region_target_http_proxy": "name region url_map",
    "google_compute_region_target_tcp_proxy": "name region backend_service",
    "google_compute_global_forwarding_rule": RULE,
    "google_compute_forwarding_rule": f"{RULE} region network subnetwork",
    "google_service_account": "account_id display_name",
    "google_secret_manager_secret": "secret_id replication{auto{}}",
    "google_secret_manager_secret_iam_member": "secret_id role member",
}
LANGUAGE = {"lifecycle", "lifecycle.ignore_changes", "depends_on"}


def rendered(
    *tiers: Mapping[str, Any], platform: Any = None, given: tuple[str, ...] = (), load: Assumptions | None = None
) -> str:
    document = {"name": "shop", **({"platform": platform} if platform else {}), "tiers": list(tiers)}
    parsed = chainfile.read(yaml.safe_dump(document, sort_keys=False), "chain.yaml", registry.known_hops())
    zone = (platform or {}).get("zone")
    place = Place("shop-prod", "europe-west1", zone)
    return configuration("shop", place, cloud_tiers(parsed, given, zonal=bool(zone)), load or Assumptions(), "1.0")


def parsed(text: str) -> HclFile:
    (found,) = read(text, "main.tf")
    return found


def resources(text: str, type: str) -> dict[str, Block]:
    blocks = [one for one in parsed(text).blocks if one.type == "resource" and one.labels[0] == type]
    return {one.labels[1]: one for one in blocks}


def audited(text: str, folder: Path, load_: Assumptions | None = None) -> Audit:
    (folder / "main.tf").write_text(text)
    loaded = load([folder])
    assert not loaded.unreadable
    return audit(loaded.documents, load_ or Assumptions(), loaded.texts)


WEIGHED = {**NAMED[0], "traffic": {"url_map": "edge-map", "second_service": "edge-green-bs"}}
CHAINS = {
    "regional": lambda: rendered(*NAMED, platform=REGION, given=("edge.port=443",)),
    "zonal": lambda: rendered(*NAMED, platform=ZONE),
    "agents with TLS": lambda: rendered(*OVER_TLS, platform=REGION),
    "members": lambda: rendered(*MEMBERS, platform=REGION),
    "weights": lambda: rendered(WEIGHED, *NAMED[1:], platform=REGION),
    "this machine": lambda: rendered(*HERE),
}
each_chain = pytest.mark.parametrize("chain", CHAINS)


@each_chain
def test_it_is_clean_under_the_auditor_and_what_stays_unknown_is_named(chain: str, tmp_path: Path) -> None:
    found = audited(CHAINS[chain](), tmp_path)
    assert [(one.rule.id, one.finding) for one in found.of(Outcome.VIOLATED)] == []
    assert (found.unused, found.unreasoned) == ((), ())
    assert {one.rule.id for one in found.judged if one.suppressed} == {"VM02"}
    unknown = found.of(Outcome.UNKNOWN)
    assert {one.rule.id for one in unknown} <= {"HC02", "MIG13", "MIG08", "MIG09"}
    assert all(one.finding.missing for one in unknown)
    met = {one.rule.id for one in found.of(Outcome.MET)}
    assert {"GCP01", "GCP02", "GCP06", "MIG01", "MIG02", "MIG05", "MIG06", "MIG07", "MIG08", "MIG09", "VM01"} - met <= {
        "GCP06" if chain == "this machine" else ""
    }


@each_chain
def test_every_argument_is_one_that_the_provider_documents(chain: str) -> None:
    def paths(block: Block, around: str) -> Iterator[str]:
        yield from (f"{around}{key}" for key in block.attributes)
        for inner in block.blocks:
            yield f"{around}{inner.type}"
            yield from paths(inner, f"{around}{inner.type}.")

    def documented(text: str) -> set[str]:
        found: set[str] = set()
        stack: list[str] = []
        word = ""
        for sign in f"{text} ":
            if sign in " {}":
                if word:
                    found.add(".".join([*stack, word]))
                if sign == "{":
                    stack.append(word)
                elif sign == "}":
                    stack.pop()
                word = ""
            else:
                word += sign
        return found

    for block in parsed(CHAINS[chain]()).blocks:
        if block.type == "resource":
            assert set(paths(block, "")) - LANGUAGE <= documented(DOCUMENTED[block.labels[0]]), block.labels


@each_chain
def test_every_reference_leads_to_a_block_of_the_file(chain: str) -> None:
    text = CHAINS[chain]()
    blocks = parsed(text).blocks
    made = {".".join(one.labels) for one in blocks if one.type == "resource"}
    assert len(made) == len([one for one in blocks if one.type == "resource"])
    used = set(re.findall(r"\b(google_\w+\.\w+)\.(?:id|email|self_link|instance_group|address)\b", text))
    assert used <= made
    variables = {one.labels[0] for one in blocks if one.type == "variable"}
    assert set(re.findall(r"\bvar\.(\w+)", text)) == variables - (set() if "zonal" in chain else {"zone"})
    local = {key for one in blocks if one.type == "locals" for key in one.attributes}
    assert set(re.findall(r"\blocal\.(\w+)", text)) <= local


def test_the_drain_follows_the_upload_and_the_rate(tmp_path: Path) -> None:
    assumed = replace(Assumptions(), upload=100_000_000, client_rate=500_000.0)
    found = audited(rendered(*NAMED, platform=REGION, load=assumed), tmp_path, assumed)
    assert {drain(one).value for one in found.view.google.of("backendService")} == {1660}
    assert not found.of(Outcome.VIOLATED)
    quick = replace(Assumptions(), upload=1_000_000)
    found = audited(rendered(*NAMED, platform=REGION, load=quick), tmp_path, quick)
    assert not found.of(Outcome.VIOLATED)
    assert found.unused == ()


def test_an_upload_that_no_backend_service_can_drain_is_refused() -> None:
    with pytest.raises(ChangeoverError, match="no backend service drains longer than an hour"):
        rendered(*NAMED, platform=REGION, load=replace(Assumptions(), client_rate=100_000.0))


def test_the_surge_of_a_region_is_at_least_its_zones_and_the_size_is_the_chain_files() -> None:
    groups = resources(CHAINS["regional"](), "google_compute_region_instance_group_manager")
    surges = {name: block.blocks[3].attributes["max_surge_fixed"].text for name, block in groups.items()}
    assert surges == {"edge": "3", "edge_second": "3", "l4": "3", "gateway": "3", "runtime": "5"}
    assert groups["runtime"].attributes["target_size"].text == "12"
    zonal = resources(CHAINS["zonal"](), "google_compute_instance_group_manager")
    assert zonal["edge"].blocks[3].attributes["max_surge_fixed"].text == "1"


def test_of_two_groups_one_is_a_backend_and_the_switch_is_left_to_the_rollout() -> None:
    text = CHAINS["regional"]()
    groups = resources(text, "google_compute_region_instance_group_manager")
    assert groups["edge_second"].attributes["name"].text == "edge-green"
    assert groups["edge_second"].attributes["target_size"].text == "0"
    edge = resources(text, "google_compute_backend_service")["edge_bs"]
    assert [one.type for one in edge.blocks] == ["backend", "lifecycle"]
    assert text.count("ignore_changes = [backend]") == 1


def test_weights_between_two_groups_are_those_of_a_url_map_and_left_to_the_rollout() -> None:
    text = CHAINS["weights"]()
    services = resources(text, "google_compute_backend_service")
    assert services["edge_bs"].blocks[0].attributes["group"].text.endswith(".edge.instance_group")
    assert services["edge_green_bs"].blocks[0].attributes["group"].text.endswith(".edge_second.instance_group")
    url_map = resources(text, "google_compute_url_map")["edge_bs"]
    assert url_map.attributes["name"].text == "edge-map"
    assert [one.attributes["weight"].text for one in url_map.blocks[0].blocks] == ["1000", "0"]
    assert "ignore_changes = [default_route_action]" in text
    assert "ignore_changes = [backend]" not in text


def test_a_tier_of_this_machine_that_switches_gets_two_groups_where_a_backend_service_fronts_it() -> None:
    switches = {"update": {"strategy": "blue-green"}}
    text = rendered(HERE[0], {**HERE[1], **switches}, {**HERE[2], **switches})
    assert '"proxy-mig-2"' in text
    assert "web-mig-2" not in text, "its router holds back new members"


def test_every_template_stays_for_the_way_back_and_a_regional_one_is_regional() -> None:
    text = CHAINS["regional"]()
    assert list(resources(text, "google_compute_region_instance_template")) == ["edge_20261128"]
    assert set(resources(text, "google_compute_instance_template")) == {
        "edge_20261101",
        "l4_1",
        "gateway_1",
        "runtime_1",
    }


def test_the_agents_are_open_to_the_controller_and_to_health_checks_alone() -> None:
    rules = resources(CHAINS["members"](), "google_compute_firewall")
    opened = {name: [one.text for one in rule.blocks[0].attributes["ports"].parts] for name, rule in rules.items()}
    assert [name for name, ports in opened.items() if "9180" in ports] == [
        "controller",
        "proxy_probes",
        "inner_probes",
        "last_probes",
    ]
    assert rules["inner_requests"].attributes["source_tags"].parts[0].text == "proxy-mig"
    assert rules["last_requests"].attributes["source_ranges"].text == "var.router_ranges"


def test_agents_with_tls_have_certificates_and_health_checks_over_tls() -> None:
    text = CHAINS["agents with TLS"]()
    for block in (*resources(text, "google_compute_health_check").values(),):
        assert [one.type for one in block.blocks] == ["https_health_check"]
    for line in ("key: /etc/changeover/agent.key", "client_ca: /etc/changeover/agent-clients.crt"):
        assert text.count(line) == len(OVER_TLS)
    assert "chgrp changeover-agent /etc/changeover/agent.key" in text


def test_an_envoy_whose_agents_keep_members_names_their_file() -> None:
    assert "members:\n  inner: /run/changeover-agent/inner.json\n" in CHAINS["members"]()


def test_a_chain_of_this_machine_gets_names_from_its_tiers_and_the_readiness_of_its_application() -> None:
    text = CHAINS["this machine"]()
    assert list(resources(text, "google_compute_backend_service")) == ["l4_bs"]
    assert list(resources(text, "google_compute_region_backend_service")) == ["proxy_bs"]
    assert "path: /up" in text


@pytest.mark.parametrize(
    "given", ["port=443", "edg.port=443", "edge.port", "edge.prot=443", "edge.port=0", "edge.port=x", "edge.port=["]
)
def test_a_setting_that_no_agent_of_the_chain_has_is_refused_by_its_name(given: str) -> None:
    with pytest.raises(ChangeoverError, match=f"--set {given.partition('=')[0]}"):
        rendered(*NAMED, platform=REGION, given=(given,))


def test_two_tiers_with_one_instance_template_are_refused() -> None:
    other = {**NAMED[3], "templates": {"v1": {"instance_template": "l4-1"}}}
    with pytest.raises(ChangeoverError, match="two tiers have the instance template l4-1"):
        rendered(*NAMED[:3], other, platform=REGION)


def test_a_long_name_is_cut_and_stays_its_own() -> None:
    names = {hcl.name("a" * 63 + end, "-ready") for end in ("b", "c")}
    assert len(names) == 2
    assert {len(one) for one in names} == {63}
    assert hcl.name("9 Lives!") == "c-9-lives"


def test_a_startup_script_has_no_interpolation_of_terraform() -> None:
    text = rendered(*NAMED, platform=REGION, given=("edge.name=${HOME}%{x}",))
    assert "name: $${HOME}%%{x}" in text
