"""KNG04: the tries of Kong take longer than what stands in front waits."""

from __future__ import annotations

from collections.abc import Iterator

from changeover.audit import words
from changeover.audit.assumptions import Assumptions
from changeover.audit.finding import Effect, Finding, Severity, met, unknown, violated
from changeover.audit.google.facts import edge_timeout
from changeover.audit.hops.kong import Kong, addresses
from changeover.audit.limits import SHORT
from changeover.audit.rule import KONG, Rule
from changeover.audit.view import View


def check(view: View, asked: Assumptions) -> Iterator[Finding]:
    for hop in view.of(Kong):
        for service in hop.services:
            found = list(addresses(hop, service))
            if found and all(one.is_local for one in found):
                continue  # a process on this machine refuses at once
            name = f"service {service.text('name') or service.text('host') or service.text('url')}"
            retries, connect = service.number("retries"), service.number("connect_timeout")
            if (service.get("retries") and retries is None) or (service.get("connect_timeout") and connect is None):
                missing = "retries and connect_timeout as numbers"
                yield unknown(service.place, name, "a value of the service cannot be read", missing)
                continue
            tries = 1 + int(5 if retries is None else retries)
            each = (60_000 if connect is None else connect) / 1000
            where = service.keys.get("connect_timeout") or service.place
            text = f"connect_timeout {words.span(each)}{' (default)' if connect is None else ''}, times {tries} tries"
            text += f"{' (default)' if retries is None else ''}: {words.span(tries * each)}"
            edge = edge_timeout(view, hop, asked)
            if edge.value is None:
                if tries * each <= SHORT:
                    yield met(where, name, text)
                else:
                    yield unknown(where, name, text, edge.missing)
            elif tries * each <= edge.value:
                yield met(where, name, f"{text}; {edge.text}", {"margin_seconds": edge.value - tries * each})
            else:
                yield violated(
                    where,
                    name,
                    f"{text}; {edge.text}",
                    get=Effect.ERROR,
                    post=Effect.ERROR,
                    consequence="a GET and a POST that Kong sends to a deleted machine are answered with 504 before "
                    "Kong tries another",
                    fix="retries: 1 and connect_timeout: 2000",
                    numbers={"tries": tries, "total_seconds": tries * each, "edge_timeout_seconds": edge.value},
                )


RULE = Rule(
    id="KNG04",
    name="kong-connect-timeout",
    severity=Severity.ERROR,
    what="`connect_timeout` times the tries of a service exceeds the timeout of what stands in front.",
    why="By default Kong tries a service six times with a connect timeout of a minute. A deleted machine refuses "
    "nothing: each try takes its whole timeout, and what stands in front gives up after the first.",
    sources=("https://developer.konghq.com/gateway/entities/service/#schema",),
    bad={
        "kong.yml": """\
_format_version: "3.0"
services:
# expect: KNG04
- name: shop
  host: shop.internal
""",
    },
    good={
        "kong.yml": """\
_format_version: "3.0"
services:
- name: shop
  host: shop.internal
  retries: 1
  connect_timeout: 2000
""",
    },
    fix="Set `retries: 1` and `connect_timeout: 2000`.",
    check=check,
    lab=KONG,
    assume={"edge-timeout": "30s"},
)
