"""Comments by which `changeover audit` accepts settings that a rendered configuration has for a reason of the chain.

Refuses to accept what does cut a request: with the policy `cut` a short deadline is a finding.
"""

from __future__ import annotations

from changeover.model.chain import Drain, Tier


def accepts(rule: str, reason: str) -> str:
    """A comment at the end of a line, in the syntax of nginx and HAProxy."""
    return f"  # changeover: ignore {rule} -- {reason}"


def short_stop(tier: Tier, rule: str) -> str:
    """For the limit of a graceful stop that is below the default deadline, which fits the largest usual upload."""
    if tier.drain.policy == "cut" or tier.drain.deadline >= Drain().deadline:
        return ""
    return accepts(rule, "the controller stops an instance when nothing is in flight on it")
