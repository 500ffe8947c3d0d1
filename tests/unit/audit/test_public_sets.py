"""Kinds of sets that public projects have: several Dockerfiles, settings elsewhere, names of services; in own words."""

from __future__ import annotations

import pytest
from tests.unit.audit.expectations import audited, violations

from changeover.audit.audit import Audit
from changeover.audit.files import Loaded
from changeover.audit.finding import Outcome
from changeover.cli.rendering.audit import text

PYTHON = "FROM python:3.12\n"


def outcomes(found: Audit, rule: str) -> list[tuple[str, Outcome]]:
    return [(one.finding.place.file, one.finding.outcome) for one in found.judged if one.rule.id == rule]


def test_each_service_has_the_dockerfile_that_its_build_names() -> None:
    found = audited(
        {
            "deploy/compose.yml": "services:\n"
            "  api:\n    build: ../api\n    stop_grace_period: 500s\n"
            "  page:\n    build: {context: .., dockerfile: page/Dockerfile}\n",
            "api/Dockerfile": PYTHON + 'CMD ["uvicorn", "app:app"]\n',
            "page/Dockerfile": PYTHON + 'CMD ["hypercorn", "app:app"]\n',
        }
    )
    assert {(one.software, one.object) for one in found.view.stops} == {
        ("uvicorn", "service api"),
        ("hypercorn", "service page"),
    }
    assert ("deploy/compose.yml", 6, "APP06") in violations(found)


def test_an_image_that_no_service_is_built_from_has_a_stop_of_its_own() -> None:
    found = audited(
        {
            "compose.yml": "services:\n  db:\n    image: postgres:16\n",
            "Dockerfile": PYTHON + 'CMD ["uvicorn", "app:app"]\n',
        }
    )
    assert outcomes(found, "APP06") == [("Dockerfile", Outcome.UNKNOWN)]


def test_one_dockerfile_of_several_builds_is_that_of_no_other_service() -> None:
    found = audited(
        {
            "compose.yml": "services:\n  api:\n    build: ./api\n  worker:\n    build: ./worker\n",
            "api/Dockerfile": PYTHON + 'CMD ["uvicorn", "app:app"]\n',
        }
    )
    assert {one.object for one in found.view.stops} == {"service api"}


STAGES = (
    "FROM python:3.12 AS base\nCMD uvicorn app:app\n"
    "FROM base AS worker\nCMD celery -A app worker\n"
    "FROM base AS production\nCOPY . .\n"
)


@pytest.mark.parametrize(("target", "stops"), [("production", 1), ("worker", 0), ("base", 1), ("none", 1)])
def test_a_stage_has_the_command_of_the_stage_that_it_builds_on(target: str, stops: int) -> None:
    found = audited(
        {
            "compose.yml": f"services:\n  one:\n    build: {{context: ., target: {target}}}\n",
            "Dockerfile": STAGES,
        }
    )
    assert len(found.view.stops) == stops


@pytest.mark.parametrize("option", ["-c /etc/app.conf", "--config=python:app.settings", "-c $CONF"])
def test_settings_in_a_file_that_is_not_given_are_unknown(option: str) -> None:
    found = audited({"app.service": f"[Service]\nExecStart=/bin/gunicorn {option} app:app\nTimeoutStopSec=600\n"})
    assert outcomes(found, "APP01") == [("app.service", Outcome.UNKNOWN)]
    assert outcomes(found, "APP02") == [("app.service", Outcome.UNKNOWN)]


def test_an_option_is_known_whatever_settings_are_not_given() -> None:
    found = audited({"app.service": "[Service]\nExecStart=/bin/gunicorn -c x.py --graceful-timeout 5 app:app\n"})
    assert ("app.service", 2, "APP01") in violations(found)


def test_settings_that_no_command_names_have_a_line() -> None:
    found = audited({"gunicorn.conf.py": "workers = 2\n"})
    assert ("gunicorn.conf.py", 1, "APP01") in violations(found)


NGINX = "http {{ server {{ listen 80; location / {{ proxy_pass http://{}; }} }} }}\n"
KONG = "_format_version: '3.0'\nservices:\n- name: one\n  url: http://{}\n"


@pytest.mark.parametrize("command", ["uvicorn a:a --port 9000", "gunicorn -k gthread -b 0.0.0.0:9000 a:a"])
@pytest.mark.parametrize("name", ["one:9000", "first:9000", "two:9000"])
def test_a_service_is_joined_by_its_name_where_others_have_its_port(command: str, name: str) -> None:
    compose = (
        f"services:\n  one:\n    command: {command}\n    container_name: first\n  two:\n    command: {command}\n"
        "  kong:\n    image: kong:3.9\n"
    )
    found = audited({"compose.yml": compose, "kong.yml": KONG.format(name)})
    line = 6 if name == "two:9000" else 3
    assert ("compose.yml", line, "KNG03") in violations(found)
    assert [one.inner.place.line for one in found.view.links] == [line]


