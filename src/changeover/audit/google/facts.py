"""Facts of Google's load balancers and groups that several rules need: defaults by their source, times of checks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from changeover.audit import words
from changeover.audit.assumptions import Assumptions
from changeover.audit.google.resources import Google, Resource
from changeover.audit.setting import Setting, shorter, unknown
from changeover.audit.view import Hop, View

DRAINING = ("connectionDraining", "drainingTimeoutSec")
_HTTP = {"HTTP", "HTTPS", "HTTP2", "H2C", "GRPC"}
POOL_IDLE = 600.0
"""Seconds that the proxies of an HTTP load balancer keep an idle connection to a backend. It cannot be changed
(cloud.google.com/load-balancing/docs/https#timeouts_and_retries)."""
SPREAD = 10.0
"""Seconds that a change of health takes to reach every proxy of the load balancer, besides its checks."""


_UNDRAINED = ("INTERNET", "SERVERLESS", "PRIVATE_SERVICE")
"""How the types of endpoint groups begin that connection draining does not cover."""


def endpoint_type(group: Resource) -> Setting[str]:
    """What an endpoint group holds. Terraform's default for a region is SERVERLESS, and else that of the API."""
    serverless = group.regional and group.origin == "terraform"
    default = "SERVERLESS" if serverless else "GCE_VM_IP_PORT"
    return group.word(("networkEndpointType",), default, default)


def is_drained(kind: str) -> bool:
    """Whether connection draining covers endpoints of a type."""
    return not kind.startswith(_UNDRAINED)


def drained_services(cloud: Google) -> list[Resource]:
    """The backend services whose draining counts. GCP04 reports those that have undrained endpoints alone."""
    return [
        one
        for one in cloud.of("backendService")
        if not (kinds := _endpoints(cloud, one)) or any(map(is_drained, kinds))
    ]


def is_serverless(cloud: Google, service: Resource) -> bool:
    """Whether all its backends are serverless: these have no timeout of the backend service."""
    return _endpoints(cloud, service) == {"SERVERLESS"}


def _endpoints(cloud: Google, service: Resource) -> set[str]:
    """The types of its endpoint groups; none where a backend is another kind of group, or not known."""
    groups = [cloud.referred(one.get("group"), "networkEndpointGroup") for one in service.body.maps("backends")]
    kinds = [endpoint_type(one).value for one in groups if one is not None]
    return {kind for kind in kinds if kind is not None} if len(kinds) == len(groups) and None not in kinds else set()


def drain(service: Resource) -> Setting[float]:
    """Seconds of connection draining. Its default is the API's 0, or 300 as Terraform and Config Connector send it."""
    if service.origin == "connector":
        default, shown = (0.0, "0") if service.regional else (300.0, "300")
    elif service.origin != "terraform":
        default, shown = 0.0, "0"
    elif not service.regional or (service.majors[0] or 0) >= 6:
        default, shown = 300.0, "300"
    else:
        default, shown = 0.0, "0 with a provider before 6.0.0"
        if service.majors[1] is None or service.majors[1] >= 6:
            shown += ", the worse case of the versions that are allowed"
    return service.number(DRAINING, default, shown)


def is_http(service: Resource) -> bool:
    """Whether the load balancer speaks HTTP with the backends."""
    protocol = (service.body.text("protocol") or "").upper()
    return protocol in _HTTP if protocol else not is_passthrough(service)


def is_passthrough(service: Resource) -> bool:
    """Whether packets pass through, so that the load balancer ends no connection."""
    scheme = (service.body.text("loadBalancingScheme") or "").upper()
    protocol = (service.body.text("protocol") or "").upper()
    if protocol in _HTTP:
        return False
    if scheme == "INTERNAL":
        return True
    if not scheme:  # Terraform's default for a region is INTERNAL
        return service.regional and service.origin != "api"
    return scheme == "EXTERNAL" and service.regional and protocol in {"TCP", "UDP", "UNSPECIFIED", ""}


def time_to_unhealthy(check: Resource) -> float | None:
    """The longest time until a dead instance gets no new connection; None if a value cannot be read."""
    interval = check.number(("checkIntervalSec",), 5.0, "5").value
    timeout = check.number(("timeoutSec",), 5.0, "5").value
    threshold = check.number(("unhealthyThreshold",), 2.0, "2").value
    return None if interval is None or timeout is None or threshold is None else interval * threshold + timeout


def time_to_healthy(check: Resource) -> float | None:
    """The longest time until a new instance is healthy."""
    interval = check.number(("checkIntervalSec",), 5.0, "5").value
    threshold = check.number(("healthyThreshold",), 2.0, "2").value
    return None if interval is None or threshold is None else interval * threshold


def balancer_checks(cloud: Google, manager: Resource) -> list[Resource]:
    """The health checks of the backend services in front of a group."""
    return [check for service in cloud.services(manager) for check in cloud.checks(service, "healthChecks")]


def check_times(
    cloud: Google, holders: Sequence[Resource], path: tuple[str, ...], time: Callable[[Resource], float | None]
) -> list[float | None]:
    """A time of each health check that the holders name; None for one that no given file describes."""
    found = [time(check) for holder in holders for check in cloud.checks(holder, *path)]
    return [*found, *(None for holder in holders if cloud.lost_checks(holder, *path))]


def behind_google(view: View, hop: Hop, asked: Assumptions) -> tuple[bool | None, str]:
    """Whether the HTTP load balancer of Google Cloud stands in front, and the evidence; of None, what is missing."""
    if links := view.in_front(hop):
        return False, f"{links[0].front.name} stands in front"
    if services := services_in_front(view, hop):
        return True, f"{services[0].object} in {services[0].place}"
    if asked.behind is not None:
        return asked.behind == "google", f"--assume behind={asked.behind}"
    return None, "what stands in front: `--assume behind=google` or `clients`"


def edge_timeout(view: View, hop: Hop, asked: Assumptions) -> Setting[float]:
    """Seconds that what stands in front of a hop waits for a response.

    That of the hops in front where the files describe them; else as assumed, or that of its backend service.
    """
    fronts = [(link.front, link.target.waits) for link in view.in_front(hop) if link.target.waits is not None]
    if fronts:
        front, waits = fronts[0]
        for one, found in fronts[1:]:
            front, waits = (one, found) if shorter(waits, found) is found else (front, waits)
        return replace(waits, text=f"{front.name} in front: {waits.text} ({waits.place})")
    if asked.edge_timeout is not None:
        text = f"what stands in front waits {words.span(asked.edge_timeout)} (--assume edge-timeout)"
        return Setting(asked.edge_timeout, hop.place, text)
    for service in services_in_front(view, hop):
        found = service.number(("timeoutSec",), 30.0, "30")
        return replace(found, text=f"{service.object} in front: {found.text} ({found.place})")
    missing = "the timeout of what stands in front: `--assume edge-timeout=30s`"
    return unknown(hop.place, "what stands in front is not known", missing)


def first_hops(view: View) -> list[Hop]:
    """Hops that see requests and have none in front: one, or the files do not describe how the others are reached."""
    return [one for one in view.hops if not view.in_front(one) and one.sees_requests]


def services_in_front(view: View, hop: Hop) -> list[Resource]:
    """The HTTP backend services that lead to a hop: known if it is the only first hop and there is one service."""
    services = [one for one in view.google.of("backendService") if is_http(one)]
    return services if len(services) == 1 and first_hops(view) == [hop] else []
