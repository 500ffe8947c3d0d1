"""The agents: that each VM has one that answers this controller, counts what is in flight, and has the right clock."""

from __future__ import annotations

from collections.abc import Iterator

from changeover.doctor.diagnosis import Diagnosis, Severity
from changeover.doctor.facts import AgentAnswer, TierFacts, part

CLOCKS_APART = 5.0
"""Seconds. The journal, the ledger and the logs of the VMs are compared by their times."""


def check(facts: TierFacts) -> Iterator[Diagnosis]:
    for vm, answer in facts.agents.items():
        where = f"tier {facts.tier}, VM {vm}"
        if isinstance(answer.status, str):
            yield _unreachable(facts, where, vm, answer)
        else:
            yield from _answered(facts, where, vm, answer)


def _unreachable(facts: TierFacts, where: str, vm: str, answer: AgentAnswer) -> Diagnosis:
    """Fatal, because no roll could confirm a lame duck. A VM that gets no requests is one that a roll may replace."""
    cure = answer.cure or (
        f"gcloud compute firewall-rules create changeover-agent --allow=tcp:{facts.agent_port} "
        "--source-ranges=35.191.0.0/16,130.211.0.0/22,CONTROLLER_ADDRESS/32, and on the VM: "
        "systemctl status changeover-agent"
    )
    if vm in facts.out and any(not isinstance(one.status, str) for one in facts.agents.values()):
        return Diagnosis(
            "agent-unreachable",
            Severity.WARNING,
            where,
            f"its agent at port {facts.agent_port} does not answer, and every backend service finds the VM unhealthy: "
            f"{answer.status}",
            "ok: it gets none, and a roll replaces it",
            "cut, if it still has one: its count is unknown. The policy `cut` ends its drain at the deadline, and "
            "`changeover drain` at any time",
            cure,
        )
    return Diagnosis(
        "agent-unreachable",
        Severity.FATAL,
        where,
        f"its agent at port {facts.agent_port} does not answer: {answer.status}",
        "error: without it, the load balancer cannot see a lame duck",
        "cut: without it, what is in flight is unknown, and only the deadline ends a drain",
        cure,
    )


def _answered(facts: TierFacts, where: str, vm: str, answer: AgentAnswer) -> Iterator[Diagnosis]:
    assert not isinstance(answer.status, str)
    status = answer.status
    if (kind := part(status, "kind")) != facts.kind:
        yield Diagnosis(
            "agent-of-another-kind",
            Severity.FATAL,
            where,
            f"its agent stands beside {kind or 'an unknown software'}, and the tier is of kind {facts.kind}",
            "error: the readiness of another software decides",
            "cut: the counts of another software decide",
            f"Set `kind: {facts.kind}` in /etc/changeover/agent.yaml and restart changeover-agent.",
        )
    if why := part(status, "unknown"):
        yield Diagnosis(
            "count-unknown",
            Severity.FATAL,
            where,
            f"its agent does not know what is in flight: {why}",
            "ok until the deadline of the drain; its policy decides then",
            "ok until the deadline of the drain; cut where its policy is `cut`",
            "Correct `control` and `counts_at` in /etc/changeover/agent.yaml; docs/agent.md shows them for each kind.",
        )
    if part(status, "lame_duck", False):
        yield Diagnosis(
            "lame-duck-left",
            Severity.WARNING,
            where,
            f"it is a lame duck: {part(status, 'reason', 'without a reason')}",
            "ok: other VMs carry its share",
            "ok: other VMs carry its share",
            f"curl -X PUT -H 'Authorization: Bearer TOKEN' -d '{{\"on\": false}}' {facts.agent_scheme}://{vm}:{facts.agent_port}"
            "/v1/lame-duck, if no roll is in progress",
        )
    if (apart := abs(float(part(status, "time", 0.0)) - answer.asked_at)) > CLOCKS_APART:
        yield Diagnosis(
            "clocks-apart",
            Severity.WARNING,
            where,
            f"its clock and that of the controller are {apart:.0f} s apart",
            "ok: no decision depends on it, but the times in logs cannot be compared",
            "ok: no decision depends on it, but the times in logs cannot be compared",
            "On the machine whose clock is wrong: chronyc makestep, with metadata.google.internal as its server",
        )
    if str(part(status, "metadata", "")).startswith("not"):
        yield Diagnosis(
            "notices-not-watched",
            Severity.WARNING,
            where,
            f"its agent does not see notices of preemption and stops: {part(status, 'metadata')}",
            "cut at a preemption",
            "cut at a preemption",
            "Remove `metadata: false` from /etc/changeover/agent.yaml, and let the agent reach 169.254.169.254.",
        )
