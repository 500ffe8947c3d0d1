"""Which groups can be adopted, and what is said of the others: the cause, and the command that cures it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from changeover.model.chain import Tier
from changeover.platforms.gcp.adoption import Found, refusals, refusals_of_idle, serving, templates_of
from changeover.platforms.gcp.api.groups import Group, ManagedVm
from changeover.platforms.gcp.api.services import Service

V1, V2, V9 = (f"global/instanceTemplates/edge-{name}" for name in ("v1", "v2", "v9"))
PATHS = {"v1": V1, "v2": V2}
LINK = "zones/z/instanceGroups/edge"
GROUP = Group(
    name="edge",
    link=LINK,
    fingerprint="f",
    size=2,
    versions=(V1,),
    update_type="PROACTIVE",
    redistribution="",
    stable=True,
    at_version=True,
    autoscaler="",
    healing_checks=("global/healthChecks/live",),
    ports={"http": 8080},
    heals_unhealthy=True,
)
HEALS = (
    "`gcloud compute health-checks create http edge-alive --global --port=9180 --request-path=/livez && "
    "gcloud compute instance-groups managed update edge --zone=z --health-check=edge-alive`"
)
SERVICE = Service("edge", "", (LINK,), ("global/healthChecks/ready",), "HTTP", "http", 300)


def vm(name: str, template: str = V1, action: str = "NONE") -> ManagedVm:
    return ManagedVm(name, f"zones/z/instances/{name}", "1", action, "RUNNING", template)


FOUND = Found(GROUP, {"any-name": vm("any-name"), "x-7": vm("x-7")}, (SERVICE,), scaled=False)


def tier(**keys: object) -> Tier:
    templates = {name: {"instance_template": path} for name, path in PATHS.items()}
    return Tier.model_validate(
        {"name": "edge", "kind": "nginx", "group": "edge", "backend_services": ["edge"], "templates": templates, **keys}
    )


def said(found: Found, of: Tier | None = None) -> list[str]:
    return [str(problem) for problem in refusals(of or tier(), found, PATHS, "--zone=z")]


def test_a_group_at_rest_is_adopted_whatever_the_names_of_its_vms_are() -> None:
    assert said(FOUND) == []
    assert templates_of(FOUND.vms.values(), PATHS) == {"any-name": "v1", "x-7": "v1"}
    assert FOUND.port == 8080


def with_group(**changes: object) -> Found:
    return replace(FOUND, group=replace(GROUP, **changes))  # type: ignore[arg-type]


def with_vm(one: ManagedVm) -> Found:
    return replace(FOUND, vms={**FOUND.vms, one.name: one})


@pytest.mark.parametrize(
    ("found", "cause", "cure"),
    [
        (lambda: with_vm(vm("x-7", V9)), "x-7 (edge-v9)", "Add a template"),
        (lambda: with_vm(vm("x-7", V2)), "several templates: v1, v2", "rolling-action start-update edge"),
        (lambda: with_vm(vm("x-7", action="RECREATING")), "x-7 (RECREATING)", "wait-until edge --stable"),
        (lambda: with_group(stable=False), "not stable", "wait-until"),
        (lambda: with_group(versions=(V1, V2)), "two versions, edge-v1 and edge-v2", "Finish that update"),
        (
            lambda: with_group(versions=(V2,), at_version=False),
            "update of the group itself",
            "--version-target",
        ),
        (lambda: with_group(healing_checks=SERVICE.checks), "create an instance anew that drains", HEALS),
        (lambda: replace(FOUND, scaled=True), "autoscaler", "update-autoscaling edge --mode=off --zone=z"),
        (lambda: replace(FOUND, vms={}), "it has no VM", "resize edge"),
        (lambda: with_group(link="zones/z/instanceGroups/x"), "does not have this group", "Correct `backend_services`"),
    ],
)
def test_a_group_that_is_not_at_rest_or_would_break_requests_is_refused_with_the_cure(
    found: Callable[[], Found], cause: str, cure: str
) -> None:
    (text,) = said(found())
    assert cause in text
    assert cure in text
    assert "Nothing was changed." in text


def test_autohealing_by_the_same_check_is_fine_where_it_only_watches() -> None:
    assert said(with_group(healing_checks=SERVICE.checks, heals_unhealthy=False)) == []


def test_an_opportunistic_group_whose_version_no_vm_has_yet_is_at_rest() -> None:
    assert said(with_group(versions=(V2,), at_version=False, update_type="OPPORTUNISTIC")) == []


def test_another_size_than_that_of_the_chain_file_is_refused() -> None:
    assert "`size: 2`" in said(FOUND, tier(size=3))[0]
    assert said(FOUND, tier(size=2)) == []


IDLE = Found(replace(GROUP, name="green", link="zones/z/instanceGroups/green", size=0), {}, (SERVICE,), scaled=False)


def said_of_idle(idle: Found) -> list[str]:
    return [str(problem) for problem in refusals_of_idle(tier(second_group="green"), idle, FOUND, "--zone=z")]


def test_of_two_groups_the_one_with_vms_serves_and_the_other_one_may_still_delete_some() -> None:
    deletes = replace(IDLE, vms={"x": vm("x", action="DELETING")})
    for groups in ([FOUND, deletes], [deletes, FOUND]):
        assert serving(groups) is FOUND
    assert said_of_idle(deletes) == []
    assert serving([IDLE, IDLE]) is IDLE


@pytest.mark.parametrize(
    ("idle", "cause", "cure"),
    [
        (
            replace(IDLE, vms={"x": vm("x")}),
            "both groups of the tier have VMs, edge and green",
            "resize green --size=0",
        ),
        (replace(IDLE, group=replace(IDLE.group, size=1)), "both groups", "resize green --size=0"),
        (replace(IDLE, group=replace(IDLE.group, ports={})), "port none", "green --named-ports=http:8080"),
        (replace(IDLE, scaled=True), "autoscaler", "update-autoscaling green --mode=off"),
        (replace(IDLE, group=replace(IDLE.group, healing_checks=SERVICE.checks)), "anew that drains", "livez"),
    ],
)
def test_an_idle_group_that_cannot_take_the_next_template_is_refused_with_the_cure(
    idle: Found, cause: str, cure: str
) -> None:
    (text,) = said_of_idle(idle)
    assert cause in text
    assert cure in text
