"""`health` of a tier: what its instances are asked, how often, and what routers do while too few are ready."""

from __future__ import annotations

from math import ceil
from typing import Annotated, Self

from pydantic import Field, model_validator

from changeover.model.config_model import ConfigModel
from changeover.model.probe import RequestHeaders, RequestPath, Statuses
from changeover.model.readiness import Readiness
from changeover.model.units import Percent, Seconds

LONGEST_CHECK = 65535
"""Seconds that Kong takes for an interval or a timeout of its checks."""
MOST_CHECKS = 255
"""Checks in a row that Kong can count."""
AT_REST = 1.0
"""Seconds between two checks of an instance at rest, over all routers that check."""
LONGEST_PAUSE = 4.0
"""Seconds between two checks of one router at most, however many there are: an instance that hangs must be noticed."""
QUICK = 0.25
"""Seconds to the next check of an instance that failed one, or is not healthy yet."""
STEADY = 0.5
"""Seconds between two checks of what cannot check sooner after a failure: Kong, and the controller while it rolls."""
QUESTION = ("path", "status", "headers", "body", "tcp")
"""The keys that say what an instance is asked."""


class HealthQuestion(ConfigModel):
    """What an instance is asked."""

    path: RequestPath | None = Field(
        None,
        description="Of a tier of kind app: the path at which an instance that may get traffic answers a GET. The "
        "controller and the tier's routers ask there. None: `/readyz`.",
    )
    status: Annotated[Statuses, Field(min_length=1)] = Field(
        (200,), description="Of a tier of kind app: the status of that answer, or a list of statuses."
    )
    headers: RequestHeaders = Field(
        {},
        repr=False,
        description="Of a tier of kind app: headers of that GET, such as `{Host: shop.example}`. No message shows "
        "their values.",
    )
    body: str = Field(
        "",
        max_length=256,
        pattern=r"^[^\x00-\x1f\x7f]*$",
        description="Of a tier of kind app: a text that the body of that answer must contain, within its first 8 kB.",
    )
    tcp: bool = Field(
        False,
        description="Of a tier of kind app: an instance that accepts connections may get traffic, for servers without "
        "a path of readiness. Nothing is asked, so nothing is in their logs.",
    )

    @model_validator(mode="after")
    def _is_one_question(self) -> Self:
        given = [key for key in QUESTION if key in self.model_fields_set and key != "tcp"]
        if self.tcp and given:
            raise ValueError(f"with `tcp: true` nothing is asked, so {given[0]} has no meaning: remove one of them")
        return self

    def question(self, path: str) -> Readiness:
        """What an instance is asked; `path`: where it answers unless this names another path."""
        return Readiness(self.path or path, self.status, self.headers, self.body, self.tcp)


class Health(HealthQuestion):
    """How a load balancer asks whether an instance may get traffic."""

    interval: Seconds | None = Field(
        None,
        gt=0,
        le=LONGEST_CHECK,
        description="Time between two checks of one instance by one router, always the same. None: an instance at rest "
        "is checked once a second. Where several Envoys or HAProxys check it, each does so once in as many seconds, at "
        "most 4. The next check of an instance that failed one, or that is not healthy yet, follows after 250 ms. Kong "
        "checks every 500 ms.",
    )
    timeout: Seconds = Field(
        2.0,
        gt=0,
        le=LONGEST_CHECK,
        description="An answer later than this counts as a failure, at load balancers and at the controller.",
    )
    rise: int = Field(1, ge=1, le=MOST_CHECKS, description="Successes in a row before an instance counts as healthy.")
    fall: int = Field(2, ge=1, le=MOST_CHECKS, description="Failures in a row before it counts as unhealthy.")
    panic: Percent = Field(
        1,
        description="While fewer than this percentage of the instances are ready, requests also go to instances that "
        "are not ready and still accept connections. `1%`: while none is; the other choice is then 503 for every "
        "request. `0%`: never. Kong cannot do it, and answers 503.",
    )

    def pause(self, routers: int) -> float:
        """Seconds between two checks of a healthy instance by one of so many routers."""
        return min(AT_REST * routers, LONGEST_PAUSE) if self.interval is None else self.interval

    @property
    def quick(self) -> float:
        """Seconds to the next check of an instance that failed one, or is not healthy yet."""
        return QUICK if self.interval is None else self.interval

    @property
    def steady(self) -> float:
        """Seconds between two checks of what cannot check sooner after a failure."""
        return STEADY if self.interval is None else self.interval

    def panics_below(self, size: int) -> int:
        """Fewest ready instances with which requests go to ready ones alone; 0: always."""
        return ceil(size * self.panic / 100)
