"""Each precondition that does not hold is found by one check, with its severity, and gcloud knows its cure."""

from __future__ import annotations

import importlib.resources
import inspect
import json
import os
import re
import shlex
import shutil
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.gcp.fake.wire.discovery import Discovery
from tests.unit.doctor import healthy
from tests.unit.doctor.healthy import (
    ALIVE,
    AUTOSCALER,
    CHECK,
    GROUP,
    NOW,
    READY,
    ROOT,
    SERVICE,
    STATUS,
    TEMPLATE,
    TEMPLATE_1,
    TEMPLATE_2,
    VM,
    changed,
    facts,
)

from changeover.doctor import agents, balancer, examine, group, healing, permissions, second_group, templates, traffic
from changeover.doctor.diagnosis import Diagnosis
from changeover.doctor.facts import AgentAnswer, TierFacts, UploadLoad


def group_with(path: str, value: Any) -> dict[str, Any]:
    return {"group": changed(GROUP, path, value)}


def service_with(path: str, value: Any) -> dict[str, Any]:
    return {"services": {"edge-bs": changed(SERVICE, path, value)}}


def ready_with(path: str, value: Any) -> dict[str, Any]:
    return {"checks": {**facts().checks, READY: changed(CHECK, path, value)}}


def template_with(path: str, value: Any) -> dict[str, Any]:
    return {"templates": {TEMPLATE_1: changed(TEMPLATE, f"properties.scheduling.{path}", value)}}


def agent_with(path: str, value: Any) -> dict[str, Any]:
    return {"agents": {"edge-1a2b": AgentAnswer(changed(STATUS, path, value), NOW)}}


