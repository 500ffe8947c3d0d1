"""Whether a rollout may begin with what the checks found: a fatal finding refuses it, others are named."""

from __future__ import annotations

from collections.abc import Collection

from changeover.doctor.diagnosis import Diagnosis, Severity
from changeover.doctor.permissions import UNREAD
from changeover.model.errors import Problem


def refusals(found: Collection[Diagnosis], *, unread: bool = False) -> list[Problem]:
    """What stands in the way, each with its reason and its cure; empty: the rollout may begin.

    `unread`: what could not be read stands in the way, too.
    """
    return [
        Problem(
            f"{one.read}  [{one.check}]",
            one.where,
            f"Refused; nothing was changed. GET: {one.get}. Upload: {one.post}.",
            f"Cure: {one.cure}",
        )
        for one in found
        if one.severity is Severity.FATAL and (unread or one.check not in UNREAD)
    ]


def warnings(found: Collection[Diagnosis]) -> list[str]:
    """What breaks requests in some cases, in words. It refuses nothing."""
    return [
        f"Warning: {one.where}: {one.read}. GET: {one.get}. Upload: {one.post}.  [{one.check}]"
        for one in found
        if one.severity is Severity.WARNING
    ]


def unknown(found: Collection[Diagnosis]) -> list[str]:
    """What nothing is known of, in words. A controller that cannot read it can still roll."""
    return [f"Unknown: {one.where}: {one.read}  [{one.check}]" for one in found if one.check in UNREAD]
