"""How an update replaces the instances of a tier: `update` of the chain file.

Rules within it are validators here. What a key means for a running rollout is decided in `rollout/tier`.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from changeover.model.config_model import ConfigModel, ListenAddress, Name
from changeover.model.units import Count, Seconds

Strategy = Literal["rolling", "canary", "blue-green"]


class Step(ConfigModel):
    """One step of a canary: exactly one of the three."""

    set_weight: int | None = Field(
        None,
        ge=1,
        le=100,
        description="Percent of the traffic for the new template; of the instances if its router cannot weigh.",
    )
    pause: Seconds | Literal["until-promoted"] | None = Field(
        None, description="Stay for a time, or `until-promoted`: until `changeover promote`."
    )
    analyse: Seconds | None = Field(
        None,
        gt=0,
        description="Stay while the guard samples, and go on when it has passed; pause after this time.",
    )

    @model_validator(mode="after")
    def _is_one_thing(self) -> Self:
        if sum(value is not None for value in (self.set_weight, self.pause, self.analyse)) != 1:
            raise ValueError("a step is exactly one of set_weight, pause and analyse")
        return self


def _shares_rise(steps: tuple[Step, ...]) -> tuple[Step, ...]:
    """A canary goes forward, step by step: only an undo takes traffic back, and it drains."""
    highest = 0
    for number, step in enumerate(steps, start=1):
        if (share := step.set_weight) is not None:
            if share < highest:
                raise ValueError(
                    f"step {number} falls to {share} % from {highest} %: shares may only rise. Put the steps in order; "
                    "traffic goes back with `changeover abort`"
                )
            highest = share
    return steps


_STEPS = (Step(set_weight=10), Step(pause="30s"), Step(set_weight=50), Step(pause="30s"))


class Update(ConfigModel):
    """How an update replaces instances. Draining instances count as existing: surge is a true ceiling."""

    strategy: Strategy = Field(
        "rolling", description="`rolling`: batch by batch; `canary`: in steps; `blue-green`: all at once, and back."
    )
    steps: Annotated[tuple[Step, ...], AfterValidator(_shares_rise)] = Field(
        _STEPS, description="Of a canary, with shares that rise; after the last one the rest is rolled."
    )
    baseline: Literal["serving", "fresh"] = Field(
        "serving",
        description="Of a canary: the instances that `against_baseline` compares it with. `serving`: the old ones that "
        "serve; `fresh`: as many new ones of the old template, created with the canary in place of the oldest. A "
        "canary two minutes old is slower than instances two weeks old because it is young.",
    )
    bake: Seconds = Field(
        30.0,
        description="Of blue-green: how long the old instances stay ready after the switch, for an instant undo. Their "
        "drain deadline counts from the end of that time.",
    )
    switch: Literal["when-ready", "when-promoted"] = Field(
        "when-ready",
        description="Of blue-green: all traffic moves as soon as the new instances are ready, or waits for "
        "`changeover promote`.",
    )
    preview: ListenAddress | None = Field(
        None,
        description="Of blue-green: address of the new instances before the switch; after it, no instance answers "
        "there. Port 0 takes any free one; `status` shows it. It listens from `up` on.",
    )
    guard: tuple[Name, ...] = Field(
        (),
        description="Guards that watch every rollout of the tier, and decide its `analyse` steps: of `guards`, or the "
        "shipped ones, `no-broken-requests` and, of the last tier alone, `latency-not-worse`.",
    )
    order: Literal["age", "in-flight"] = Field(
        "age", description="Which instance leaves first: the oldest, or the one with least in flight."
    )
    max_surge: Count = Field(1, description="Instances above `size`; a percentage is rounded up.")
    max_unavailable: Count = Field(0, description="Serving instances below `size`; a percentage is rounded down.")
    min_ready: Seconds = Field(1.0, description="How long an instance must stay ready before it gets traffic.")
    watch: Seconds | None = Field(
        None,
        description="How long all new instances must have served before a rollout is complete. Each one that dies is "
        "replaced and begins the time anew; when too many die, the rollout is undone. After a death, no old instance "
        "leaves before the newest one has served for as long. None: the longest drain of the rollout, at least five "
        "times `min_ready` and at most `progress_deadline`: a version that dies at the end of its longest requests "
        "shows it in no shorter time. With a guard, also as long as that needs for a sample. `plan` counts it.",
    )
    abandoned: Literal["resume", "undo", "wait"] = Field(
        "wait",
        description="What the keeper does with a rollout whose controller has ended. `resume`: it carries the rollout "
        "on; `undo`: it takes the rollout back; `wait`: the rollout stays at its step, dead instances are replaced, "
        "and an operator decides. The default is `wait`, because Ctrl-C, a cancelled CI job and a machine that lost "
        "power look the same to the keeper. A release goes the most careful way that its tiers name.",
    )
    progress_deadline: Seconds = Field(
        60.0,
        gt=0,
        description="An instance that does not serve after this long is replaced. If no other instance began to serve "
        "in that time either, the rollout is undone. Drains do not count. On Google Cloud the default is 10 minutes.",
    )
    count_deleting: bool = Field(
        False,
        description="On Google Cloud: whether a VM that is being deleted counts as existing. `false`: it was confirmed "
        "empty, and the next one is created while Google deletes it, which takes as long as the drain time of its "
        "backend services and more.",
    )