def test_a_service_that_runs_the_command_of_its_image_is_joined_by_its_name() -> None:
    found = audited(
        {
            "compose.yml": "services:\n  one:\n    build: one\n  two:\n    build: two\n",
            "one/Dockerfile": PYTHON + "CMD uvicorn a:a\n",
            "two/Dockerfile": PYTHON + "CMD uvicorn a:a\n",
            "nginx.conf": NGINX.format("two:8000"),
        }
    )
    assert [one.inner.place.file for one in found.view.links] == ["two/Dockerfile"]


def test_a_port_in_a_formatted_string_is_known_and_one_from_elsewhere_is_not() -> None:
    known = audited({"gunicorn.conf.py": "import os\nbind = f\"0.0.0.0:{os.environ.get('PORT', '7001')}\"\n"})
    assert [str(one) for one in known.view.hops[0].listens] == ["*:7001"]
    unknown = audited({"gunicorn.conf.py": "from x import port\nbind = f'0.0.0.0:{port}'\n"})
    assert unknown.view.hops[0].listens == ()


@pytest.mark.parametrize("rule", ["NGX07", "NGX08", "NGX09", "NGX10", "NGX11", "NGX12", "NGX13"])
def test_routes_in_an_include_that_is_not_given_are_unknown(rule: str) -> None:
    found = audited({"nginx.conf": "events {}\nhttp {\n    include /etc/nginx/sites-enabled/*;\n}\n"})
    assert outcomes(found, rule) == [("nginx.conf", Outcome.UNKNOWN)]


POD = """\
apiVersion: v1
kind: Pod
metadata: {name: web}
spec:
  terminationGracePeriodSeconds: 60
  containers:
  - name: nginx
    image: nginx:1.27
    ports: [{containerPort: 80}]
    lifecycle: {preStop: {exec: {command: [sleep, "60"]}}}
"""


def test_a_hook_that_takes_all_the_time_until_sigkill_is_no_wrong_signal() -> None:
    found = {name for _, _, name in violations(audited({"pod.yml": POD}))}
    assert "K8S01" in found
    assert "NGX01" not in found


@pytest.mark.parametrize("command", ["bash %(ENV_START)s", "%(ENV_HOME)s/start", "bash $START", "sh run/entrypoint"])
def test_a_script_that_a_variable_names_is_unknown(command: str) -> None:
    found = audited({"supervisord.conf": f"[program:app]\ncommand={command}\n"})
    assert outcomes(found, "APP05") == [("supervisord.conf", Outcome.UNKNOWN)]


@pytest.mark.parametrize(
    "files",
    [
        {"s.conf": '[program:a]\ncommand=gunicorn a:a\nenvironment=A="1",GUNICORN_CMD_ARGS="--graceful-timeout 500"\n'},
        {
            "pod.yml": "apiVersion: v1\nkind: Pod\nspec:\n  containers:\n  - name: a\n    command: [gunicorn, 'a:a']\n"
            "    env: [{name: GUNICORN_CMD_ARGS, value: --graceful-timeout 500}]\n"
        },
    ],
)
def test_supervisord_and_pods_set_options_of_gunicorn_too(files: dict[str, str]) -> None:
    assert "APP01" not in {name for _, _, name in violations(audited(files))}


@pytest.mark.parametrize(
    ("image", "signal"),
    [
        ("nginx:1.27", "QUIT"),
        ("docker.io/library/nginx", "QUIT"),
        ("registry.example.com:5000/nginx:1.27@sha256:0", "QUIT"),
        ("nginxinc/nginx-unprivileged:stable", "QUIT"),
        ("envoyproxy/envoy-dev:latest", "TERM"),
        ("kong/kong-gateway:3.9", "QUIT"),
        ("haproxytech/haproxy-alpine:3.0", "USR1"),
        ("bitnami/nginx:1.27", None),
        ("example/kong", None),
    ],
)
@pytest.mark.parametrize(
    "files",
    [
        {"compose.yml": "services:\n  web:\n    image: {}\n"},
        {"Dockerfile": "FROM {}\nCOPY . .\n"},
        {"pod.yml": "kind: Pod\napiVersion: v1\nspec:\n  containers:\n  - image: {}\n    ports: [{{hostPort: 1}}]\n"},
    ],
)
def test_the_signal_of_an_image_is_known_if_the_makers_of_its_software_built_it(
    image: str, signal: str | None, files: dict[str, str]
) -> None:
    found = audited({name: body.format(image) for name, body in files.items()})
    (stop,) = [one for one in found.view.stops if one.software]
    assert "pod.yml" not in files or "K8S01" in {name for _, _, name in violations(found)}
    assert [one.name for one in stop.signals[:1]] == ([signal] if signal else [])
    assert bool(stop.signals) or "STOPSIGNAL" in stop.missing


def test_an_exec_stop_that_returns_at_once_is_reported_where_it_stands() -> None:
    unit = "[Service]\nExecStart=/usr/sbin/nginx\nExecStop=/bin/kill -s QUIT $MAINPID\n"
    assert ("nginx.service", 3, "NGX01") in violations(audited({"nginx.service": unit}))