SILENT = AgentAnswer("GET x: Connection refused", NOW)
TWO_VERSIONS = [*GROUP["versions"], {"name": "v2", "instanceTemplate": f"{ROOT}/{TEMPLATE_2}"}]
HTTPS = {**changed(CHECK, "httpHealthCheck", None), "type": "HTTPS", "httpsHealthCheck": CHECK["httpHealthCheck"]}
ALIVE_HTTPS = changed(HTTPS, "httpsHealthCheck.requestPath", "/livez")
CASES: list[tuple[str, str, dict[str, Any]]] = [
    ("group-missing", "fatal", {"group": None, "vms": [], "services": {}, "autoscaler": None}),
    ("group-changing", "fatal", group_with("versions", TWO_VERSIONS)),
    ("group-changing", "fatal", group_with("status.isStable", False)),
    ("group-changing", "fatal", group_with("status", None)),
    ("group-changing", "fatal", {"vms": [{**VM, "currentAction": "RECREATING"}]}),
    (
        "group-changing",
        "fatal",
        {"group": changed(changed(GROUP, "updatePolicy.type", "PROACTIVE"), "status.versionTarget.isReached", False)},
    ),
    ("autoscaler-on", "fatal", {"autoscaler": changed(AUTOSCALER, "autoscalingPolicy.mode", "ON")}),
    ("autoscaler-on", "fatal", {"autoscaler": changed(AUTOSCALER, "autoscalingPolicy.mode", "ONLY_SCALE_OUT")}),
    ("autoscaler-on", "fatal", {"autoscaler": changed(AUTOSCALER, "autoscalingPolicy", None)}),
    ("redistribution-on", "note", group_with("updatePolicy.instanceRedistributionType", "PROACTIVE")),
    ("redistribution-on", "note", group_with("updatePolicy.instanceRedistributionType", None)),
    ("update-policy-refused", "warning", group_with("updatePolicy.maxSurge", {"fixed": 1})),
    ("update-policy-refused", "warning", group_with("updatePolicy.maxSurge", {"percent": 20})),
    ("updater-takes-vms-down", "note", group_with("updatePolicy.maxUnavailable", {"fixed": 3})),
    ("updater-takes-vms-down", "note", group_with("updatePolicy.maxUnavailable", None)),
    ("stateful", "fatal", group_with("statefulPolicy", {"preservedState": {"disks": {"data": {}}}})),
    ("group-empty", "fatal", {"vms": []}),
    ("size-differs", "fatal", {"size": 4}),
    ("port-unknown", "fatal", {"has_router": True, "services": {}}),
    ("templates-differ", "fatal", {"vms": [VM, {**VM, "version": {"instanceTemplate": f"{ROOT}/{TEMPLATE_2}"}}]}),
    ("healing-missing", "note", group_with("autoHealingPolicies", None)),
    (
        "healing-shares-check",
        "fatal",
        group_with("autoHealingPolicies", [{"healthCheck": READY, "initialDelaySec": 1}]),
    ),
    ("healing-shares-check", "fatal", {"checks": {READY: CHECK, ALIVE: CHECK}}),
    (
        "healing-without-delay",
        "warning",
        group_with("autoHealingPolicies", [{"healthCheck": f"{ROOT}/{ALIVE}"}]),
    ),
    ("service-missing", "fatal", {"services": {"edge-bs": None}}),
    ("group-not-behind-service", "fatal", service_with("backends", [])),
    ("capacity-zero", "fatal", service_with("backends", [{**SERVICE["backends"][0], "capacityScaler": 0.0}])),
    ("drain-too-short", "warning", service_with("connectionDraining", None)),
    ("drain-too-short", "warning", service_with("connectionDraining.drainingTimeoutSec", 300)),
    ("timeout-cuts-uploads", "warning", service_with("timeoutSec", 30)),
    ("timeout-cuts-uploads", "warning", service_with("timeoutSec", None)),
    ("lame-duck-unseen", "fatal", service_with("healthChecks", [])),
    ("lame-duck-unseen", "fatal", {"checks": {ALIVE: facts().checks[ALIVE]}}),
    ("lame-duck-unseen", "fatal", ready_with("httpHealthCheck.requestPath", "/")),
    ("lame-duck-unseen", "fatal", ready_with("httpHealthCheck.port", 80)),
    ("lame-duck-unseen", "fatal", ready_with("httpHealthCheck.port", None)),
    ("lame-duck-unseen", "fatal", {"checks": {**facts().checks, READY: {"type": "TCP", "tcpHealthCheck": {}}}}),
    ("check-never-passes", "fatal", {"checks": {**facts().checks, READY: HTTPS}}),
    ("check-never-passes", "fatal", {"agent_tls": True, "checks": {READY: CHECK, ALIVE: ALIVE_HTTPS}}),
    ("check-never-passes", "fatal", {"agent_tls": True, "checks": {READY: HTTPS, ALIVE: facts().checks[ALIVE]}}),
    ("leaves-slowly", "note", ready_with("checkIntervalSec", 60)),
    (
        "unhealthy-backend-cuts-connections",
        "fatal",
        service_with("connectionTrackingPolicy.connectionPersistenceOnUnhealthyBackends", "NEVER_PERSIST"),
    ),
    ("failover-cuts-connections", "warning", service_with("failoverPolicy.disableConnectionDrainOnFailover", True)),
    ("template-missing", "fatal", {"templates": {TEMPLATE_1: None, TEMPLATE_2: TEMPLATE}}),
    ("template-missing", "warning", {"templates": {TEMPLATE_1: TEMPLATE, TEMPLATE_2: None}}),
    ("template-unknown", "fatal", {"vms": [VM, changed(VM, "version.instanceTemplate", f"{ROOT}/global/x/other")]}),
    ("template-unknown", "fatal", {"vms": [changed(VM, "version", None)]}),
    ("ends-by-preemption", "warning", template_with("provisioningModel", "SPOT")),
    ("ends-by-preemption", "warning", template_with("preemptible", True)),
    ("ends-by-maintenance", "warning", template_with("onHostMaintenance", "TERMINATE")),
    ("ends-by-age", "warning", template_with("maxRunDuration", {"seconds": "3600"})),
    ("ends-by-age", "warning", template_with("terminationTime", "2027-01-01T00:00:00Z")),
    ("ends-without-shutdown", "warning", template_with("skipGuestOsShutdown", True)),
    ("agent-unreachable", "fatal", {"agents": {"edge-1a2b": AgentAnswer("GET x: Connection refused", NOW)}}),
    ("agent-unreachable", "fatal", {"agents": {"edge-1a2b": AgentAnswer("401 no token", NOW, "Give it the token.")}}),
    ("agent-unreachable", "fatal", {"agents": {"edge-1a2b": SILENT}, "out": frozenset({"edge-1a2b"})}),
    ("agent-unreachable", "fatal", {"agents": {"edge-1a2b": SILENT, "edge-2": AgentAnswer(STATUS, NOW)}}),
    (
        "agent-unreachable",
        "warning",
        {"agents": {"edge-1a2b": SILENT, "edge-2": AgentAnswer(STATUS, NOW)}, "out": frozenset({"edge-1a2b"})},
    ),
    ("agent-of-another-kind", "fatal", agent_with("kind", "kong")),
    ("agent-of-another-kind", "fatal", agent_with("kind", None)),
    ("count-unknown", "fatal", agent_with("unknown", "/status is not stub_status")),
    ("lame-duck-left", "warning", agent_with("lame_duck", True)),
    ("clocks-apart", "warning", agent_with("time", NOW - 60)),
    ("clocks-apart", "warning", agent_with("time", None)),
    ("notices-not-watched", "warning", agent_with("metadata", "not watched: x has not answered yet")),
    ("notices-not-watched", "warning", agent_with("metadata", "not asked")),
    ("permission-missing", "fatal", {"unread": {"group edge-mig": "403: Required compute.x permission"}}),
    ("permission-missing", "fatal", {"unread": {"group edge-mig": "group edge-mig: 403: Forbidden"}}),
    ("unread", "fatal", {"unread": {"group edge-mig": "no answer: timed out"}}),
    (
        "unread",
        "fatal",
        {"unread": {"group edge-mig": "group edge-mig: 403: Quota exceeded for quota metric 'Queries'"}},
    ),
    ("unread", "fatal", {"unread": {"group edge-mig": "no answer: connection to port 14035 refused"}}),
]
case = pytest.mark.parametrize(("name", "severity", "given"), CASES)


