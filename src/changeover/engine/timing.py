"""How often the engine looks, and how long it waits. Passed in with the runtime, so that tests give other numbers."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class EngineTiming:
    """In seconds, except `drop_looks`."""

    busy_look: float = 0.03
    """Between two looks at a tier in which something is to happen: it bounds the time from an instance's last request
    to its stop."""
    first_look: float = 0.002
    """Between a command and the first look for its effect. Each further pause is a quarter of the wait so far, and
    `busy_look` at most."""
    last_look: float = 0.01
    """Between the first look that finds a draining instance empty and the next one, which must confirm it."""
    resting_look: float = 0.5
    """Between two looks at a resting tier: an instance that died is noticed within this time, at little cost."""
    serving_look: float = 0.25
    """Between two readiness checks of a serving instance while a controller runs, or `health.interval` if that is
    longer. To check all of them at every look would slow down the looks at instances that drain."""
    starting_look: float = 0.1
    """Between two readiness checks of an instance that starts: more often would only fill its log."""
    kernel_look: float = 0.1
    """Between two looks at the connections of an instance while it has some: the kernel goes through all connections
    of the machine, which takes milliseconds."""
    log_look: float = 1.0
    """Between two looks at the log of an instance that is not ready: a message shows its end."""
    request_look: float = 0.1
    """Between two looks for requests of other commands: operators do not notice less."""
    guard_look: float = 0.2
    """Between two looks for a rollout to guard, and for a condition that is due."""
    settle_look: float = 0.05
    """Between two questions to the routers of an instance that died: they see its connections end one by one."""
    settled_after: float = 1.0
    """Until what they still hold open counts as unknown."""
    preview_look: float = 0.2
    """Between two looks at which instances a preview shows."""
    unconfirmed_after: float = 3.0
    """Without a confirmation until the operator is warned, and between two such warnings: routers confirm in one
    second or two."""
    drop_looks: int = 20
    """Looks, at the end, until a router that still holds sessions of a gone instance is left to its list."""
