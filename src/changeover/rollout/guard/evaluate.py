"""Decides whether a rollout may go on: samples in, a verdict out, with its reason in words and numbers.

Rule 1: unknown is never good. A missing sample brings no condition nearer to passing. More missing samples than the
        condition tolerates make it inconclusive, which pauses the rollout, however good the others were.
Rule 2: a failure outranks everything, an inconclusive condition too; nothing turns inconclusive into passed.
Rule 3: the same samples give the same verdict. Time comes with them.

Refuses to know a source or a clock. The caller measures the conditions that `due` names, hands in each answer, and
reads `verdict`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from math import ceil, inf, isfinite
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal

from changeover.model.guard import Condition, Guard

if TYPE_CHECKING:
    from changeover.rollout.guard.comparison import Comparison

GuardStatus = Literal["running", "passed", "failed", "inconclusive"]
VERDICTS: Mapping[GuardStatus, str] = MappingProxyType(
    {
        "running": "takes more samples",
        "passed": "ends a step that analyses; elsewhere only allows",
        "failed": "undoes the rollout",
        "inconclusive": "pauses it, until `resume`, `promote` or `abort`",
    }
)
"""The effect of each."""
_OUTRANKING: tuple[GuardStatus, ...] = ("failed", "inconclusive")


@dataclass(frozen=True)
class Sample:
    """The answer to a condition."""

    at: float
    key: str
    """The condition, by the key that `due` gave."""
    value: float
    """The measured value; the canary's where cohorts are compared."""
    baseline: float | None = None
    """The baseline's value; needed where the condition compares."""
    at_worst: float | None = None
    """`value` if every failure without a known instance were the canary's. None: the same."""
    of: str = ""
    """The basis of the value, in words: `of 812 requests`."""


@dataclass(frozen=True)
class Missing:
    """A condition without an answer, and the reason."""

    at: float
    key: str
    why: str


Seen = Sample | Missing


@dataclass(frozen=True)
class Standing:
    """The state of one condition."""

    key: str
    state: GuardStatus
    reason: str
    dry_run: bool
    taken: int
    """Samples in this round, of `count`."""
    count: int
    bad: int
    missing: int
    value: float | None
    """The last sample, and the baseline's."""
    baseline: float | None
    p: float | None
    """Of the last comparison: the probability that chance alone explains the difference."""
    last_missing: str
    """Why there was no sample when one was last asked for; empty when there was one."""


@dataclass(frozen=True)
class GuardVerdict:
    """The verdict over all conditions. `failed`: undo. `inconclusive`: pause. `running`: take more samples."""

    state: GuardStatus
    reason: str
    conditions: tuple[Standing, ...]

    def to_dict(self) -> dict[str, object]:
        """For JSON."""
        return asdict(self)


class GuardRun:
    """The guards of one step, from its beginning to its verdict.

    An analysis samples every condition `count` times and ends. A watch (`watch=True`) goes on for as long as the step
    lasts, in rounds of `count` samples, each with its own tolerances, and passes only by `conclude`.

    The samples are all its state: a run over the same guards with the same samples has the same verdict.
    """

    def __init__(self, guards: Iterable[Guard], began: float, *, watch: bool = False) -> None:
        self.began = began
        self._asked = {
            key: _Asked(key, condition, began, watch)
            for guard in guards
            for condition in guard.conditions
            for key in (f"{guard.name}/{condition.name}",)
        }

    @property
    def conditions(self) -> dict[str, Condition]:
        """Every condition, by the key its samples carry."""
        return {key: asked.condition for key, asked in self._asked.items()}

    def due(self, at: float) -> tuple[str, ...]:
        """The conditions to be measured now."""
        return tuple(key for key, asked in self._asked.items() if asked.next_at <= at)

    @property
    def next_at(self) -> float | None:
        """When the next one is due; None when there is nothing left to measure."""
        soonest = min((asked.next_at for asked in self._asked.values()), default=inf)
        return None if soonest == inf else soonest

    def take(self, seen: Seen) -> GuardVerdict:
        """Take in one answer and return the verdict."""
        self._asked[seen.key].take(seen)
        return self.verdict

    def conclude(self) -> GuardVerdict:
        """The step is over: running conditions pass if they have enough samples, else they are inconclusive."""
        for asked in self._asked.values():
            asked.conclude()
        return self.verdict

    @property
    def verdict(self) -> GuardVerdict:
        """The verdict so far."""
        standings = tuple(asked.standing for asked in self._asked.values())
        deciding = [one for one in standings if not one.dry_run]
        for state in _OUTRANKING:
            if found := [one for one in deciding if one.state == state]:
                return GuardVerdict(state, _reasons(found), standings)
        waited_for = deciding or standings  # with nothing but dry runs, they are at least run
        if running := [one for one in waited_for if one.state == "running"]:
            return GuardVerdict("running", _reasons(running), standings)
        nothing = "" if deciding else "every condition is a dry run; "
        return GuardVerdict("passed", nothing + _reasons(deciding), standings)


