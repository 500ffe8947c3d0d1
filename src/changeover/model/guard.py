"""Guards: the conditions under which a rollout may go on, as a chain file names them.

A condition asks one question of one source: a number that must not be exceeded (`at_most`), or a canary that must
not be worse than its baseline (`against_baseline`). Two questions are two conditions. Cross-field rules live in the
validators here and nowhere else; what a sample comes to is decided in `rollout/guard.py`.
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

from changeover.model.config_model import ConfigModel, Name
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
"""What each source can tell."""

PLACEHOLDERS: Mapping[str, str] = MappingProxyType(
    {
        "instances": "regular expression of the names of the instances asked about",
        "addresses": "regular expression of their addresses, host:port",
        "template": "the template they were made from",
        "interval": "the condition's interval as PromQL writes it, such as 5000ms",
    }
)
"""What stands for what in a `query`, written `$instances` or `${instances}`."""

LEAST_REQUESTS = 20
"""Requests of one side in one interval below which no share and no percentile of them is taken for a fact."""


class Prometheus(ConfigModel):
    """Where PromQL is answered: Prometheus itself, or anything that speaks its HTTP API."""

    url: str = Field(pattern=r"^https?://", description="Base address, such as http://127.0.0.1:9090; no /api/v1.")
    timeout: Seconds = Field(
        5.0, gt=0, description="A later answer is none. Well below usual intervals, so that queries never pile up."
    )
    bearer_token_file: str = Field(
        "", description="File whose content is sent as bearer token; read anew every time, as tokens are rotated."
    )


class Condition(ConfigModel):
    """One question, asked every `interval` until `count` samples were taken."""

    name: Name = Field(description="By which reports tell it from the guard's other conditions.")
    source: Source = Field(description="Who is asked: the probe's ledger, Prometheus, or the tier's routers.")
    measure: Measure = Field(
        description="`broken_requests`: how many broke since the step began, whoever broke them. `error_ratio`: the "
        "share of the canary's requests in the last interval that broke, from 0 to 1. `latency`: a percentile of the "
        "canary's answers to GET in the last interval, in ms. `query`: what the PromQL query says. The probe tells one "
        "instance from another by the answers' names, so its `error_ratio` and `latency` are for the last tier alone."
    )
    percentile: float = Field(
        90.0,
        gt=0,
        lt=100,
        description="Of `latency`, in percent. 90 moves as soon as one request in ten is slow, and is steady over the "
        "few dozen requests an interval may have; 99 needs a hundred.",
    )
    query: str = Field(
        "",
        description="PromQL that comes to one number, of which more is worse. "
        + ", ".join(f"`${name}`: {what}" for name, what in PLACEHOLDERS.items())
        + ". `... or vector(0)` says that no series means zero, also when nobody is left to be scraped.",
    )
    at_most: float | None = Field(
        None, allow_inf_nan=False, description="A sample above this is a bad one. In the unit of what is measured."
    )
    against_baseline: bool = Field(
        False,
        description="Compare the canary with instances of the old template, by Mann-Whitney and by signed ranks, over "
        "one value for each side and interval. Requests of one moment share its luck, and counting each as evidence "
        "would raise alarms over nothing.",
    )
    alpha: float = Field(
        0.01,
        gt=0,
        le=0.2,
        description="Of this share of healthy canaries at most is a difference found where there is none, over all "
        "looks of one round together (half of it is for the last look). One in a hundred, one-sided: Kayenta's 98 %.",
    )
    worse_by: float = Field(
        1.25,
        gt=1,
        description="Least ratio of canary to baseline that counts, between medians (`error_ratio`: means). Two "
        "instances are never quite alike, and with enough samples the smallest difference is significant.",
    )
    margin: float = Field(
        0.0,
        ge=0,
        description="Least difference that counts, in the unit of what is measured: 1 ms against 2 ms is twice as "
        "slow and nobody notices. 0: the ratio alone decides.",
    )
    interval: Seconds = Field(
        5.0,
        gt=0,
        description="Between two samples, and what each one covers. Long enough for 75 requests to a canary that gets "
        "5 % of the probe's 300 per second; fewer than `min_requests` are no sample.",
    )
    count: int = Field(
        10,
        ge=1,
        le=1000,
        description="Samples that make a round. Ten find a canary half as slow again in 95 of 100 simulated ones.",
    )
    failure_limit: int = Field(
        0,
        ge=0,
        description="Bad samples tolerated in a round; one more, and the condition has failed. A share that is usually "
        "just below its threshold is above it now and then by chance; tolerating one makes that rare.",
    )
    missing_limit: int = Field(
        3,
        ge=0,
        description="Samples that may be missing in a round; one more, and the condition is inconclusive. A restart "
        "of whoever is asked costs one or two.",
    )
    min_requests: int | None = Field(
        None,
        ge=1,
        description="Requests of one side in one interval below which a share or a percentile is missing. Unset: as "
        f"many as the measure needs so that no single one decides, at least {LEAST_REQUESTS}.",
    )
    initial_delay: Seconds = Field(
        2.0,
        description="From the step's beginning to its first interval, for cold caches and the delay of whoever is "
        "asked (a ledger is written once a second; Prometheus has to scrape first). Broken requests count from the "
        "beginning all the same.",
    )
    dry_run: bool = Field(False, description="Sample and report, but decide nothing.")

    @property
    def requests_needed(self) -> int:
        """`min_requests`, or the least number with which no single request decides what comes of a sample."""
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
        """Samples of each side from which on a comparison can tell anything; None where `count` is not enough."""
        # The least p there is: one side wholly above the other, times two for two tests.
        enough = (n for n in range(2, self.count + 1) if 2 / comb(2 * n, n) <= self._alpha_from(n, n))
        return next(enough, None)

    def alpha_of(self, look: int) -> float:
        """The part of `alpha` for the look at that many samples: half for the last, the rest shared by those before."""
        return self._alpha_from(self.first_look or self.count, look)

    def _alpha_from(self, first: int, look: int) -> float:
        return self.alpha / 2 if look == self.count else self.alpha / 2 / (self.count - first)

    @property
    def asks_for_names(self) -> bool:
        """Whether it can be asked only of a tier whose instances name themselves in answers, so that the probe can tell
        them apart. Of the tiers of a chain that is the last one: the others pass on its answers."""
        return self.source == "probe" and self.measure != "broken_requests"

    @model_validator(mode="after")
    def _asks_one_question(self) -> Self:
        if self.measure not in MEASURES[self.source]:
            known = ", ".join(MEASURES[self.source])
            raise ValueError(f"{self.source} cannot measure {self.measure}. It can: {known}")
        if (self.at_most is None) is not self.against_baseline:
            both = "both are" if self.against_baseline else "neither is"
            raise ValueError(
                f"a condition has either at_most or against_baseline, and {both} given. Two questions: two conditions"
            )
        if self.against_baseline and self.measure == "broken_requests":
            raise ValueError("broken_requests is a count and not compared; take error_ratio against_baseline")
        return self

    @model_validator(mode="after")
    def _query_where_it_is_asked(self) -> Self:
        if (self.measure == "query") is not bool(self.query.strip()):
            raise ValueError(
                "measure query needs a query" if self.measure == "query" else f"{self.measure} takes no query"
            )
        used = set(Template(self.query).get_identifiers())
        if unknown := sorted(used - set(PLACEHOLDERS)):
            known = ", ".join(f"${name}" for name in PLACEHOLDERS)
            raise ValueError(f"nothing is known to stand for ${unknown[0]} in a query. There are: {known}")
        if self.query and self.against_baseline and not used & {"instances", "addresses", "template"}:
            raise ValueError(
                "the query does not say whose numbers it wants, so canary and baseline would be the same. "
                "Use $instances, $addresses or $template"
            )
        return self

    @model_validator(mode="after")
    def _can_come_to_an_end(self) -> Self:
        if self.against_baseline and self.first_look is None:
            raise ValueError(f"{self.count} samples are too few to compare at alpha {self.alpha:g}; raise count")
        if (
            self.measure == "error_ratio"
            and self.at_most
            and self.min_requests is not None
            and self.min_requests * self.at_most < 1
        ):
            raise ValueError(
                f"of {self.min_requests} requests a single broken one is more than at_most {self.at_most:g}. Raise "
                "min_requests, or take broken_requests"
            )
        return self


class Guard(ConfigModel):
    """A name for conditions that must all hold."""

    name: Name = Field(description="By which a strategy and reports refer to it.")
    conditions: tuple[Condition, ...] = Field(min_length=1, description="All of them must hold.")

    @model_validator(mode="after")
    def _names_are_unique(self) -> Self:
        names = [condition.name for condition in self.conditions]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"two conditions of guard {self.name} are named {twice[0]}; each needs a name of its own")
        return self


NO_BROKEN_REQUESTS = Guard(
    name="no-broken-requests",
    conditions=(
        Condition(name="broken", source="probe", measure="broken_requests", at_most=0, interval="1s", count=10),
    ),
)
"""Not one request of the probe may break, whoever broke it. Every second, since a loss is in the ledger at once."""

LATENCY_NOT_WORSE = Guard(
    name="latency-not-worse",
    conditions=(Condition(name="p90", source="probe", measure="latency", against_baseline=True, margin=5.0),),
)
"""The canary's p90 is not worse than the baseline's by a quarter and 5 ms: below that, a busy machine does as much to
two instances of one template."""

SHIPPED: Mapping[str, Guard] = MappingProxyType(
    {guard.name: guard for guard in (NO_BROKEN_REQUESTS, LATENCY_NOT_WORSE)}
)
"""Guards that every chain knows by name."""


def known_guards(own: Iterable[Guard] = ()) -> dict[str, Guard]:
    """The shipped guards and a chain's own, by name. Raises ValueError, for a validator of the chain file."""
    known = dict(SHIPPED)
    for guard in own:
        if guard.name in SHIPPED:
            raise ValueError(f"guard {guard.name} is shipped and cannot be changed; give yours another name")
        if guard.name in known:
            raise ValueError(f"two guards are named {guard.name}; each needs a name of its own")
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
    """What a router counted of the requests it sent to one instance and that have ended."""

    ok: int
    broken: int
    """Answered with 5xx, or not at all; also where the router then tried another instance and nobody noticed."""

    @property
    def ended(self) -> int:
        return self.ok + self.broken