def unlike(*given: dict[str, Any]) -> Iterator[Diagnosis]:
    for one in given:
        yield from examine.examine(facts(**one))


def test_of_a_healthy_tier_nothing_is_found() -> None:
    assert examine.examine(facts()) == []


def test_agents_with_tls_need_checks_with_tls_and_their_cures_keep_it() -> None:
    over_tls = facts(agent_tls=True, checks={READY: HTTPS, ALIVE: ALIVE_HTTPS})
    assert examine.examine(over_tls) == []
    shared = changed(GROUP, "autoHealingPolicies", [{"healthCheck": f"{ROOT}/{READY}", "initialDelaySec": 300}])
    (found,) = examine.examine(replace(over_tls, group=shared))
    assert found.cure.startswith("gcloud compute health-checks create https edge-mig-alive")


def test_a_healthy_zonal_tier_needs_no_more_surge_than_one() -> None:
    zonal = changed(changed(GROUP, "updatePolicy.maxSurge", {"fixed": 1}), "distributionPolicy", None)
    assert examine.examine(facts(group=zonal, place="--zone=europe-west1-b")) == []


@case
def test_one_thing_that_does_not_hold_is_found_by_its_check_alone(
    name: str, severity: str, given: dict[str, Any]
) -> None:
    found = examine.examine(facts(**given))
    assert [(one.check, str(one.severity)) for one in found] == [(name, severity)], found
    (one,) = found
    assert all((one.where, one.read, one.get, one.post, one.cure))