@dataclass
class _Asked:
    """One condition with its samples."""

    key: str
    condition: Condition
    began: float
    watch: bool
    state: GuardStatus = "running"
    reason: str = ""
    next_at: float = field(init=False)
    last: Sample | None = None
    rounds: int = 0
    bad: int = 0
    missing: int = 0
    last_missing: str = ""
    """Why the last sample is missing; empty when it is not."""
    samples: list[Sample] = field(default_factory=list)
    comparison: Comparison | None = None

    def __post_init__(self) -> None:
        self.next_at = self._first_at
        self._compare: Callable[..., Comparison] | None = None
        if self.condition.against_baseline:
            from changeover.rollout.guard.comparison import compare  # now, not in the middle of a rollout

            self._compare = compare

    @property
    def _first_at(self) -> float:
        return self.began + self.condition.initial_delay + self.condition.interval

    def _after(self, at: float) -> float:
        """The next time to measure. Samples that a stalled controller has missed are not made up for."""
        number = ceil((at - self._first_at) / self.condition.interval)
        time = self._first_at + max(0, number) * self.condition.interval
        return time if time > at else time + self.condition.interval

    # -- taking in -----------------------------------------------------------------------------------------------

    def take(self, seen: Seen) -> None:
        if self.next_at == inf:
            return
        self.next_at = self._after(seen.at)
        if isinstance(seen, Missing):
            self._miss(seen.why)
        elif unusable := self._unusable(seen):
            self._miss(unusable)
        else:
            self.last_missing = ""
            self.last = seen
            self.samples.append(seen)
            self._judge(seen)
        if self.state == "failed":
            self.next_at = inf
        elif len(self.samples) >= self.condition.count:
            self._end_round()

    def _unusable(self, sample: Sample) -> str:
        values = [value for value in (sample.value, sample.baseline, sample.at_worst) if value is not None]
        if not all(map(isfinite, values)):
            return f"it was answered with {' and '.join(f'{value:g}' for value in values)}, which is no number"
        if self.condition.against_baseline and sample.baseline is None:
            return "there was no value of the baseline"
        return ""

    def _miss(self, why: str) -> None:
        self.missing += 1
        self.last_missing = why
        if self.missing > self.condition.missing_limit and self.state == "running":
            asked, limit = len(self.samples) + self.missing, self.condition.missing_limit
            self._settle("inconclusive", f"{self.missing} of {asked} samples are missing, {limit} may be; last: {why}")

    def _judge(self, sample: Sample) -> None:
        if (limit := self.condition.at_most) is None:
            self._look()
        elif sample.value > limit:
            self._count_bad(f"{self._shown(sample)}, at most {self._number(limit)} allowed")
        elif sample.at_worst is not None and sample.at_worst > limit:
            self.samples.pop()
            self._miss(
                f"{self._shown(sample)}, but {self._number(sample.at_worst)} if all that bear no name were the "
                f"canary's, at most {self._number(limit)} allowed"
            )

    def _look(self) -> None:
        """Compare, as soon as there are enough samples for a comparison to mean anything."""
        assert self._compare is not None
        if len(self.samples) < (self.condition.first_look or inf):
            return
        canary = [sample.value for sample in self.samples]
        baseline = [sample.baseline for sample in self.samples]
        self.comparison = self._compare(canary, baseline, "mean" if self._is_ratio else "median")
        if self._looks_worse and self.comparison.p <= self.condition.alpha_of(len(self.samples)):
            self._count_bad(self._compared)

    def _count_bad(self, what: str) -> None:
        self.bad += 1
        tolerated = self.condition.failure_limit
        if self.bad > tolerated:
            times = f", {self.bad} times with {tolerated} tolerated" if tolerated else ""
            self._settle("failed", what + times)

    # -- coming to an end ----------------------------------------------------------------------------------------

    def _end_round(self) -> None:
        if self.state == "running":
            state, reason = self._outcome()
            if state == "inconclusive" or not self.watch:
                self._settle(state, reason)
        if self.state == "passed":
            self.next_at = inf
            return
        self.rounds += 1  # a watch; or a rollout that pauses here and may yet be undone
        self.bad = self.missing = 0
        self.samples.clear()

    def conclude(self) -> None:
        self.next_at = inf
        if self.state != "running":
            return
        asked = len(self.samples) + self.missing
        needed = self.condition.first_look if self.condition.against_baseline else 1
        if self.last_missing:
            self._settle("inconclusive", f"the last sample is missing: {self.last_missing}")
        elif not self.rounds and len(self.samples) < (needed or 1):
            self._settle("inconclusive", f"{len(self.samples)} of {asked} samples taken, at least {needed} are needed")
        else:
            self._settle(*self._outcome())

    def _outcome(self) -> tuple[GuardStatus, str]:
        """The outcome of a round without a failure."""
        if self.comparison is not None and self._looks_worse and self.bad == 0:
            return "inconclusive", f"{self._compared}: worse, unless it is chance"
        tolerated = f"; {self.bad} of {len(self.samples)} samples were bad, which is tolerated" if self.bad else ""
        return "passed", (self._compared or (self._shown(self.last) if self.last else "")) + tolerated

    def _settle(self, state: GuardStatus, reason: str) -> None:
        self.state, self.reason = state, reason

    # -- in words ------------------------------------------------------------------------------------------------

    @property
    def standing(self) -> Standing:
        return Standing(
            self.key,
            self.state,
            self.reason or self._progress(),
            self.condition.dry_run,
            len(self.samples),
            self.condition.count,
            self.bad,
            self.missing,
            self.last.value if self.last else None,
            self.last.baseline if self.last else None,
            self.comparison.p if self.comparison else None,
            self.last_missing,
        )

    def _progress(self) -> str:
        number = f"{len(self.samples)} of {self.condition.count} samples"
        missing = f", {self.missing} missing (last: {self.last_missing})" if self.last_missing else ""
        return f"{number}{missing}; {self._shown(self.last)}" if self.last else number + missing

    def _shown(self, sample: Sample) -> str:
        of = f" {sample.of}" if sample.of else ""
        against = "" if sample.baseline is None else f" against {self._number(sample.baseline)}"
        match self.condition.measure:
            case "broken_requests" | "error_ratio":
                return f"{self._number(sample.value)} broken{against}{of}"
            case "latency":
                return f"p{self.condition.percentile:g} {self._number(sample.value)}{against}{of}"
            case "query":
                return f"{self._number(sample.value)}{against}{of}"

    @property
    def _compared(self) -> str:
        """`p90 143 ms against 61.2 ms of the baseline, 2.34 times (medians of 7 samples each, p = 0.0003)`."""
        if (seen := self.comparison) is None:
            return ""
        what = {"latency": f"p{self.condition.percentile:g} ", "error_ratio": "broken "}.get(self.condition.measure, "")
        times = f", {seen.canary / seen.baseline:.2f} times" if seen.baseline > 0 else ""
        return (
            f"{what}{self._number(seen.canary)} against {self._number(seen.baseline)} of the baseline{times} "
            f"({'means' if self._is_ratio else 'medians'} of {seen.samples} samples each, p = {seen.p:.2g})"
        )

    def _number(self, value: float) -> str:
        match self.condition.measure:
            case "broken_requests":
                return f"{value:,.0f}"
            case "error_ratio":
                return f"{value:.3%}"
            case "latency":
                return f"{value:.3g} ms" if value < 1000 else f"{value:,.0f} ms"
            case "query":
                return f"{value:g}"

    @property
    def _is_ratio(self) -> bool:
        """Most intervals of a small share of errors hold none, so its median is 0 and says nothing."""
        return self.condition.measure == "error_ratio"

    @property
    def _looks_worse(self) -> bool:
        if (seen := self.comparison) is None:
            return False
        least = max(self.condition.margin, (self.condition.worse_by - 1) * abs(seen.baseline))
        return seen.more > 0 and seen.more >= least


def _reasons(standings: Iterable[Standing]) -> str:
    return "; ".join(f"{one.key}: {one.reason}" for one in standings)
