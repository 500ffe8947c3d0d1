"""HAProxy in the joined view, and where a soft stop cannot be judged."""

from __future__ import annotations

import pytest
from tests.unit.audit.expectations import audited

from changeover.audit.finding import Outcome
from changeover.audit.hops.haproxy import address
from changeover.audit.rules import all_rules

HAP01 = next(rule for rule in all_rules() if rule.id == "HAP01")
UNIT = "[Service]\nExecStart=/usr/sbin/haproxy -Ws\nKillSignal=SIGUSR1\nTimeoutStopSec=900\n"
PROXY = "listen l4\n bind :9000\n server one 10.0.0.5:8000\n server-template web 1-3 10.0.0.6:8000\n"


def test_a_limit_of_a_tcp_proxy_is_not_met_by_one_request() -> None:
    files = {"haproxy.cfg": f"global\n hard-stop-after 800s\ndefaults\n mode tcp\n{PROXY}", "haproxy.service": UNIT}
    found = audited(files, rules=[HAP01])
    assert [one.finding.outcome for one in found.judged] == [Outcome.UNKNOWN, Outcome.UNKNOWN]
    assert "mode tcp" in found.judged[0].finding.missing


@pytest.mark.parametrize(("life", "outcome"), [("60s", Outcome.MET), ("3h", Outcome.VIOLATED)])
def test_a_limit_of_a_tcp_proxy_lasts_for_the_pool_in_front_of_it_too(life: str, outcome: Outcome) -> None:
    pool = f"upstream l4 {{ server 10.0.9.1:9000; keepalive 8; keepalive_time {life}; }}"
    front = f"events {{}}\nhttp {{ {pool} server {{ listen 8080; location / {{ proxy_pass http://l4; }} }} }}\n"
    hard = f"global\n hard-stop-after 800s\ndefaults\n mode tcp\n{PROXY}"
    found = audited({"nginx.conf": front, "haproxy.cfg": hard, "haproxy.service": UNIT}, rules=[HAP01])
    assert [one.finding.outcome for one in found.judged] == [outcome, outcome]


def test_a_limit_from_the_environment_is_unknown() -> None:
    files = {"haproxy.cfg": f'global\n hard-stop-after "${{WAIT}}"\ndefaults\n mode http\n{PROXY}'}
    outcomes = {one.finding.place.line: one.finding.outcome for one in audited(files, rules=[HAP01]).judged}
    assert outcomes == {2: Outcome.UNKNOWN}


def test_a_section_is_joined_with_the_hops_around_it() -> None:
    nginx = "events {}\nhttp { server { listen 10.0.0.6:8000; location / { proxy_pass http://10.0.2.1:80; } } }"
    view = audited({"haproxy.cfg": f"defaults\n mode http\n{PROXY}", "nginx.conf": nginx}).view
    assert [(one.front.name, one.inner.name) for one in view.links] == [("HAProxy listen l4", "nginx of nginx.conf")]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (":80", ":80"),
        ("*:80", "*:80"),
        (":::80", ":::80"),
        ("[::1]:80", "[::1]:80"),
        ("ipv4@10.0.0.1:80", "10.0.0.1:80"),
        ("unix@/run/a.sock", "unix:/run/a.sock"),
        ("/run/a.sock", "unix:/run/a.sock"),
        (":80-90", "None"),
        ("${HOST}:80", "None"),
    ],
)
def test_an_address_is_read_as_haproxy_writes_it(text: str, shown: str) -> None:
    assert str(address(text)) == shown
