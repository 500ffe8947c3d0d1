"""Guards of a chain file: the conditions under which a rollout may continue.

A condition samples one measure of one source. It has either a maximum (`at_most`) or a comparison with the baseline
(`against_baseline`), not both. The validators here are the only home of rules across keys. `rollout/guard/` evaluates
the samples.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from math import ceil, comb
from string import Template
from types import MappingProxyType
from typing import Literal, Self

from pydantic import Field, model_validator

from changeover.model.config_model import WRITE_ONLY, ConfigModel, Name
from changeover.model.units import Seconds

Source = Literal["probe", "prometheus", "router"]
Measure = Literal["broken_requests", "error_ratio", "latency", "query"]

MEASURES: Mapping[Source, tuple[Measure, ...]] = MappingProxyType(
    {
        "probe": ("broken_requests", "error_ratio", "latency"),
        "prometheus": ("query",),
        "router": ("broken_requests", "error_ratio"),
    }
)
"""The measures of each source."""

PLACEHOLDERS: Mapping[str, str] = MappingProxyType(
    {
        "instances": "regular expression that matches the names of the instances",
        "addresses": "regular expression that matches their addresses, host:port",
        "template": "the template of these instances",
        "interval": "the condition's interval in PromQL's notation, such as 5000ms",
    }
)
"""The placeholders of a `query`, written `$instances` or `${instances}`."""

LEAST_REQUESTS = 20
"""Least requests of one side in one interval for a share or a percentile of them."""


class Prometheus(ConfigModel):
    """Where PromQL is answered: Prometheus itself, or anything that speaks its HTTP API."""

    url: str = Field(
        pattern=r"^https?://",
        repr=False,
        json_schema_extra=WRITE_ONLY,
        description="Base address, such as http://127.0.0.1:9090, without /api/v1.",
    )
    timeout: Seconds = Field(
        5.0, gt=0, description="A later answer is none. Well below usual intervals, so that queries never pile up."
    )
    bearer_token_file: str = Field(
        "", description="File whose content is sent as bearer token; read anew every time, as tokens are rotated."
    )


class Condition(ConfigModel):
    """One measure, sampled every `interval` until `count` samples exist."""

    name: Name = Field(description="The condition's name in reports, unique in its guard.")
    source: Source = Field(
        description="Where the samples come from: the probe's ledger, Prometheus, or the tier's routers."
    )
    measure: Measure = Field(
        description="`broken_requests`: requests of any instance that failed since the step began. `error_ratio`: "
        "share of the canary's requests in the last interval that failed, from 0 to 1. `latency`: a percentile of the "
        "canary's GET latency in the last interval, in ms. `query`: the result of the PromQL query. The probe "
        "identifies instances by a response header of the last tier, or its old and new ones by the version that "
        "responses name, so its `error_ratio` and `latency` work for that tier only."
    )
    percentile: float = Field(
        90.0,
        gt=0,
        lt=100,
        description="For `latency`, in percent. 90 rises as soon as one request in ten is slow, and is stable with the "
        "few dozen requests of an interval; 99 needs a hundred requests.",
    )
    query: str = Field(
        "",
        description="PromQL with one number as its result; more is worse. "
        + ", ".join(f"`${name}`: {what}" for name, what in PLACEHOLDERS.items())
        + ". Append `or vector(0)` if no series means zero; no target left to scrape then means zero as well.",
    )
    at_most: float | None = Field(
        None, allow_inf_nan=False, description="A sample above this is bad. In the unit of the measure."
    )
    against_baseline: bool = Field(
        False,
        description="Compare the canary with instances of the old template: Mann-Whitney and signed ranks, with one "
        "value for each side and interval. Requests of the same moment share the same conditions, and counting each "
        "as evidence would raise false alarms.",
    )
    alpha: float = Field(
        0.01,
        gt=0,
        le=0.2,
        description="Largest share of healthy canaries that the comparison reports as worse, over all looks of a round "
        "together (the last look has half of it). One in a hundred, one-sided, as in Kayenta (98 %).",
    )
    worse_by: float = Field(
        1.25,
        gt=1,
        description="Least ratio of canary to baseline that counts, between medians (`error_ratio`: means). No two "
        "instances are equal, and with enough samples the smallest difference is significant.",
    )
    margin: float = Field(
        0.0,
        ge=0,
        description="Least difference that counts, in the unit of the measure: 2 ms instead of 1 ms is twice as slow, "
        "but no user notices. 0: only the ratio decides.",
    )
    interval: Seconds = Field(
        5.0,
        gt=0,
        description="Time between two samples, and the time that each covers. 5 s contain 75 requests to a canary with "
        "5 % of the probe's 300 per second; with fewer than `min_requests` the sample is missing.",
    )
    count: int = Field(
        10,
        ge=1,
        le=1000,
        description="Samples of a round. Ten detect a canary that is 1.5 times as slow in 95 of 100 simulations.",
    )
    failure_limit: int = Field(
        0,
        ge=0,
        description="Bad samples that a round tolerates; with one more the condition fails. A share just below its "
        "threshold sometimes exceeds it by chance; tolerating one bad sample makes that failure rare.",
    )
    missing_limit: int = Field(
        3,
        ge=0,
        description="Missing samples that a round tolerates; with one more the condition is inconclusive. A restart of "
        "the source costs one or two samples.",
    )
    min_requests: int | None = Field(
        None,
        ge=1,
        description="Least requests of one side in one interval; with fewer, the sample is missing. Unset: so many "
        f"that no single request decides, at least {LEAST_REQUESTS}.",
    )
    initial_delay: Seconds = Field(
        2.0,
        description="Time from the start of the step to its first interval, for cold caches and the delay of the "
        "source (the probe writes its ledger once a second; Prometheus must scrape first). Broken requests count "
        "from the start of the step.",
    )
    dry_run: bool = Field(False, description="Sample and report, without any effect on the rollout.")

    @property
    def requests_needed(self) -> int:
        """`min_requests`, or the least number with which no single request decides a sample."""
        if self.min_requests is not None:
            return self.min_requests
        needed = LEAST_REQUESTS
        if self.measure == "latency":
            needed = max(needed, ceil(100 / (100 - self.percentile)))
        if self.measure == "error_ratio" and self.at_most:
            needed = max(needed, ceil(1 / self.at_most))
        return needed

    @cached_property
    def first_look(self) -> int | None:
        """Samples of each side that the first comparison needs; None if `count` is too small."""
        # The smallest possible p: every value of one side above the other side, times two for two tests.
        enough = (n for n in range(2, self.count + 1) if 2 / comb(2 * n, n) <= self._alpha_from(n, n))
        return next(enough, None)

    def alpha_of(self, look: int) -> float:
        """The part of `alpha` for the look at `look` samples: half for the last look, the rest shared by the others."""
        return self._alpha_from(self.first_look or self.count, look)

    def _alpha_from(self, first: int, look: int) -> float:
        return self.alpha / 2 if look == self.count else self.alpha / 2 / (self.count - first)

    @property
    def known_after(self) -> float:
        """Seconds after which it has a sample, or so many missing ones that it pauses the rollout.

        0 for a comparison: at the end of a rollout there is nothing left to compare with.
        """
        if self.dry_run or self.against_baseline:
            return 0.0
        return self.initial_delay + (self.missing_limit + 1) * self.interval

    @property
    def asks_for_names(self) -> bool:
        """Whether the condition needs a tier whose instances name themselves in responses. Only the last tier of a
        chain does: the other tiers forward its responses."""
        return self.source == "probe" and self.measure != "broken_requests"

    @model_validator(mode="after")
    def _has_one_check(self) -> Self:
        if self.measure not in MEASURES[self.source]:
            known = ", ".join(MEASURES[self.source])
            raise ValueError(f"{self.source} cannot measure {self.measure}. It can: {known}")
        if (self.at_most is None) is not self.against_baseline:
            both = "both are" if self.against_baseline else "neither is"
            raise ValueError(
                f"a condition has either at_most or against_baseline, and {both} given. Two checks need two conditions"
            )
        if self.against_baseline and self.measure == "broken_requests":
            raise ValueError("broken_requests is a count and cannot be compared; use error_ratio with against_baseline")
        return self

    @property
    def selects_by_template_alone(self) -> bool:
        """Whether its query gives two instances of one template the same number."""
        used = set(Template(self.query).get_identifiers())
        return "template" in used and not used & {"instances", "addresses"}

    @model_validator(mode="after")
    def _query_matches_measure(self) -> Self:
        if (self.measure == "query") is not bool(self.query.strip()):
            raise ValueError(
                "measure query needs the key query"
                if self.measure == "query"
                else f"measure {self.measure} has no query"
            )
        used = set(Template(self.query).get_identifiers())
        if unknown := sorted(used - set(PLACEHOLDERS)):
            known = ", ".join(f"${name}" for name in PLACEHOLDERS)
            raise ValueError(f"${unknown[0]} is not a placeholder of a query. There are: {known}")
        if self.query and self.against_baseline and not used & {"instances", "addresses", "template"}:
            raise ValueError(
                "the query selects no instances, so canary and baseline would be the same. "
                "Use $instances, $addresses or $template"
            )
        return self

    @model_validator(mode="after")
    def _can_reach_a_verdict(self) -> Self:
        if self.against_baseline and self.first_look is None:
            raise ValueError(
                f"{self.count} samples are too few for a comparison with alpha {self.alpha:g}; increase count"
            )
        if (
            self.measure == "error_ratio"
            and self.at_most
            and self.min_requests is not None
            and self.min_requests * self.at_most < 1
        ):
            raise ValueError(
                f"one broken request of {self.min_requests} exceeds at_most {self.at_most:g}. Increase min_requests, "
                "or use broken_requests"
            )
        return self


class Guard(ConfigModel):
    """Conditions that must all hold, under one name."""

    name: Name = Field(description="The guard's name in `update.guard` and in reports.")
    conditions: tuple[Condition, ...] = Field(min_length=1, description="All of them must hold.")

    @property
    def known_after(self) -> float:
        """Seconds after which each of its conditions has a sample, or pauses the rollout."""
        return max(condition.known_after for condition in self.conditions)

    @model_validator(mode="after")
    def _names_are_unique(self) -> Self:
        names = [condition.name for condition in self.conditions]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"two conditions of guard {self.name} are named {twice[0]}; each needs its own name")
        return self


NO_BROKEN_REQUESTS = Guard(
    name="no-broken-requests",
    conditions=(
        Condition(name="broken", source="probe", measure="broken_requests", at_most=0, interval="1s", count=10),
    ),
)
"""No request of the probe may fail, on any instance. Sampled every second, since a failure is in the ledger at once."""

LATENCY_NOT_WORSE = Guard(
    name="latency-not-worse",
    conditions=(Condition(name="p90", source="probe", measure="latency", against_baseline=True, margin=5.0),),
)
"""The canary's p90 exceeds the baseline's by less than a quarter or by less than 5 ms: on a busy machine, two instances
of one template differ as much."""

SHIPPED: Mapping[str, Guard] = MappingProxyType(
    {guard.name: guard for guard in (NO_BROKEN_REQUESTS, LATENCY_NOT_WORSE)}
)
"""The guards that every chain can name."""


def known_guards(own: Iterable[Guard] = ()) -> dict[str, Guard]:
    """The shipped guards and a chain's own, by name. Raises ValueError, for a validator of the chain file."""
    known = dict(SHIPPED)
    for guard in own:
        if guard.name in SHIPPED:
            raise ValueError(f"guard {guard.name} is built in and cannot be changed; give yours another name")
        if guard.name in known:
            raise ValueError(f"two guards are named {guard.name}; each needs its own name")
        known[guard.name] = guard
    return known


def resolve(names: Iterable[str], own: Iterable[Guard] = ()) -> tuple[Guard, ...]:
    """The guards of these names. Raises ValueError, for a validator of the chain file."""
    known = known_guards(own)
    found = []
    for name in names:
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            hint = f"Did you mean {close[0]}? " if close else ""
            raise ValueError(f"no guard is called {name}. {hint}There are: {', '.join(sorted(known))}")
        found.append(known[name])
    return tuple(found)


@dataclass(frozen=True)
class RequestCounts:
    """A router's counters of the finished requests that it sent to one instance."""

    ok: int
    broken: int
    """Finished with 5xx or without a response, including those that the router then retried on another instance."""

    @property
    def ended(self) -> int:
        return self.ok + self.broken
