"""The rules of the audit on what the API of Google Cloud answers: the live resources of a tier, judged as files are.

A fact that a check of the doctor judges for a rollout of changeover stays with it: there the consequence is another,
because a roll waits for requests. A test holds both against each other. Every other rule is asked here.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from types import MappingProxyType

from changeover.audit.assumptions import Assumptions
from changeover.audit.audit import audit
from changeover.audit.finding import Finding, Outcome
from changeover.audit.finding import Severity as RuleSeverity
from changeover.audit.rule import Rule
from changeover.audit.rules import all_rules
from changeover.conf.google import GoogleFile, GoogleNode
from changeover.conf.tree import Map, parse
from changeover.doctor.diagnosis import Diagnosis, Severity
from changeover.doctor.examine import examine
from changeover.doctor.facts import Resource, TierFacts, short

CHECKED: Mapping[str, tuple[str, ...]] = {
    "GCP01": ("drain-too-short",),
    "GCP02": ("drain-too-short",),
    "GCP03": ("drain-too-short",),
    "GCP06": ("timeout-cuts-uploads",),
    "GCP09": ("unhealthy-backend-cuts-connections",),
    "GCP10": ("failover-cuts-connections",),
    "HC01": ("lame-duck-unseen",),
    "MIG01": ("updater-takes-vms-down",),
    "MIG02": ("update-policy-refused",),
    "MIG05": ("healing-missing",),
    "MIG07": ("healing-without-delay",),
    "MIG08": ("healing-shares-check",),
    "MIG09": ("healing-shares-check",),
    "MIG10": ("autoscaler-on",),
    "MIG11": ("redistribution-on",),
    "MIG12": ("group-changing",),
    "VM01": ("ends-by-preemption", "ends-by-maintenance", "ends-by-age"),
    "VM02": ("drain-too-short",),
    "VM04": ("ends-without-shutdown",),
}
"""Rule -> the checks of the doctor that judge the same fact."""
NOTHING_MORE: Mapping[str, str] = MappingProxyType({})
IN_NO_ROLL = frozenset(("MIG03", "MIG04", "MIG06", "MIG13"))
"""Rules about updates by Google's own updater, which a roll of changeover does not use."""


def examined(facts: TierFacts) -> list[Diagnosis]:
    """What does not hold, by the checks of the doctor and by the rules, the worst first."""
    order = list(Severity)
    return sorted([*examine(facts), *by_rules(facts)], key=lambda one: order.index(one.severity))


def by_rules(facts: TierFacts) -> Iterator[Diagnosis]:
    """What the rules without a check of the doctor find violated."""
    asked = Assumptions(upload=facts.load.size, client_rate=facts.load.rate, drained=True)
    rules = [rule for rule in all_rules() if rule.id not in CHECKED]
    for one in audit([*documents(facts)], asked, {}, rules=rules).of(Outcome.VIOLATED):
        yield _diagnosis(facts, one.rule, one.finding)


def documents(facts: TierFacts) -> Iterator[GoogleFile]:
    """The resources of a tier, each in a document that its place names."""
    region = {"region": facts.place} if facts.regional else {}
    yield from _document("instanceGroupManager", facts.group_name, facts.where, facts.group, region)
    yield from _document("autoscaler", "", facts.where, facts.autoscaler, region)
    for name, service in facts.services.items():
        yield from _document("backendService", name, f"tier {facts.tier}, backend service {name}", service)
    for path, check in facts.checks.items():
        yield from _document("healthCheck", short(path), f"tier {facts.tier}, health check {short(path)}", check)
    for path, template in facts.templates.items():
        where = f"tier {facts.tier}, instance template {short(path)}"
        yield from _document("instanceTemplate", short(path), where, template)


def _document(
    kind: str, name: str, where: str, resource: Resource | None, more: Mapping[str, str] = NOTHING_MORE
) -> Iterator[GoogleFile]:
    """`more`: what the address of the resource says of it."""
    if resource is not None:
        for root in parse(json.dumps({"name": name, **more, **resource}), where):
            assert isinstance(root, Map)
            yield GoogleFile(where, (GoogleNode("api", kind, name, root),))


def _diagnosis(facts: TierFacts, rule: Rule, finding: Finding) -> Diagnosis:
    note = rule.severity is RuleSeverity.NOTE or rule.id in IN_NO_ROLL
    return Diagnosis(
        rule.id,
        Severity.NOTE if note else Severity.WARNING,
        finding.place.file,
        finding.what,
        f"{finding.get.value}: {finding.consequence}",
        f"{finding.post.value}: {finding.consequence}",
        finding.fix,
    )