def test_every_check_has_a_case() -> None:
    sources = "".join(map(inspect.getsource, (agents, balancer, group, healing, permissions, templates)))
    names = set(re.findall(r'Diagnosis\(\s*"([a-z-]+)"(?: if refused else "([a-z-]+)")?', sources))
    assert {name for found in names for name in found if name} == {name for name, _, _ in CASES}


def test_every_check_is_in_the_documentation() -> None:
    rooms = (agents, balancer, group, healing, permissions, second_group, templates, traffic)
    table = (Path(__file__).parents[3] / "docs/doctor.md").read_text(encoding="utf-8")
    documented = set(re.findall(r"`([a-z-]+)`", table.partition("## Checks")[2].partition("## Permissions")[0]))
    assert {name for name, _, _ in CASES} <= documented
    assert set(re.findall(r'Diagnosis\(\s*"([a-z-]+)"', "".join(map(inspect.getsource, rooms)))) <= documented


def test_autohealing_that_repairs_nothing_may_ask_what_the_balancer_asks() -> None:
    shared = changed(GROUP, "autoHealingPolicies", [{"healthCheck": f"{ROOT}/{READY}"}])
    for path, value in (("onFailedHealthCheck", "DO_NOTHING"), ("defaultActionOnFailure", "DO_NOTHING")):
        assert examine.examine(facts(group=changed(shared, f"instanceLifecyclePolicy.{path}", value))) == []


def test_the_worst_comes_first_and_a_tcp_service_has_no_limit_for_requests() -> None:
    tcp = changed(changed(SERVICE, "protocol", "TCP"), "timeoutSec", 30)
    found = examine.examine(
        facts(services={"edge-bs": tcp, "other": None}, group=changed(GROUP, "autoHealingPolicies", None))
    )
    assert [one.check for one in found] == ["service-missing", "healing-missing"]


def test_the_figures_follow_from_the_largest_upload_and_the_slowest_client() -> None:
    load = UploadLoad(size=500_000_000, rate=1_000_000)
    found = {one.check: one for one in examine.examine(facts(load=load))}
    assert set(found) == {"drain-too-short", "timeout-cuts-uploads"}
    assert "4030 s" in found["drain-too-short"].post
    assert "no backend service drains longer" in found["drain-too-short"].post
    assert found["drain-too-short"].cure.endswith("--connection-draining-timeout=3600")
    assert found["timeout-cuts-uploads"].cure.endswith("--timeout=4060s")


def test_what_could_not_be_read_is_not_taken_for_missing() -> None:
    unread = {READY: "503", TEMPLATE_2: "503"}
    without = {path: check for path, check in facts().checks.items() if path != READY}
    found = examine.examine(
        facts(unread=unread, checks={**without, READY: None}, templates={TEMPLATE_1: TEMPLATE, TEMPLATE_2: None})
    )
    assert [one.check for one in found] == ["unread", "unread"]


@pytest.mark.parametrize(
    ("path", "resource"),
    [
        ("projects/p/regions/r/instanceGroupManagers/x", GROUP),
        ("projects/p/global/backendServices/x", SERVICE),
        ("projects/p/global/healthChecks/x", CHECK),
        ("projects/p/global/instanceTemplates/x", TEMPLATE),
        ("projects/p/regions/r/autoscalers/x", AUTOSCALER),
    ],
)
def test_the_api_could_answer_so(path: str, resource: healthy.Json) -> None:
    """The resources of these tests, broken ones included, are those of Google's discovery document."""
    discovery = schema()
    call = discovery.match("GET", path)
    assert call is not None
    assert discovery.response_problems(call, resource) == []
    broken = [one for _, _, given in CASES for one in resources(given) if one.get("kind") == resource["kind"]]
    assert all(discovery.response_problems(call, one) == [] for one in broken)


