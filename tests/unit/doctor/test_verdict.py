"""A fatal finding refuses a rollout with its reason and its cure; what could not be read is named and refuses none."""

from __future__ import annotations

from tests.unit.doctor.healthy import GROUP, READY, SERVICE, TEMPLATE, TEMPLATE_1, TEMPLATE_2, changed, facts

from changeover.doctor.examine import examine
from changeover.doctor.verdict import refusals, unknown

NOTHING_KNOWN = {
    "group edge-mig": "503",
    "backend service edge-bs": "403: permission",
    READY: "503",
    TEMPLATE_2: "503",
}


def test_a_tier_of_which_all_holds_may_be_rolled() -> None:
    found = examine(facts())
    assert (refusals(found), unknown(found)) == ([], [])


def test_warnings_and_notes_refuse_nothing() -> None:
    found = examine(facts(services={"edge-bs": changed(SERVICE, "timeoutSec", 30)}))
    assert found
    assert (refusals(found), unknown(found)) == ([], [])


def test_a_fatal_finding_refuses_with_what_was_read_the_consequences_and_the_cure() -> None:
    healing = [{"healthCheck": f"https://x/projects/shop/{READY}", "initialDelaySec": 300}]
    (problem,) = refusals(examine(facts(group=changed(GROUP, "autoHealingPolicies", healing))))
    text = str(problem)
    assert "tier edge, group edge-mig: " in text
    assert "have the same health check, edge-ready" in text
    assert "[healing-shares-check]" in text
    assert "nothing was changed. GET: error: requests on the VM end with it. Upload: cut" in text
    assert "Cure: gcloud compute health-checks create http edge-mig-alive" in text


def test_every_fatal_finding_is_named_at_once() -> None:
    found = refusals(examine(facts(services={"edge-bs": None}, templates={TEMPLATE_1: None, TEMPLATE_2: TEMPLATE})))
    assert [one.what.rpartition("[")[2] for one in found] == ["service-missing]", "template-missing]"]


def test_what_could_not_be_read_is_unknown_and_not_taken_for_missing() -> None:
    templates = {TEMPLATE_1: TEMPLATE, TEMPLATE_2: None}
    checks = {**facts().checks, READY: None}
    for given in (
        {"group": None, "services": {"edge-bs": None}},
        {"checks": checks, "templates": templates},
    ):
        found = examine(facts(unread=NOTHING_KNOWN, **given))
        assert refusals(found) == []
        assert len(unknown(found)) == len(NOTHING_KNOWN)
        assert any("group edge-mig could not be read: 503" in one for one in unknown(found))
