"""The rules of the audit and the checks of the doctor agree about live resources, and the rules add what is theirs."""

from __future__ import annotations

from typing import Any

import pytest
from tests.unit.doctor.healthy import facts
from tests.unit.doctor.test_checks import CASES, group_with, service_with

from changeover.audit.assumptions import Assumptions
from changeover.audit.audit import audit
from changeover.audit.finding import Outcome
from changeover.audit.rules import all_rules
from changeover.cli.cloud_audit import CHECKED, IN_NO_ROLL, by_rules, documents, examined
from changeover.doctor.facts import TierFacts

STRICTER = {
    "autoscaler-on": "a roll needs the autoscaler off; a rule asks for scale-in control",
    "healing-shares-check": "the doctor also knows the path of readiness",
    "lame-duck-unseen": "the doctor asks for the agent at that port and path",
    "group-changing": "most of it is the state of VMs, which no configuration has",
}
"""Checks that find more than the rules of the same fact."""
OF_OTHERS = {"MIG09", "VM02"}
"""Rules about VMs that hang, or that another tool deletes: a roll of changeover empties a VM before it is deleted."""
BY_CHECK = {
    check: {rule for rule, checks in CHECKED.items() if check in checks} for of in CHECKED.values() for check in of
}


def violated(of: TierFacts) -> set[str]:
    """The rules that the resources violate."""
    asked = Assumptions(upload=of.load.size, client_rate=of.load.rate, drained=True)
    return {one.rule.id for one in audit([*documents(of)], asked, {}).of(Outcome.VIOLATED)}


@pytest.mark.parametrize(("check", "severity", "change"), [case for case in CASES if case[0] in BY_CHECK])
def test_a_check_and_the_rules_of_its_fact_agree(check: str, severity: str, change: dict[str, Any]) -> None:
    found = violated(facts(**change)) & BY_CHECK[check] - OF_OTHERS
    assert found or check in STRICTER


def test_healthy_resources_violate_no_rule_that_has_a_check() -> None:
    assert violated(facts()) & set(CHECKED) <= OF_OTHERS
    assert not [*by_rules(facts())]


def test_a_rule_without_a_check_is_found_on_the_live_resource() -> None:
    recreated = examined(facts(**group_with("updatePolicy.replacementMethod", "RECREATE")))
    (found,) = [one for one in recreated if one.check == "MIG03"]
    assert (found.severity, found.where) == ("note", "tier edge, group edge-mig")
    silent = examined(facts(**tcp()))
    (found,) = [one for one in silent if one.check == "GCP07"]
    assert (found.severity, found.where) == ("warning", "tier edge, backend service edge-bs")
    assert "timeoutSec 10" in found.read


def tcp() -> dict[str, Any]:
    (service,) = service_with("protocol", "TCP")["services"].values()
    return {"services": {"edge-bs": {**service, "timeoutSec": 10, "loadBalancingScheme": "EXTERNAL_MANAGED"}}}


def test_a_fact_is_named_once() -> None:
    for _, _, change in CASES:
        names = {one.check for one in examined(facts(**change))}
        assert not names & set(CHECKED)


def test_every_rule_with_a_check_exists() -> None:
    assert {rule.id for rule in all_rules()} >= {*CHECKED, *IN_NO_ROLL}