def resources(given: dict[str, Any]) -> Iterator[healthy.Json]:
    for value in given.values():
        if isinstance(value, dict):
            yield value
            yield from (one for one in value.values() if isinstance(one, dict))


@cache
def schema() -> Discovery:
    return Discovery()


def test_the_custom_role_lists_every_permission_once() -> None:
    least, most = permissions.needed(), permissions.needed(switching=True, weighing=True)
    role = yaml.safe_load(permissions.custom_role(most))
    assert role["includedPermissions"] == list(most)
    assert all(re.fullmatch(r"compute\.[A-Za-z]+\.[A-Za-z]+", one) for one in most)
    assert {"compute.backendServices.update", "compute.instanceGroups.use"} <= most.keys() - least.keys()


def test_the_custom_role_has_the_form_of_a_role_of_iam() -> None:
    path = "discovery_cache/documents/iam.v1.json"
    iam = json.loads(importlib.resources.files("googleapiclient").joinpath(path).read_text(encoding="utf-8"))
    form = iam["schemas"]["Role"]["properties"]
    role = yaml.safe_load(permissions.custom_role(permissions.needed()))
    assert {"title", "stage", "includedPermissions"} <= role.keys() <= form.keys() - {"name", "etag", "deleted"}
    assert role["stage"] in form["stage"]["enum"]
    assert (form["includedPermissions"]["type"], form["includedPermissions"]["items"]) == ("array", {"type": "string"})
    assert len(role["title"]) <= 100


# -- cures -------------------------------------------------------------------------------------------------------------

NOT_LISTED = {"--version", "--filter", "--project"}
"""Flags that gcloud's table of completions leaves out: needed ones, and those of every command."""


@cache
def completions() -> dict[str, Any] | None:
    if (program := shutil.which("gcloud")) is None:
        return None
    file = Path(os.path.realpath(program)).parents[1] / "data/cli/gcloud_completions.py"
    found: dict[str, Any] = {}
    exec(file.read_text(encoding="utf-8"), found)
    tree: dict[str, Any] = found["STATIC_COMPLETION_CLI_TREE"]
    return tree


def test_every_command_is_one_of_gcloud() -> None:
    tree = completions()
    if tree is None:
        pytest.skip("gcloud is not installed")
    cures = [one.cure for _, _, given in CASES for one in examine.examine(facts(**given))]
    commands = [command for cure in cures for command in re.findall(r"gcloud (?:(?! && |, ).)+", cure)]
    assert len(commands) > len(CASES) / 2
    for command in commands:
        at, words = tree, shlex.split(command)[1:]
        while words and words[0] in at.get("commands", {}):
            at = at["commands"][words.pop(0)]
        assert "flags" in at, command
        for word in words:
            name, _, value = word.partition("=")
            if not name.startswith("--") or name in NOT_LISTED:
                continue
            assert name in at["flags"], command
            if isinstance(choices := at["flags"][name], list):
                assert value in choices, command


def test_facts_have_no_default_for_what_must_be_read() -> None:
    with pytest.raises(TypeError):
        TierFacts()  # type: ignore[call-arg]


def test_a_vm_that_the_last_roll_has_emptied_may_still_be_deleted() -> None:
    leaving = [VM, {**VM, "currentAction": "DELETING", "version": {}}]
    assert examine.examine(facts(vms=leaving, group=changed(GROUP, "status.isStable", False))) == []


def test_a_health_check_may_name_the_port_of_the_agent() -> None:
    named = changed(changed(CHECK, "httpHealthCheck.port", None), "httpHealthCheck.portName", "agent")
    checks = {**facts().checks, READY: named}
    ports = [{"name": "http", "port": 80}, {"name": "agent", "port": 9180}]
    assert examine.examine(facts(checks=checks, group=changed(GROUP, "namedPorts", ports))) == []
    assert [one.check for one in examine.examine(facts(checks=checks))] == ["lame-duck-unseen"]
