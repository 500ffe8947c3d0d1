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
        ('"${PORT}:80"', (None, None, False)),
        ("{target: 80, published: 8080, protocol: udp}", None),
    ],
)
def test_a_port_of_compose_is_read_in_both_forms(port: str, shown: tuple[int | None, int | None, bool] | None) -> None:
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


UVICORN = "[Service]\nExecStart=/a/uvicorn --timeout-keep-alive {} shop:app\n"
SYNC = "[Service]\nExecStart=/a/gunicorn shop:app\n"


@pytest.mark.parametrize(
    ("unit", "assume", "outcomes"),
    [
        (UVICORN.format(5), {"behind": "google"}, [Outcome.VIOLATED]),
        (UVICORN.format(620), {"behind": "google"}, [Outcome.MET]),
        (UVICORN.format(5), {}, [Outcome.UNKNOWN]),
        (UVICORN.format(5), {"behind": "clients"}, []),
        (UVICORN.format("$T"), {"behind": "google"}, [Outcome.UNKNOWN]),
        (SYNC, {"behind": "google"}, []),  # it keeps no connection
    ],
)
def test_a_first_hop_of_any_software_outlives_the_pool_of_the_load_balancer(
    unit: str, assume: dict[str, str], outcomes: list[Outcome]
) -> None:
    assert [one.outcome for one in findings("CHN01", {"app.service": unit}, **assume)] == outcomes


def test_a_service_among_the_files_shows_what_stands_in_front() -> None:
    (found,) = findings("CHN01", {"app.service": UVICORN.format(5), "lb.tf": service("web", "")})
    assert found.outcome is Outcome.VIOLATED
    assert "backendService google_compute_backend_service.web in lb.tf:1" in found.what


def test_an_application_behind_a_hop_that_is_not_joined_with_it_is_not_taken_for_the_first() -> None:
    files = {"app.service": UVICORN.format(5), "n.conf": NGINX}
    assert not [one for one in findings("CHN01", files, behind="google") if one.outcome is Outcome.VIOLATED]


@pytest.mark.parametrize(
    ("path", "outcome"), [("/status/ready", Outcome.MET), ("/status", Outcome.VIOLATED), ("", Outcome.VIOLATED)]
)
def test_the_health_check_in_front_of_kong_asks_for_its_readiness(path: str, outcome: Outcome) -> None:
    asked = f'    request_path = "{path}"\n' if path else ""
    web = service("web", "  health_checks = [google_compute_health_check.a.id]\n")
    check = f'resource "google_compute_health_check" "a" {{\n  http_health_check {{\n    port = 8007\n{asked}  }}\n}}\n'
    kong = "proxy_listen = 0.0.0.0:8000\nstatus_listen = 0.0.0.0:8007\n"
    (found,) = findings("HC03", {"kong.conf": kong, "lb.tf": web + check})
    assert found.outcome is outcome


STREAM = "stream {{ server {{ listen 0.0.0.0:9000; proxy_timeout {}; proxy_pass 10.0.1.5:8000; }} }}"
FRONT = "http { upstream f { server 10.0.0.9:9000; keepalive 8; } server { location / { proxy_pass http://f; } } }"


@pytest.mark.parametrize(
    ("limit", "front", "outcome"),
    [
        ("10m", None, Outcome.UNKNOWN),
        ("15m", None, Outcome.MET),
        ("10s", None, Outcome.VIOLATED),
        ("10m", FRONT, Outcome.MET),
        ("40s", FRONT, Outcome.VIOLATED),
        ("10m", FRONT.replace("keepalive 8;", "keepalive 8; keepalive_timeout $t;"), Outcome.UNKNOWN),
    ],
)
def test_a_tcp_proxy_is_not_passed_without_the_pool_in_front(limit: str, front: str | None, outcome: Outcome) -> None:
    files = {"l4.conf": STREAM.format(limit), **({"front.conf": front} if front else {})}
    (found,) = findings("STR03", files, nginx="1.29.7")
    assert found.outcome is outcome


TCP = 'resource "google_compute_backend_service" "l4" {\n  protocol = "TCP"\n  load_balancing_scheme = "EXTERNAL"\n'


@pytest.mark.parametrize(
    ("timeout", "front", "outcome"),
    [
        (60, None, Outcome.UNKNOWN),
        (60, FRONT, Outcome.VIOLATED),
        (66, FRONT, Outcome.MET),
        (10, None, Outcome.VIOLATED),
        (600, None, Outcome.MET),
    ],
)
def test_the_idle_time_of_a_tcp_service_is_compared_with_known_pools(
    timeout: int, front: str | None, outcome: Outcome
) -> None:
    files = {"lb.tf": f"{TCP}  timeout_sec = {timeout}\n}}\n", **({"front.conf": front} if front else {})}
    (found,) = findings("GCP07", files, nginx="1.29.7")
    assert found.outcome is outcome


def test_a_lifetime_is_unknown_where_the_service_in_front_is_not_joined() -> None:
    files = {"n.conf": NGINX, "lb.tf": service("web", "") + service("api", "")}
    assert [one.outcome for one in findings("GCP08", files)] == [Outcome.UNKNOWN]


@pytest.mark.parametrize(("threshold", "outcome"), [(4, Outcome.VIOLATED), (5, Outcome.MET)])
def test_autohealing_is_slower_by_interval_times_threshold(threshold: int, outcome: Outcome) -> None:
    texts = {
        "a.yaml": "kind: compute#instanceGroupManager\nname: g\nautoHealingPolicies: [{healthCheck: h/live}]\n",
        "b.yaml": "kind: compute#backendService\nname: s\nhealthChecks: [h/ready]\nbackends: [{group: g/g}]\n",
        "c.yaml": "kind: compute#healthCheck\nname: ready\n",  # unhealthy after 15 s
        "d.yaml": f"kind: compute#healthCheck\nname: live\ncheckIntervalSec: 10\nunhealthyThreshold: {threshold}\n",
    }
    (found,) = findings("MIG09", texts)
    assert found.outcome is outcome
