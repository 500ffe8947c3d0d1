"""The backend services: that the group is behind them, that a lame duck leaves them, and that they cut no upload."""

from __future__ import annotations

from collections.abc import Iterator

from changeover.doctor.diagnosis import Diagnosis, Severity
from changeover.doctor.facts import GroupFacts, Resource, TierFacts, below_project, check_flag, part, short
from changeover.doctor.healing import READY, asked_path

_REFUSED = "none: the roll is refused"
_HTTP = ("HTTP", "HTTPS", "HTTP2", "H2C", "GRPC")
LONGEST_DRAIN = 3600
"""Seconds: the most that a backend service drains."""


def check(facts: TierFacts) -> Iterator[Diagnosis]:
    for name, service in facts.present():
        yield from _service(facts, name, service)


def check_backends(facts: GroupFacts) -> Iterator[Diagnosis]:
    """Whether the services exist, and the group is a backend of each."""
    for name, service in facts.services.items():
        if service is None:
            if f"backend service {name}" not in facts.unread:
                yield Diagnosis(
                    "service-missing",
                    Severity.FATAL,
                    _where(facts, name),
                    f"there is no backend service {name}",
                    _REFUSED,
                    _REFUSED,
                    f"gcloud compute backend-services list --filter=name={name}",
                )
        elif facts.group is not None and not _backends(facts, service):
            yield Diagnosis(
                "group-not-behind-service",
                Severity.FATAL,
                _where(facts, name),
                f"group {facts.group_name} is not among its backends",
                _REFUSED,
                _REFUSED,
                f"gcloud compute backend-services add-backend {_backend(facts, name, service)}",
            )


def _where(facts: GroupFacts, service: str) -> str:
    return f"tier {facts.tier}, backend service {service}"


def _scope(service: Resource) -> str:
    """For gcloud."""
    return f"--region={short(region)}" if (region := part(service, "region")) else "--global"


def _backends(facts: GroupFacts, service: Resource) -> list[Resource]:
    """Those of the group."""
    group = below_project(part(facts.group, "instanceGroup", ""))
    return [one for one in part(service, "backends", ()) if below_project(part(one, "group", "")) == group]


def _backend(facts: GroupFacts, name: str, service: Resource) -> str:
    """For gcloud."""
    group = f"--instance-group={facts.group_name} --instance-group-{facts.place.removeprefix('--')}"
    return f"{name} {_scope(service)} {group}"


def _service(facts: TierFacts, name: str, service: Resource) -> Iterator[Diagnosis]:
    where, scope = _where(facts, name), _scope(service)
    update = f"gcloud compute backend-services update {name} {scope}"
    if any(float(part(one, "capacityScaler", 1.0)) == 0 for one in _backends(facts, service)):
        yield Diagnosis(
            "capacity-zero",
            Severity.FATAL,
            where,
            f"capacityScaler of group {facts.group_name} is 0: it gets no traffic, whatever its VMs answer",
            "error, if no other backend serves",
            "error, if no other backend serves",
            f"gcloud compute backend-services update-backend {_backend(facts, name, service)} --capacity-scaler=1",
        )
    yield from _drain(facts, service, where, update)
    yield from _health_check(facts, name, service, where, scope)
    persistence = part(service, "connectionTrackingPolicy.connectionPersistenceOnUnhealthyBackends")
    if persistence == "NEVER_PERSIST":
        yield Diagnosis(
            "unhealthy-backend-cuts-connections",
            Severity.FATAL,
            where,
            "connectionPersistenceOnUnhealthyBackends is NEVER_PERSIST: a lame duck loses its connections at once",
            "cut: each GET under way on the VM",
            "cut: each upload on the VM",
            f"{update} --connection-persistence-on-unhealthy-backends=DEFAULT_FOR_PROTOCOL",
        )
    if part(service, "failoverPolicy.disableConnectionDrainOnFailover", False):
        yield Diagnosis(
            "failover-cuts-connections",
            Severity.WARNING,
            where,
            "disableConnectionDrainOnFailover is true",
            "cut at a failover",
            "cut at a failover",
            f"{update} --connection-drain-on-failover",
        )


