"""Facts of Google Cloud that other rules use: the timeout in front, the ports that are checked, stable groups."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from tests.unit.audit.expectations import audited

from changeover.audit.finding import Finding, Outcome
from changeover.audit.published import published
from changeover.audit.rules import all_rules
from changeover.conf.compose import read

NGINX = (
    "http { upstream a { server 10.0.0.5:9000; server 10.0.0.6:9000; } server { location / { proxy_pass http://a; } } }"
)
KONG = '_format_version: "3.0"\nservices:\n- {name: shop, host: shop.internal}\n'


def service(name: str, timeout: str) -> str:
    return (
        f'resource "google_compute_backend_service" "{name}" {{\n  name = "{name}"\n  protocol = "HTTP"\n{timeout}}}\n'
    )


def findings(rule: str, files: Mapping[str, str], **assume: str) -> list[Finding]:
    only = [one for one in all_rules() if one.id == rule]
    return [one.finding for one in audited(files, assume, rules=only).judged]


@pytest.mark.parametrize(("rule", "file", "text"), [("NGX13", "nginx.conf", NGINX), ("KNG04", "kong.yml", KONG)])
@pytest.mark.parametrize(
    ("timeout", "outcome", "number"),
    [
        ("  timeout_sec = 30\n", Outcome.VIOLATED, 30),
        ("", Outcome.VIOLATED, 30),
        ("  timeout_sec = 600\n", Outcome.MET, None),
        ("  timeout_sec = var.t\n", Outcome.UNKNOWN, None),
    ],
)
def test_the_tries_are_compared_with_the_timeout_of_the_backend_service_in_front(
    rule: str, file: str, text: str, timeout: str, outcome: Outcome, number: float | None
) -> None:
    (found,) = findings(rule, {file: text, "lb.tf": service("web", timeout)})
    assert found.outcome is outcome
    assert found.numbers.get("edge_timeout_seconds") == number
    assert outcome is Outcome.UNKNOWN or "lb.tf" in found.what


def test_an_assumption_overrides_the_service_and_two_services_are_no_answer() -> None:
    (found,) = findings("NGX13", {"n.conf": NGINX, "lb.tf": service("web", "")}, **{"edge-timeout": "600s"})
    assert found.outcome is Outcome.MET
    (found,) = findings("NGX13", {"n.conf": NGINX, "lb.tf": service("web", "") + service("api", "")})
    assert found.outcome is Outcome.UNKNOWN


@pytest.mark.parametrize(
    ("port", "shown"),
    [
        ('"127.0.0.1:8080:80"', (8080, 80, True)),
        ('"[::1]:8080:80"', (8080, 80, True)),
        ('"8080:80/tcp"', (8080, 80, False)),
        ('"0.0.0.0:8080:80"', (8080, 80, False)),
        ("{target: 80, published: 8080, host_ip: 127.0.0.1}", (8080, 80, True)),
        ('{target: 80, published: "8080"}', (8080, 80, False)),
        ('"80"', None),
        ('"8080-8090:80"', None),
        ('"8080:80/udp"', None),
        ('"${PORT}:80"', None),
        ("{target: 80, published: 8080, protocol: udp}", None),
    ],
)
def test_a_port_of_compose_is_read_in_both_forms(port: str, shown: tuple[int, int, bool] | None) -> None:
    documents = read(f"services:\n  web:\n    image: a\n    ports:\n    - {port}\n", "compose.yml")
    found = [(one.port, one.target, one.on_loopback) for one in published(documents)]
    assert found == ([shown] if shown else [])


COMPOSE = 'services:\n  web:\n    image: nginx:1.29\n    ports: ["127.0.0.1:8080:80"]\n'


@pytest.mark.parametrize(
    ("more", "assume", "outcomes"),
    [
        ({}, {}, [Outcome.UNKNOWN]),
        ({}, {"behind": "google"}, [Outcome.VIOLATED]),
        ({}, {"behind": "clients"}, [Outcome.MET]),
        ({"a.yaml": "kind: compute#healthCheck\nname: a\ntcpHealthCheck: {port: 8080}\n"}, {}, [Outcome.VIOLATED]),
        ({"a.yaml": "kind: compute#healthCheck\nname: a\ntcpHealthCheck: {port: 80}\n"}, {}, []),
        ({"n.conf": NGINX.replace("10.0.0.5:9000", "127.0.0.1:8080")}, {"behind": "google"}, [Outcome.MET]),
    ],
)
def test_a_loopback_port_is_judged_by_what_asks_it(
    more: dict[str, str], assume: dict[str, str], outcomes: list[Outcome]
) -> None:
    assert [one.outcome for one in findings("HC04", {"compose.yml": COMPOSE, **more}, **assume)] == outcomes


def test_the_port_of_a_data_base_on_the_loopback_address_is_none_of_it() -> None:
    compose = 'services:\n  db:\n    image: postgres:17\n    ports: ["127.0.0.1:5432:5432"]\n'
    assert findings("HC04", {"compose.yml": compose}, behind="google") == []


def group(name: str, stable: str) -> str:
    link = f"https://www.googleapis.com/compute/v1/projects/p/zones/z/instanceGroups/{name}"
    return f"kind: compute#instanceGroupManager\nname: {name}\ninstanceGroup: {link}\nstatus: {{isStable: {stable}}}\n"


def test_two_groups_of_one_service_are_one_tier() -> None:
    backends = "".join(f"- {{group: zones/z/instanceGroups/{name}}}\n" for name in ("blue", "green"))
    one = f"kind: compute#backendService\nname: web\nprotocol: HTTP\nbackends:\n{backends}"
    groups = {f"{name}.yaml": group(name, "false") for name in ("blue", "green")}
    assert {one.outcome for one in findings("CHN02", groups)} == {Outcome.VIOLATED}
    assert {one.outcome for one in findings("CHN02", {**groups, "web.yaml": one})} == {Outcome.MET}


def test_a_group_without_a_state_says_nothing_about_a_rollout() -> None:
    terraform = 'resource "google_compute_instance_group_manager" "a" {\n  name = "a"\n}\n'
    assert findings("CHN02", {"a.tf": terraform}) == []


def test_a_group_that_is_described_twice_is_one() -> None:
    text = group("edge", "false")
    assert {one.outcome for one in findings("CHN02", {"a.yaml": text, "b.yaml": text})} == {Outcome.MET}
