"""HC03: health checks of Google Cloud cannot reach Kong's status."""

from __future__ import annotations

from collections.abc import Iterator

from changeover.audit.assumptions import Assumptions
from changeover.audit.finding import Effect, Finding, Severity, met, unknown, violated
from changeover.audit.google.facts import services_in_front
from changeover.audit.hops.kong import Kong
from changeover.audit.lines import kong_line
from changeover.audit.rule import KONG, Rule
from changeover.audit.setting import Setting
from changeover.audit.view import View

READY = "/status/ready"


def check(view: View, asked: Assumptions) -> Iterator[Finding]:
    for hop in view.of(Kong):
        found = hop.setting("status_listen", str, "127.0.0.1:8007", "127.0.0.1:8007")
        google = asked.behind == "google" or bool(services_in_front(view, hop))
        if found.value is None:
            yield unknown(found.place, hop.name, found.text, found.missing)
        elif not found.value.startswith(("127.", "localhost", "[::1]", "off")):
            yield from _asked(view, hop, found)
        elif asked.behind is None and not google:
            missing = "what checks its health: `--assume behind=google` or `clients`"
            yield unknown(found.place, hop.name, f"{found.text}: it is out of reach from outside", missing)
        elif not google:
            yield met(found.place, hop.name, f"{found.text}; no load balancer of Google Cloud checks it")
        else:
            yield violated(
                found.place,
                hop.name,
                f"{found.text}: health checks of Google Cloud cannot reach it",
                get=Effect.ERROR,
                post=Effect.ERROR,
                consequence="Kong is checked at another port, which answers while Kong drains: a GET and a POST are "
                "sent to a node that is about to stop",
                fix=f"{_written(hop, found)}, and a health check of {READY}",
            )


def _written(hop: Kong, found: Setting[str]) -> str:
    given = hop.settings.get("status_listen")
    return kong_line("status_listen", given, found.place.file, "0.0.0.0:8007")


def _asked(view: View, hop: Kong, found: Setting[str]) -> Iterator[Finding]:
    """Whether the health checks in front ask for the readiness of a status that they can reach."""
    services = services_in_front(view, hop)
    checks = [check for service in services for check in view.google.checks(service, "healthChecks")]
    for one in checks:
        path = one.word(("httpHealthCheck", "requestPath"), "/", "/")
        if path.value is None:
            yield unknown(path.place, one.object, path.text, path.missing)
        elif path.value == READY:
            yield met(path.place, one.object, f"{path.text}; {found.text}")
        else:
            yield violated(
                path.place,
                one.object,
                f"{path.text}: it is not {READY}, which fails while Kong drains or has no configuration",
                get=Effect.ERROR,
                post=Effect.ERROR,
                consequence="the check passes while Kong drains: a GET and a POST are sent to a node that is about to "
                "stop",
                fix=f"{one.with_value(('httpHealthCheck', 'requestPath'), READY)}, at the port of status_listen",
            )
    if not checks:
        yield met(found.place, hop.name, found.text)


RULE = Rule(
    id="HC03",
    name="kong-status-out-of-reach",
    severity=Severity.ERROR,
    what="Kong behind Google Cloud reports its readiness on the loopback address only, or is asked for something else.",
    why="`status_listen` is 127.0.0.1:8007 unless set (since 3.6). A health check from outside needs an address of"
    " the machine, and the path /status/ready, which is 503 while Kong drains or has no configuration.",
    sources=("https://developer.konghq.com/gateway/configuration/#status-listen",),
    bad={
        "kong.conf": """\
proxy_listen = 0.0.0.0:8000
# expect: HC03
status_listen = 127.0.0.1:8007
""",
    },
    good={
        "kong.conf": """\
proxy_listen = 0.0.0.0:8000
status_listen = 0.0.0.0:8007
""",
    },
    fix="Set `status_listen = 0.0.0.0:8007`, with a firewall, and check /status/ready.",
    check=check,
    lab=KONG,
    assume={"behind": "google"},
)
