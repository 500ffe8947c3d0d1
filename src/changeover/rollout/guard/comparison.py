"""Whether a canary lies above its baseline by more than chance, by SciPy's tests, and how far.

Two tests, each at half the price. Mann-Whitney takes either side as it is. Wilcoxon's signed ranks take the two values
of each interval together, so that what moves both sides at once (the time of day, a busy machine) cancels: on a shared
machine that drift is many times what is looked for, and Mann-Whitney alone then finds half of the canaries that are
twice as slow, both together all of them (`bench/guard.py --ledger`).

A module of its own because importing SciPy takes most of a second: `guard` does it before a rollout begins and only
where something is compared, so that no other command waits for it and no rollout stalls on it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, median
from typing import Literal

from scipy.stats import mannwhitneyu, wilcoxon


@dataclass(frozen=True)
class Comparison:
    """`p`: how likely values of one and the same source are to lie this far apart, this way round."""

    canary: float
    baseline: float
    """The middle of either side."""
    samples: int
    """Of each side."""
    p: float

    @property
    def more(self) -> float:
        return self.canary - self.baseline


def compare(canary: Sequence[float], baseline: Sequence[float], centre: Literal["median", "mean"]) -> Comparison:
    """One-sided: is the canary's side above? Both sides have a value for every interval, in order."""
    middle = median if centre == "median" else fmean
    p = min(1.0, 2 * min(_mann_whitney(canary, baseline), _signed_ranks(canary, baseline)))
    return Comparison(middle(canary), middle(baseline), len(canary), p)


def _mann_whitney(canary: Sequence[float], baseline: Sequence[float]) -> float:
    """Exact where no two values are equal, else normal with ties corrected."""
    values = {*canary, *baseline}
    if len(values) == 1:
        return 1.0  # all alike: SciPy would divide by no variance at all
    method = "exact" if len(values) == len(canary) + len(baseline) else "asymptotic"
    return float(mannwhitneyu(canary, baseline, alternative="greater", method=method).pvalue)


def _signed_ranks(canary: Sequence[float], baseline: Sequence[float]) -> float:
    """Exact as long as SciPy can. Intervals in which both sides are equal speak for neither."""
    differences = [mine - other for mine, other in zip(canary, baseline, strict=True) if mine != other]
    return float(wilcoxon(differences, alternative="greater").pvalue) if differences else 1.0
