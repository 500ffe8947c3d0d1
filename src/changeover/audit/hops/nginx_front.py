"""What stands in front of an nginx: joined, assumed, or shown by the addresses that it trusts."""

from __future__ import annotations

from changeover.audit.assumptions import Assumptions
from changeover.audit.google.facts import services_in_front
from changeover.audit.hops.nginx import NginxHttp
from changeover.audit.view import View
from changeover.conf.nginx.reader import everything, place

GOOGLE = ("130.211.0.0/22", "35.191.0.0/16")
"""Sources of Google's load balancers (cloud.google.com/load-balancing/docs/https)."""


def behind_google(view: View, hop: NginxHttp, asked: Assumptions) -> tuple[bool | None, str]:
    """The answer and its evidence; of None, what is missing."""
    links = view.in_front(hop)
    if links:
        google = any(link.front.software == "google" for link in links)
        return google, f"{links[0].front.name} stands in front"
    if services := services_in_front(view, hop):
        return True, f"{services[0].object} in {services[0].place}"
    if asked.behind is not None:
        return asked.behind == "google", f"--assume behind={asked.behind}"
    for one in everything(hop.main.conf.main):
        if one.name in {"set_real_ip_from", "allow"} and one.values and one.values[0] in GOOGLE:
            return True, f"{one} in {place(one)}"
    return None, "what stands in front: `--assume behind=google` or `clients`"
