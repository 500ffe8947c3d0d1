"""ENV01: Envoy is stopped without having been asked to drain, or before its requests have ended."""

from __future__ import annotations

from collections.abc import Iterator

from changeover.audit import words
from changeover.audit.assumptions import Assumptions
from changeover.audit.finding import Effect, Finding, Outcome, Severity, met, unknown, violated
from changeover.audit.hops.envoy import Envoy
from changeover.audit.limits import occupied, upload_fits
from changeover.audit.rule import Rule
from changeover.audit.setting import Setting
from changeover.audit.view import StopPath, View

_OPTION = "--parent-shutdown-time-s"


def check(view: View, asked: Assumptions) -> Iterator[Finding]:
    hops = list(view.of(Envoy))
    longest = max((occupied(view, hop, asked) for hop in hops), default=asked.request_seconds)
    stops = view.stops_of("envoy")
    tcp = next((hop for hop in hops if not hop.http and hop.targets), None)
    for stop in stops:
        yield _of_tcp(_stopped(stop, longest, asked), tcp)
    yield from _handed_over(view, longest, asked)
    if not stops:
        for hop in {hop.place.file: hop for hop in hops}.values():
            what = "how this Envoy is stopped is not in the given files"
            missing = "its systemd unit, Dockerfile, compose file or Kubernetes manifest"
            yield unknown(hop.place, hop.place.file, what, missing)


def _of_tcp(found: Finding, hop: Envoy | None) -> Finding:
    """A TCP proxy closes nothing when it drains: its connections take new requests until it exits."""
    if found.outcome is not Outcome.MET or hop is None:
        return found
    missing = f"how long the hop in front uses a connection to {hop.name}, a TCP proxy, for new requests"
    return unknown(found.place, found.object, f"{found.what}: enough for one request", missing)


def _stopped(stop: StopPath, longest: float, asked: Assumptions) -> Finding:
    if asked.drained:
        text = "it is out of every balancer before it is stopped (--assume drained=yes)"
        return met(stop.place, stop.object, text)
    if not stop.signals:
        return unknown(stop.place, stop.object, "what stops Envoy is not known", stop.missing)
    first = stop.signals[0]
    drained = f"curl -sX POST http://127.0.0.1:9901/healthcheck/fail && sleep {longest + 30:.0f}"
    fix = f"{stop.keys.after(drained)}, with {stop.keys.until_kill(longest + 60)}"
    if first.name != "DRAIN":
        early = first.at < longest
        return violated(
            first.place,
            stop.object,
            f"{first.text}: Envoy gets SIG{first.name}, and nothing asks it to drain before",
            get=Effect.CUT if early else Effect.ERROR,
            post=Effect.CUT if early else Effect.ERROR,
            consequence="a GET and a POST in flight are cut as soon as Envoy is stopped or restarted"
            if early
            else "connections take a GET and a POST until Envoy exits, and those are answered with an error",
            fix=fix,
            numbers={"signal": first.name},
        )
    hard = next((one for one in stop.signals if one.name != "DRAIN"), None)
    if hard is None:
        return unknown(first.place, stop.object, f"{first.text}: Envoy drains", stop.missing or "what ends it")
    wait = hard.at - first.at
    return upload_fits(
        Setting(wait, first.place, f"{first.text}: SIG{hard.name} follows {words.span(wait)} after the drain began"),
        longest,
        stop.object,
        asked,
        consequence=f"a GET that ends within {words.span(wait)} survives; a POST in flight is cut then",
        fix=fix,
        get=Effect.OK if wait > asked.app_time else Effect.CUT,
    )


def _handed_over(view: View, longest: float, asked: Assumptions) -> Iterator[Finding]:
    """A hot restart ends the old process after a time that a command line may set."""
    for command in view.commands:
        arguments = command.arguments
        if command.software != "envoy" or _OPTION not in " ".join(arguments):
            continue
        at = next(number for number, word in enumerate(arguments) if word.startswith(_OPTION))
        value = arguments[at].partition("=")[2] or next(iter(arguments[at + 1 :]), "")
        text = f"{_OPTION} {value}"
        if not value.isdigit():
            yield unknown(command.place, command.object, text, f"{_OPTION} as a number")
            continue
        yield upload_fits(
            Setting(float(value), command.place, text),
            longest,
            command.object,
            asked,
            consequence=f"a GET survives; a POST in flight is cut {value} s after a hot restart",
            fix=f"{_OPTION} {longest + 30:.0f}",
        )


RULE = Rule(
    id="ENV01",
    name="envoy-stop",
    severity=Severity.ERROR,
    what="Envoy is stopped without a drain before, or before its requests have ended.",
    why="At SIGTERM Envoy exits at once and closes every connection. It drains when its admin interface gets "
    "POST /healthcheck/fail: it fails health checks, so balancers stop sending, and answers with "
    "`connection: close`. That takes until the longest request has ended, so SIGTERM has to wait. A hot restart ends "
    "the old process after `--parent-shutdown-time-s`.",
    sources=(
        "https://www.envoyproxy.io/docs/envoy/latest/intro/arch_overview/operations/draining",
        "https://www.envoyproxy.io/docs/envoy/latest/operations/admin#post--healthcheck-fail",
        "https://www.envoyproxy.io/docs/envoy/latest/operations/cli#cmdoption-parent-shutdown-time-s",
    ),
    bad={
        "envoy.service": """\
[Service]
# expect: ENV01
ExecStart=/usr/bin/envoy -c /etc/envoy/envoy.yaml
TimeoutStopSec=500
""",
    },
    good={
        "envoy.service": """\
[Service]
ExecStart=/usr/bin/envoy -c /etc/envoy/envoy.yaml
ExecStop=/bin/sh -c "curl -X POST http://127.0.0.1:9901/healthcheck/fail; sleep 460"
TimeoutStopSec=500
""",
    },
    fix="Ask Envoy to drain and wait for the longest request before SIGTERM.",
    check=check,
)