def test_the_text_names_once_what_several_rules_lack() -> None:
    found = audited({"nginx.conf": "http {\n    include sites/*;\n}\n"})
    shown = text(found, Loaded(), every=False).plain
    assert "nginx.conf:1  NGX06, NGX07" not in shown
    assert shown.count("names: it may pass requests on") == 2
    assert "NGX07, NGX08, NGX09, NGX10, NGX11, NGX12, NGX13 unknown  no route is in the given files" in shown


def test_the_text_names_every_line_that_lacks_a_fact() -> None:
    routes = "".join(f"location /{n} {{\nproxy_pass http://10.0.0.{n};\n}}\n" for n in (1, 2, 3))
    found = audited({"nginx.conf": f"http {{ server {{\n{routes}}} }}\n"})
    assert "nginx.conf:2, 5, 8  CHN01, STR02 unknown  keepalive" in text(found, Loaded(), every=False).plain


def test_a_port_that_two_names_have_in_common_joins_neither() -> None:
    files = {
        "a/nginx.conf": "http { server { listen 80; location /1 { proxy_pass http://one:5000; }"
        " location /2 { proxy_pass http://two:5000; } } }\n",
        "b/nginx.conf": "http { server { listen 5000; location / { proxy_pass http://three:9000; } } }\n",
    }
    assert audited(files).view.links == ()
    same = {**files, "a/nginx.conf": files["a/nginx.conf"].replace("two", "one")}
    assert {one.inner.place.file for one in audited(same).view.links} == {"b/nginx.conf"}


@pytest.mark.parametrize(("name", "outcome"), [("web-1", Outcome.VIOLATED), ("registryv2", Outcome.UNKNOWN)])
def test_a_version_in_a_name_is_no_number_of_a_machine(name: str, outcome: Outcome) -> None:
    found = audited({"nginx.conf": NGINX.format(f"{name}:5000")})
    assert outcomes(found, "NGX14") == [("nginx.conf", outcome)]


@pytest.mark.parametrize("hook", ["[/bin/busybox, sleep, '60']", "[sh, -c, exec sleep 60]"])
def test_a_hook_that_runs_another_command_takes_the_time_of_that(hook: str) -> None:
    assert "K8S01" in {name for _, _, name in violations(audited({"pod.yml": POD.replace('[sleep, "60"]', hook)}))}


@pytest.mark.parametrize(
    ("tags", "outcome"),
    [
        (["nginx:1.27-alpine"], Outcome.MET),
        (["nginx:1.28"], Outcome.MET),
        (["nginx:1.9-alpine"], Outcome.MET),
        (["nginx:1.29"], Outcome.VIOLATED),
        (["docker.io/library/nginx:1.29.7"], Outcome.VIOLATED),
        (["nginxinc/nginx-unprivileged:1.25.3-alpine"], Outcome.MET),
        (["nginx:1.27", "nginx:1.27"], Outcome.MET),
        (["nginx:1.27", "nginx:latest"], Outcome.VIOLATED),
        (["nginx:stable"], Outcome.VIOLATED),
        (["openresty:1.25"], Outcome.VIOLATED),
    ],
)
def test_the_tag_of_an_image_is_the_version_of_nginx(tags: list[str], outcome: Outcome) -> None:
    services = "".join(f"  web{n}:\n    image: {tag}\n" for n, tag in enumerate(tags))
    found = audited({"nginx.conf": NGINX.format("10.0.0.1:9000"), "compose.yml": f"services:\n{services}"})
    assert outcomes(found, "NGX12") == [("nginx.conf", outcome)]


@pytest.mark.parametrize(
    ("value", "outcome"),
    [
        ("${GRACE:-500}", Outcome.MET),
        ("${GRACE-5}", Outcome.VIOLATED),
        ("$GRACE", Outcome.UNKNOWN),
        ("${G}", Outcome.UNKNOWN),
    ],
)
def test_a_variable_with_a_default_has_it(value: str, outcome: Outcome) -> None:
    found = audited({"c.yml": f"services:\n  a:\n    command: gunicorn --graceful-timeout {value} a:a\n"})
    assert outcomes(found, "APP01") == [("c.yml", outcome)]


def test_options_for_the_entrypoint_of_an_image_name_no_server() -> None:
    found = audited({"compose.yml": "services:\n  helper:\n    image: helper\n    command: [-admin-host, envoy]\n"})
    assert outcomes(found, "APP05") == []


@pytest.mark.parametrize(("grace", "outcome"), [(60, Outcome.VIOLATED), (600, Outcome.UNKNOWN)])
@pytest.mark.parametrize("image", ["nginx:1.27", "registry.example.com/shop:2"])
def test_a_hook_of_unknown_length_leaves_no_more_than_the_whole_time(image: str, grace: int, outcome: Outcome) -> None:
    pod = POD.replace("nginx:1.27", image).replace("60\n", f"{grace}\n").replace('[sleep, "60"]', "[/drain]")
    assert outcomes(audited({"pod.yml": pod}), "K8S01") == [("pod.yml", outcome)]
