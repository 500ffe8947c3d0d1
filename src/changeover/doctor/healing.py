"""Autohealing: a VM that it creates anew is not drained, so it must not ask what a lame duck answers with 503."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from changeover.doctor.diagnosis import Diagnosis, Severity
from changeover.doctor.facts import GroupFacts, TierFacts, below_project, check_flag, part, short

READY = "/readyz"
ALIVE = "/livez"
HTTP_CHECKS = ("httpHealthCheck", "httpsHealthCheck", "http2HealthCheck")


def check(facts: TierFacts) -> Iterator[Diagnosis]:
    if facts.group is None:
        return
    update = _update(facts)
    policies = part(facts.group, "autoHealingPolicies", ())
    paths = _paths(facts)
    if not paths:
        yield Diagnosis(
            "healing-missing",
            Severity.NOTE,
            facts.where,
            "there is no autohealing with a health check: only a VM that stops is replaced",
            "error for as long as a VM hangs: the load balancer leaves it out, and nothing replaces it",
            "cut where the VM hangs; the next attempt of the client arrives elsewhere",
            f"{update} --health-check=HEALTH_CHECK --initial-delay=300",
        )
        return
    if not _repairs(facts):
        return
    shared = _shared(facts)
    for path in paths:
        if path in shared:
            continue
        found = facts.checks.get(path)
        kind = part(found, "type")
        at_agent = any(part(found, f"{key}.port") == facts.agent_port for key in HTTP_CHECKS)
        if at_agent and kind != facts.agent_scheme.upper():
            yield Diagnosis(
                "check-never-passes",
                Severity.FATAL,
                facts.where,
                f"the health check of autohealing, {short(path)}, is {kind}, and the agents speak "
                f"{facts.agent_scheme.upper()}",
                "error: the group creates every VM anew, again and again",
                "cut: every upload on the VMs",
                _cure(facts, path),
            )
        elif asked_path(found) == READY:
            yield _shares(facts, path, f"the health check of autohealing, {short(path)}, asks {READY}")
    if any(int(part(one, "initialDelaySec", 0)) == 0 for one in policies):
        yield Diagnosis(
            "healing-without-delay",
            Severity.WARNING,
            facts.where,
            "initialDelaySec of autohealing is 0: a VM that still boots counts as broken",
            "ok: it serves nothing yet; but the roll waits for VMs that are created again and again",
            "ok: it serves nothing yet",
            f"{update} --initial-delay=300",
        )


def check_shared(facts: GroupFacts) -> Iterator[Diagnosis]:
    """Whether a backend service has the very health check of autohealing."""
    for path, service in _shared(facts).items() if _repairs(facts) else ():
        read = f"autohealing and backend service {service} have the same health check, {short(path)}"
        yield _shares(facts, path, read)


def _shares(facts: GroupFacts, path: str, read: str) -> Diagnosis:
    return Diagnosis(
        "healing-shares-check",
        Severity.FATAL,
        facts.where,
        f"{read}: a lame duck fails it, and the group creates the VM anew without a drain",
        "error: requests on the VM end with it",
        "cut: every upload on the VM",
        _cure(facts, path),
    )


def _paths(facts: GroupFacts) -> list[str]:
    policies = part(facts.group, "autoHealingPolicies", ())
    return [below_project(link) for one in policies if (link := part(one, "healthCheck"))]


def _shared(facts: GroupFacts) -> Mapping[str, str]:
    """Health checks of autohealing -> the backend service that has the same one."""
    paths = _paths(facts)
    return {
        path: name
        for name, service in facts.present()
        for link in part(service, "healthChecks", ())
        if (path := below_project(link)) in paths
    }


def _cure(facts: GroupFacts, path: str) -> str:
    """The commands that give autohealing a health check of its own. `path`: of the one that it has."""
    group = facts.group_name
    return (
        f"gcloud compute health-checks create {facts.agent_scheme} {group}-alive {check_flag(path)} "
        f"--port={facts.agent_port} --request-path={ALIVE} && {_update(facts)} --health-check={group}-alive"
    )


def _update(facts: GroupFacts) -> str:
    return f"gcloud compute instance-groups managed update {facts.group_name} {facts.place}"


def _repairs(facts: GroupFacts) -> bool:
    """Whether the group creates a VM anew whose health check fails."""
    policy = "instanceLifecyclePolicy"
    on_failure = part(facts.group, f"{policy}.onFailedHealthCheck", "DEFAULT_ACTION")
    if on_failure == "DEFAULT_ACTION":
        on_failure = part(facts.group, f"{policy}.defaultActionOnFailure", "REPAIR")
    return bool(on_failure == "REPAIR")


def asked_path(check: object) -> str | None:
    """The path that a health check of HTTP asks; None: it is of another kind."""
    for kind in HTTP_CHECKS:
        if (found := part({"of": check}, f"of.{kind}")) is not None:
            return str(part(found, "requestPath", "/"))
    return None
