"""What a report says is shorter than its limit: the thing that takes the time that it names."""

from __future__ import annotations

import pytest
from tests.unit.audit.expectations import audited

from changeover.audit.finding import Outcome
from changeover.audit.rules import all_rules

EDGE = """\
events {}
http {
    upstream l4 { server 10.0.0.5:9000; keepalive 8; %s }
    server {
        location / {
            proxy_http_version 1.1; proxy_set_header Connection ""; proxy_request_buffering %s; proxy_pass http://l4;
        }
    }
}
"""
TCP = """\
worker_shutdown_timeout %s;
events {}
stream { server { listen 0.0.0.0:9000; proxy_pass 10.0.1.5:8000; } }
"""
HTTP = """\
worker_shutdown_timeout %s;
events {}
http { server { listen 0.0.0.0:9000; location / { proxy_pass http://10.0.1.5:8000; } } }
"""


def said(rule: str, files: dict[str, str], outcome: Outcome = Outcome.VIOLATED) -> list[str]:
    return [one.finding.what for one in audited(files).of(outcome) if one.rule.id == rule]


@pytest.mark.parametrize(
    ("life", "buffering", "text"),
    [
        ("", "on", "keepalive_time 1 h in front and a request of 30.4 s (3630 s)"),
        ("keepalive_time 120s;", "on", "keepalive_time 120 s in front and a request of 30.4 s (150 s)"),
        ("keepalive_time 120s;", "off", "keepalive_time 120 s in front and a request of 430 s (550 s)"),
    ],
)
def test_a_tcp_proxy_has_to_wait_for_a_pooled_connection_and_its_last_request(
    life: str, buffering: str, text: str
) -> None:
    short = {"edge.conf": EDGE % (life, buffering), "l4.conf": TCP % "60s"}
    assert said("STR01", short) == [f"worker_shutdown_timeout 60s: shorter than {text}"]
    long = {"edge.conf": EDGE % (life, buffering), "l4.conf": TCP % "4000s"}
    (met,) = said("STR01", long, Outcome.MET)
    assert met.endswith(f"more than {text}")


@pytest.mark.parametrize(
    ("buffering", "text"),
    [
        ("on", "a request that a hop in front of it buffers, with 30 s of the application (30.4 s)"),
        ("off", "a 50 MB upload at 1 Mb/s (430 s)"),
    ],
)
def test_behind_a_hop_that_buffers_no_upload_is_slow(buffering: str, text: str) -> None:
    files = {"edge.conf": EDGE % ("", buffering), "inner.conf": HTTP % "5s"}
    assert said("NGX03", files) == [f"worker_shutdown_timeout 5s: shorter than {text}"]


def test_a_target_of_kong_serves_until_each_node_knows_its_weight_and_the_last_request_ends() -> None:
    rule = next(one for one in all_rules() if one.id == "KNG06")
    found = audited(rule.bad, {**rule.assume, **rule.assume_bad}, [rule]).of(Outcome.VIOLATED)
    assert [one.finding.what.partition("shorter than ")[2] for one in found] == [
        "10 s until each node knows it and a request of 430 s (440 s)"
    ]