def _drain(facts: TierFacts, service: Resource, where: str, update: str) -> Iterator[Diagnosis]:
    longest = facts.load.seconds
    drain = int(part(service, "connectionDraining.drainingTimeoutSec", 0))
    wanted = min(LONGEST_DRAIN, int(longest) + 30)
    if drain < longest:
        cut = (
            f"cut where another tool, autohealing or an operator deletes the VM: it takes up to {longest:.0f} s, and "
            "no backend service drains longer than 3,600 s: let clients send it in parts"
            if longest > LONGEST_DRAIN
            else f"cut where another tool or an operator deletes the VM: it takes up to {longest:.0f} s"
        )
        yield Diagnosis(
            "drain-too-short",
            Severity.WARNING,
            where,
            f"it drains for {drain} s" if drain else "it does not drain at all (drainingTimeoutSec is 0)",
            "ok in a roll, which waits for requests first" + ("" if drain else "; else cut, when a VM is deleted"),
            f"ok in a roll, which waits for uploads first; {cut}",
            f"{update} --connection-draining-timeout={wanted}",
        )
    protocol = part(service, "protocol", "HTTP")
    timeout = int(part(service, "timeoutSec", 30))
    if protocol in _HTTP and timeout < longest:
        yield Diagnosis(
            "timeout-cuts-uploads",
            Severity.WARNING,
            where,
            f"timeoutSec is {timeout}: a response that is not complete {timeout} s after the request began is an error",
            "ok",
            f"cut without any roll: it takes up to {longest:.0f} s",
            f"{update} --timeout={int(longest) + 30}s",
        )


def _health_check(facts: TierFacts, name: str, service: Resource, where: str, scope: str) -> Iterator[Diagnosis]:
    paths = [below_project(link) for link in part(service, "healthChecks", ())]
    of = "--global-health-checks" if scope == "--global" else scope.replace("--region", "--health-checks-region")
    create = (
        f"gcloud compute health-checks create {facts.agent_scheme} {name}-ready {scope} --port={facts.agent_port} "
        f"--request-path={READY} --check-interval=5s --unhealthy-threshold=2 && "
        f"gcloud compute backend-services update {name} {scope} --health-checks={name}-ready {of}"
    )
    if not paths:
        yield _deaf(where, "it has no health check", create)
    for path in paths:
        check = facts.checks.get(path)
        if check is None:
            if path not in facts.unread:
                yield _deaf(where, f"its health check {short(path)} does not exist", create)
            continue
        asked, kind = asked_path(check), str(part(check, "type", "of another kind"))
        settings = next((part(check, key) for key in check if key.endswith("HealthCheck")), None)
        port = part(settings, "port", _named(facts, part(settings, "portName")))
        changed = f"gcloud compute health-checks update {facts.agent_scheme} {short(path)} {check_flag(path)} "
        changed += f"--port={facts.agent_port} --request-path={READY}"
        if asked is None:
            yield _deaf(where, f"its health check {short(path)} is {kind}, and asks no path", create)
        elif kind != facts.agent_scheme.upper():
            yield Diagnosis(
                "check-never-passes",
                Severity.FATAL,
                where,
                f"its health check {short(path)} is {kind}, and the agents speak {facts.agent_scheme.upper()}",
                "error: no VM is ever healthy",
                "error: no VM is ever healthy",
                create,
            )
        elif asked != READY or port != facts.agent_port:
            at = port if port is not None else "the port that serves"
            read = f"its health check {short(path)} asks {asked} at {at}, and not the agent's {READY} at "
            yield _deaf(where, f"{read}{facts.agent_port}", changed)
        leaves = int(part(check, "checkIntervalSec", 5)) * int(part(check, "unhealthyThreshold", 2))
        if leaves > 60:
            yield Diagnosis(
                "leaves-slowly",
                Severity.NOTE,
                where,
                f"its health check {short(path)} needs {leaves} s to leave a lame duck out",
                "ok: the roll takes longer",
                "ok: the roll takes longer",
                f"gcloud compute health-checks update {kind.lower()} {short(path)} {check_flag(path)} "
                "--check-interval=5s "
                "--unhealthy-threshold=2",
            )


def _named(facts: GroupFacts, name: str | None) -> int | None:
    """The port that the group gives that name."""
    ports = {part(one, "name"): part(one, "port") for one in part(facts.group, "namedPorts", ())}
    return ports.get(name)


def _deaf(where: str, read: str, cure: str) -> Diagnosis:
    return Diagnosis(
        "lame-duck-unseen",
        Severity.FATAL,
        where,
        f"{read}: it goes on sending requests to a lame duck",
        "error: the roll waits for the removal of a VM that never leaves",
        "error: the roll waits for the removal of a VM that never leaves",
        cure,
    )
