"""Kong's settings in the environment of its container: of a compose service, an image, a pod."""

from __future__ import annotations

import pytest
from tests.unit.audit.expectations import audited

from changeover.audit.finding import Outcome
from changeover.audit.rules import all_rules

KEY = "KONG_NGINX_MAIN_WORKER_SHUTDOWN_TIMEOUT"
SERVICE = "services:\n  gateway:\n    image: kong:3.4\n    stop_grace_period: 10m\n"
POD = (
    "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: gw}\nspec:\n  template:\n    spec:\n      containers:\n"
    "      - name: kong\n        image: kong/kong-gateway:3.9\n"
)

MET, VIOLATED, UNKNOWN = Outcome.MET, Outcome.VIOLATED, Outcome.UNKNOWN


def found(files: dict[str, str], rule: str = "KNG08") -> list[tuple[str, int, Outcome]]:
    only = [one for one in all_rules() if one.id == rule]
    judged = audited(files, rules=only).judged
    return [(one.finding.place.file, one.finding.place.line, one.finding.outcome) for one in judged]


@pytest.mark.parametrize(
    ("more", "line", "outcome"),
    [
        ("", 3, MET),
        (f"    environment:\n      {KEY}: 10s\n", 6, VIOLATED),
        (f'    environment:\n      {KEY}: "600s"\n', 6, MET),
        (f"    environment:\n    - A=B\n    - {KEY}=10s\n", 7, VIOLATED),
        (f"    environment: ['{KEY}=600s']\n", 5, MET),
        (f"    environment:\n      {KEY}: ${{WAIT:-600s}}\n", 6, UNKNOWN),
        (f"    environment:\n      {KEY}:\n", 6, UNKNOWN),
        (f"    environment: [{KEY}]\n", 5, UNKNOWN),
        ("    env_file: gateway.env\n", 3, UNKNOWN),
        (f"    env_file: a.env\n    environment: ['{KEY}=10s']\n", 6, VIOLATED),
        (f"    command: kong docker-start\n    environment: ['{KEY}=10s']\n", 6, VIOLATED),
    ],
)
def test_the_environment_of_a_service_is_read(more: str, line: int, outcome: Outcome) -> None:
    assert found({"compose.yaml": SERVICE + more}) == [("compose.yaml", line, outcome)]


@pytest.mark.parametrize(
    ("env", "outcome"),
    [
        ("", MET),
        (f"ENV {KEY}=10s", VIOLATED),
        (f"ENV {KEY} 10s", VIOLATED),
        (f'ENV A=B \\\n    {KEY}="10s" C=D', VIOLATED),
        (f"ENV {KEY}=600s", MET),
        (f"ENV {KEY}=10s\nENV {KEY}=600s", MET),
        (f"ENV {KEY}=$WAIT", UNKNOWN),
    ],
)
def test_the_environment_of_an_image_is_read(env: str, outcome: Outcome) -> None:
    text = f"FROM kong:3.4\n{env}\n"
    assert [one[2] for one in found({"Dockerfile": text})] == [outcome]
    built = "services:\n  gateway:\n    build: .\n    stop_grace_period: 10m\n"
    assert [one[2] for one in found({"Dockerfile": text, "compose.yaml": built})] == [outcome]
    over = f"{built}    environment: ['{KEY}=5s']\n"
    assert found({"Dockerfile": text, "compose.yaml": over}) == [("compose.yaml", 5, VIOLATED)]


@pytest.mark.parametrize(
    ("more", "line", "outcome"),
    [
        ("", 8, MET),
        (f"        env:\n        - name: {KEY}\n          value: 10s\n", 12, VIOLATED),
        (f"        env:\n        - {{name: A, value: b}}\n        - {{name: {KEY}, value: 600s}}\n", 12, MET),
        (
            f"        env:\n        - name: {KEY}\n          valueFrom: {{configMapKeyRef: {{name: a, key: b}}}}\n",
            11,
            UNKNOWN,
        ),
        ("        envFrom:\n        - configMapRef: {name: gateway}\n", 8, UNKNOWN),
    ],
)
def test_the_environment_of_a_pod_is_read(more: str, line: int, outcome: Outcome) -> None:
    assert found({"gw.yaml": POD + more}) == [("gw.yaml", line, outcome)]


def test_the_environment_overrides_kong_conf_and_a_file_of_variables() -> None:
    conf = "proxy_listen = 0.0.0.0:8000\nnginx_main_worker_shutdown_timeout = 600s\n"
    service = f"{SERVICE}    environment: ['{KEY}=10s']\n"
    assert found({"kong.conf": conf, "compose.yaml": SERVICE}) == [("kong.conf", 2, MET)]
    assert found({"kong.conf": conf, "compose.yaml": service}) == [("compose.yaml", 5, VIOLATED)]
    given = {"kong.env": f"{KEY}=600s\n", "compose.yaml": f"{SERVICE}    env_file: kong.env\n"}
    assert found(given) == [("kong.env", 1, MET)]
    assert found({**given, "compose.yaml": service}) == [("compose.yaml", 5, VIOLATED)]


def test_each_service_has_its_own_environment_and_jobs_serve_nothing() -> None:
    text = (
        f"services:\n  a:\n    image: kong:3.4\n    environment: ['{KEY}=10s']\n  b:\n    image: kong:3.4\n"
        f"  migrate:\n    image: kong:3.4\n    command: kong migrations up\n    environment: ['{KEY}=10s']\n"
        f"  own:\n    image: registry.example.org/gateway:1\n    environment: ['{KEY}=11s']\n"
        f"  client:\n    image: registry.example.org/client:1\n    environment: ['KONG_ADMIN_URL=http://a']\n"
        f"  ui:\n    image: pantsel/konga\n    environment: ['KONG_ADDR=a']\n"
    )
    assert found({"compose.yaml": text}) == [
        ("compose.yaml", 4, VIOLATED),
        ("compose.yaml", 6, MET),
        ("compose.yaml", 13, VIOLATED),
    ]


def test_the_pool_of_a_kong_in_a_container_is_joined_with_its_services() -> None:
    files = {
        "compose.yaml": f"{SERVICE}    environment: ['KONG_UPSTREAM_KEEPALIVE_IDLE_TIMEOUT=120']\n",
        "kong.yml": '_format_version: "3.0"\nservices:\n- name: shop\n  url: http://10.0.0.6:9000\n',
        "inner.conf": "events {}\nhttp {\n    keepalive_timeout 75s;\n    server { listen 9000; }\n}\n",
    }
    assert found(files, "KNG03") == [("inner.conf", 3, VIOLATED)]
    assert found({**files, "compose.yaml": SERVICE}, "KNG03") == [("inner.conf", 3, MET)]
