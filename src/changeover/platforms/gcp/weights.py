"""The weights of a URL map, by which requests are shared between the two groups of a tier. Pure.

A service without a healthy VM answers its share of the requests with errors: a group gets none before its instances are
healthy, and its last instance becomes no lame duck before the share of the group is 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from changeover.doctor.traffic import WHOLE
from changeover.ports import Membership


def split(totals: Mapping[str, int]) -> Mapping[str, int]:
    """The weight of each group, in proportion to what its instances are to get; none where nothing is known of any."""
    whole = sum(totals.values())
    if not whole:
        return {}
    first, *others = totals
    weight = round(WHOLE * totals[first] / whole)
    if 0 < totals[first] < whole:
        weight = min(max(weight, 1), WHOLE - 1)  # a group whose instances get a share gets one
    return {first: weight, **dict.fromkeys(others, WHOLE - weight)}


def judge_share(
    found: Membership, share: int | None, none_for: float, weight: int | None, propagation: float
) -> Membership:
    """What the routers do with an instance of a group with that share.

    `found`: by the health in its service. `share`: of 1000; None: not known. `none_for`: seconds since it was 0 at
    every look. `weight`: that of the instance, where the map has what all weights together ask for.
    """
    if found.removed:
        return found
    if share is None:
        return Membership(
            admitted=False, removed=False, pending="its URL map, whose weights are not known", silent=True
        )
    if not share:
        pending = "its URL map, which sends its group nothing"
        return Membership(admitted=False, removed=none_for > 0 and none_for >= propagation, pending=pending)
    return replace(found, weight=weight) if found.admitted else found
