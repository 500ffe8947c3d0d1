"""A chain file for Google Cloud: its keys, what is refused there, and what is refused elsewhere."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from changeover.hops import registry
from changeover.model import chainfile
from changeover.model.chain import Chain, Drain, Tier
from changeover.model.chainfile import ParsedChain
from changeover.model.config_model import ConfigModel
from changeover.model.errors import ChangeoverError
from changeover.model.health import Health
from changeover.model.platform import GCP_PROGRESS_DEADLINE, InstanceTemplate
from changeover.model.update import Update

GCP = {"kind": "gcp", "project": "shop-prod", "region": "europe-west1"}


def tier(**keys: Any) -> dict[str, Any]:
    templates = {"2026-11-01": {"instance_template": "edge-20261101"}, "v2": {"instance_template": "edge-v2"}}
    base = {"name": "edge", "kind": "nginx", "group": "edge-mig", "backend_services": ["edge-bs"]}
    return {**base, "templates": templates, **keys}


def read(*tiers: dict[str, Any], **keys: Any) -> ParsedChain:
    chain = {"platform": GCP, "tiers": list(tiers) or [tier()], **keys}
    return chainfile.read(yaml.safe_dump({k: v for k, v in chain.items() if v is not None}), "f", registry.known_hops())


def refused(*tiers: dict[str, Any], **keys: Any) -> str:
    with pytest.raises(ChangeoverError) as error:
        read(*tiers, **keys)
    return str(error.value)


def test_templates_are_instance_templates_and_may_be_named_by_a_date() -> None:
    parsed = read()
    assert parsed.settings["edge"]["2026-11-01"] == InstanceTemplate(instance_template="edge-20261101")
    assert parsed.chain.tiers[0].agent is not None
    assert parsed.chain.tiers[0].agent.port == 9180
    assert parsed.chain.tiers[0].update.progress_deadline == GCP_PROGRESS_DEADLINE


def test_the_last_tier_may_be_of_any_software_since_its_image_says_what_it_does() -> None:
    assert len(read(tier(), tier(name="inner", kind="nginx", group="inner-mig")).chain.tiers) == 2


def test_a_progress_deadline_that_is_given_holds() -> None:
    assert read(tier(update={"progress_deadline": "90s"})).chain.tiers[0].update.progress_deadline == 90


@pytest.mark.parametrize(
    ("platform", "text"),
    [
        ({"kind": "gcp", "region": "r"}, "needs `project`"),
        ({"kind": "gcp", "project": "shop"}, "`region` or `zone`"),
        ({"kind": "gcp", "project": "shop", "region": "r", "zone": "z"}, "exactly one"),
        ({"project": "shop"}, "add `kind: gcp`"),
        ({**GCP, "endpoint": "http://127.0.0.1/compute/beta"}, "version 1"),
    ],
)
def test_a_place_is_named_by_project_and_region_or_zone(platform: dict[str, str], text: str) -> None:
    assert text in refused(platform=platform)


@pytest.mark.parametrize(
    ("keys", "text"),
    [
        ({"group": None}, "group: this key is missing"),
        ({"backend_services": []}, "nothing says what sends tier edge its requests"),
        ({"affinity": "client-ip"}, "sessionAffinity"),
        ({"health": {"interval": "1s"}}, "checkIntervalSec"),
        ({"update": {"strategy": "blue-green"}}, "cannot hold back the new ones"),
        ({"update": {"abandoned": "resume"}}, "no keeper runs"),
        ({"templates": {"v1": {"replicas": 3}}}, "templates.v1.instance_template: this key is missing"),
        ({"agent": {"token_env": "A", "token_file": "/b"}}, "not in both"),
        ({"name": "e" * 31, "templates": {"t" * 31: {"instance_template": "x"}}}, "63 characters"),
        (
            {"drain": {"long_lived": {"policy": "ask"}}},
            "it fails because of the lame duck, which asks at the same time",
        ),
    ],
)
def test_what_means_nothing_there_is_refused_with_what_would(keys: dict[str, Any], text: str) -> None:
    assert text in refused(tier(**keys))


def test_a_tier_without_backend_services_has_an_envoy_in_front_whose_agents_keep_its_members_or_a_router() -> None:
    inner = tier(name="inner", group="inner-mig", backend_services=[])
    assert len(read(tier(kind="envoy"), inner).chain.tiers) == 2
    kong = {"kind": "kong", "admin": ["http://10.0.0.9:8001"], "proxy": "10.0.0.9:8000"}
    assert "inner" in read(tier(), {**inner, "router": kong}).routers
    assert "edge (kong) in front of it does not get its members" in refused(tier(kind="kong"), inner)


def test_what_a_tier_behind_an_envoy_cannot_have_is_set_in_the_image_of_the_envoy() -> None:
    inner = tier(name="inner", kind="app", group="inner-mig", backend_services=[])
    for keys in ({"affinity": "client-ip"}, {"health": {"interval": "1s"}}, {"health": {"rise": 2}}):
        said = refused(tier(kind="envoy"), {**inner, **keys})
        assert "Set it in the configuration of edge, in its image." in said
        assert "backend service" not in said


@pytest.mark.parametrize("routed", [False, True])
def test_what_an_application_is_asked_is_set_at_its_agent(routed: bool) -> None:
    kong = {"kind": "kong", "admin": ["http://10.0.0.9:8001"], "proxy": "10.0.0.9:8000"}
    more = {"router": kong, "backend_services": []} if routed else {}
    inner = tier(name="inner", kind="app", group="inner-mig", health={"path": "/up"}, **more)
    said = refused(tier(), inner)
    assert "Set `health` in the agent.yaml of its VMs" in said
    assert "Only a tier of kind app" not in said


def test_kong_asks_no_vm_so_it_counts_no_successes() -> None:
    kong = {"kind": "kong", "admin": ["http://10.0.0.9:8001"], "proxy": "10.0.0.9:8000"}
    inner = tier(name="inner", kind="app", group="inner-mig", backend_services=[], router=kong, health={"rise": 2})
    assert "kong, the router of inner, asks no instance whose readiness is at a control address" in refused(
        tier(), inner
    )


def test_two_tiers_cannot_share_a_group() -> None:
    assert "the group edge-mig is named twice" in refused(tier(), tier(name="inner"))
    assert "second_group: the group edge-mig is named twice" in refused(tier(second_group="edge-mig"))
    second = tier(name="inner", group="inner-mig", second_group="edge-mig")
    assert "the group edge-mig is named twice" in refused(tier(), second)


def test_blue_green_behind_backend_services_needs_a_second_group() -> None:
    found = read(tier(second_group="edge-green", update={"strategy": "blue-green"})).chain.tiers[0]
    assert found.groups == ("edge-mig", "edge-green")


TRAFFIC = {"url_map": "edge-map", "second_service": "edge-green-bs"}


def test_weights_share_requests_between_two_groups_each_behind_a_service_of_its_own() -> None:
    found = read(tier(second_group="edge-green", traffic=TRAFFIC)).chain.tiers[0]
    assert found.services_of("edge-mig") == ("edge-bs",)
    assert found.services_of("edge-green") == ("edge-green-bs",)
    assert found.services == ("edge-bs", "edge-green-bs")


@pytest.mark.parametrize(
    ("keys", "text"),
    [
        ({}, "the tier has one Name a `second_group`"),
        ({"second_group": "g", "backend_services": ["a", "b"]}, "a weight is of one"),
        ({"second_group": "g", "traffic": {**TRAFFIC, "second_service": "edge-bs"}}, "the service of `group` too"),
        ({"second_group": "g", "kind": "nginx-stream"}, "which has no URL map"),
    ],
)
def test_weights_that_cannot_share_requests_are_refused(keys: dict[str, Any], text: str) -> None:
    assert text in " ".join(refused(tier(**{"traffic": TRAFFIC, **keys})).split())


def test_a_router_that_holds_a_list_holds_back_new_instances_of_one_group() -> None:
    kong = {"kind": "kong", "admin": ["http://10.0.0.9:8001"], "proxy": "10.0.0.9:8000"}
    inner = tier(name="inner", group="inner-mig", backend_services=[], router=kong, update={"strategy": "blue-green"})
    assert read(tier(), inner).chain.tiers[1].update.strategy == "blue-green"
    assert "has no effect without backend services" in refused(tier(), {**inner, "second_group": "inner-green"})


@pytest.mark.parametrize("key", ["keep", "trusted_peers"])
def test_keys_of_this_machine_are_refused(key: str) -> None:
    assert f"{key}: this has no effect on Google Cloud" in refused(**{key: 3 if key == "keep" else ["10.0.0.0/8"]})


@pytest.mark.parametrize(
    "keys",
    [
        {"group": "g"},
        {"second_group": "g"},
        {"traffic": TRAFFIC},
        {"backend_services": ["b"]},
        {"agent": {"port": 9}},
        {"update": {"count_deleting": True}},
    ],
)
def test_keys_of_google_cloud_are_refused_on_this_machine(keys: dict[str, Any]) -> None:
    local = {"name": "run", "kind": "app", "templates": {"v1": {}}, **keys}
    assert "Google Cloud alone" in refused(local, platform=None)


HONOURED: dict[type[ConfigModel], set[str]] = {
    Chain: {"name", "platform", "listen", "tiers", "hooks", "notify", "page", "guards", "prometheus", "probe"},
    Tier: {
        *("name", "kind", "size", "templates", "health", "drain", "update", "to", "router"),
        *("group", "second_group", "traffic", "backend_services", "agent"),
    },
    Health: {"timeout", "fall"},
    Drain: {"deadline", "policy", "idle_after", "long_lived"},
    Update: {
        *("strategy", "steps", "baseline", "bake", "switch", "guard", "order", "max_surge", "max_unavailable"),
        *("min_ready", "watch", "progress_deadline", "count_deleting"),
    },
}
"""Keys that hold on Google Cloud as elsewhere, behind backend services."""
REFUSED: dict[type[ConfigModel], dict[str, Any]] = {
    Chain: {"trusted_peers": ["10.0.0.0/8"], "keep": 3},
    Tier: {"affinity": "client-ip"},
    Health: {
        "path": "/x",
        "status": 201,
        "headers": {"a": "b"},
        "body": "x",
        "tcp": True,
        "interval": "1s",
        "rise": 2,
        "panic": "10%",
    },
    Drain: {},
    Update: {"preview": "127.0.0.1:9999", "abandoned": "undo"},
}


@pytest.mark.parametrize("schema", HONOURED)
def test_every_key_holds_or_is_refused(schema: type[ConfigModel]) -> None:
    """A new key must be thought of here, too: none may be without effect in silence."""
    assert HONOURED[schema] | REFUSED[schema].keys() == set(schema.model_fields)
    part = {Health: "health", Drain: "drain", Update: "update"}.get(schema)
    for key, value in REFUSED[schema].items():
        given = {key: value} if part is None else {part: {key: value}}
        said = refused(**given) if schema is Chain else refused(tier(**given))
        assert f"{key}: " in said, said
