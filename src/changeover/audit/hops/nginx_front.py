"""What stands in front of an nginx: joined, assumed, or shown by the addresses that it trusts."""

from __future__ import annotations

from changeover.audit.assumptions import Assumptions
from changeover.audit.google import facts
from changeover.audit.hops.nginx import NginxHttp
from changeover.audit.view import View
from changeover.conf.nginx.reader import everything, place

GOOGLE = ("130.211.0.0/22", "35.191.0.0/16")
"""Sources of Google's load balancers (cloud.google.com/load-balancing/docs/https)."""


def behind_google(view: View, hop: NginxHttp, asked: Assumptions) -> tuple[bool | None, str]:
    """The answer and its evidence; of None, what is missing."""
    known, evidence = facts.behind_google(view, hop, asked)
    if known is not None:
        return known, evidence
    for one in everything(hop.main.conf.main):
        if one.name in {"set_real_ip_from", "allow"} and one.values and one.values[0] in GOOGLE:
            return True, f"{one} in {place(one)}"
    return None, evidence
