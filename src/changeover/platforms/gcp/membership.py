"""What backend services say about an instance, as the engine needs it. Pure.

A balancer of Google takes an instance in when its health check passes, and out when it fails; nothing else does. So
`removed` needs three things at once: the agent answers that the instance is lame duck, every service has found it
unhealthy for as long as its proxies may take to follow, and each has another one that is healthy. With none healthy, a
balancer may send requests to all. What a service does not list is not known, because `getHealth` may be behind.

An agent that does not answer is no lame duck and no reason to wait for ever: its VM is out once every service has found
it unhealthy for `SILENT`. What it has in flight stays unknown.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from changeover.ports import Membership

Health = Mapping[str, tuple[str, ...]]
"""Name -> states, one for each port."""
HEALTHY = "HEALTHY"
SILENT = 30.0
"""Seconds: longer than an agent takes to start again, and than a live migration."""


@dataclass(frozen=True)
class Seen:
    """One look at an instance. `lame`: the agent's answer; None: it did not answer. `exists`: its group has it."""

    exists: bool
    lame: bool | None
    unhealthy_for: float
    """Seconds since a look found it unhealthy in every service while its agent did not deny that it was lame duck, as
    each look since has; 0: the last one did not."""


class ServiceAnswer(NamedTuple):
    """What a service says of all instances. `serves`: it finds one healthy, found out once for all that are judged."""

    service: str
    answer: Health | str | None
    """A text: why it did not answer; None: the group of the instances is no backend of it."""
    serves: bool

    @classmethod
    def of(cls, service: str, answer: Health | str | None) -> ServiceAnswer:
        states = () if answer is None or isinstance(answer, str) else answer.values()
        return cls(service, answer, any(its and all(one == HEALTHY for one in its) for its in states))


def judge(name: str, seen: Seen, services: Sequence[ServiceAnswer], propagation: float) -> tuple[Membership, bool]:
    """What the services do with it, and whether this look found it lame duck and unhealthy in all of them.

    `propagation`: seconds until proxies follow that.
    """
    if not seen.exists or (services and all(one.answer is None for one in services)):
        return Membership(admitted=False, removed=True), False
    open_questions, healthy, unhealthy, alone = [], 0, 0, ""
    silent = False
    for service, answer, serves in services:
        if answer is None:
            open_questions.append(f"backend service {service}, which does not have its group")
            unhealthy += 1
            continue
        if isinstance(answer, str):
            open_questions.append(answer)
            silent = True
            continue
        states = answer.get(name, ())
        if not states:
            what = "lists no instance of the group" if not answer else f"does not list {name} yet"
            open_questions.append(f"backend service {service}, which {what}")
        elif all(state == HEALTHY for state in states):
            healthy += 1
        elif HEALTHY not in states:
            unhealthy += 1
            alone = alone or ("" if serves else service)
    if services and healthy == len(services):
        return Membership(admitted=True, removed=False, pending="its backend services, which find it healthy"), False
    out = unhealthy == len(services) and seen.lame is not False
    settled = propagation if seen.lame else max(propagation, SILENT)
    if out and alone:
        pending = f"backend service {alone}, in which no other instance is healthy: it may send requests to all"
        return Membership(admitted=False, removed=False, pending=pending), False
    if out and seen.unhealthy_for and seen.unhealthy_for >= settled:
        return Membership(admitted=False, removed=True), True
    if seen.lame is None:
        open_questions.append("its agent, which does not answer")
        silent = True
    pending = next(iter(open_questions), "its backend services, whose health checks have not settled")
    return Membership(admitted=False, removed=False, pending=pending, silent=silent), out
