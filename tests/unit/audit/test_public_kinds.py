"""Kinds of configuration that public projects have, in own words: what a rule says, and what it must not say."""

from __future__ import annotations

import pytest
from tests.unit.audit.expectations import audited, documents, violations

from changeover.audit.finding import Outcome
from changeover.audit.hops.nginx import address
from changeover.conf.place import Unreadable

PROXY = "http {{\n    upstream app {{ server 10.0.0.1:1; server 10.0.0.2:2; }}\n    server {{ listen 80; {} }}\n}}\n"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("http://$backend:8000", None),
        ("http://${backend}:8000", None),
        ("$backend", None),
        ("http://$host$request_uri", None),
        ("https://api.$domain/x", None),
        ("http://app:$port", None),
        ("http://app:8000$request_uri", "app:8000"),
        ("http://app$uri", "app:80"),
        ("https://app/x?y=$arg_z", "app:443"),
        ("grpc://app:50051", "app:50051"),
        ("10.0.0.1:9000", "10.0.0.1:9000"),
        ("[::1]:80", "[::1]:80"),
        ("http://[2001:db8::1]/x", "[2001:db8::1]:80"),
        ("unix:/run/app.sock", "unix:/run/app.sock"),
        ("http://unix:/run/app.sock:/x", "unix:/run/app.sock"),
    ],
)
def test_an_address_is_known_unless_a_variable_stands_in_it(text: str, found: str | None) -> None:
    read = address(text)
    assert (None if read is None else str(read)) == found


@pytest.mark.parametrize("passed", ["http://$backend:8000", "http://${backend}", "https://$host$request_uri"])
def test_servers_that_a_variable_names_are_unknown(passed: str) -> None:
    found = audited({"nginx.conf": PROXY.format(f"location / {{ proxy_pass {passed}; }}")})
    assert [one.finding.outcome for one in found.judged if one.rule.id == "NGX10"] == [Outcome.UNKNOWN]


def test_an_upstream_is_known_with_the_path_of_the_request_behind_it() -> None:
    found = audited({"nginx.conf": PROXY.format("location / { proxy_pass http://app$request_uri; }")})
    assert {name for _, _, name in violations(found)} == {"NGX07", "NGX12"}


@pytest.mark.parametrize(
    "location",
    ["location / { proxy_pass http://${BACKEND}:8000; }", "listen ${PORT};", "listen $PORT;", "server_name ${HOST};"],
)
def test_a_template_for_envsubst_is_unreadable(location: str) -> None:
    with pytest.raises(Unreadable, match="render it first"):
        documents({"default.conf.template": PROXY.format(location)})


DOCKERFILE = 'FROM python:3.12\n{}CMD ["gunicorn", "app:app"]\n'
COMPOSE = "services:\n  worker:\n    build: .\n    {}\n"


@pytest.mark.parametrize(
    ("entrypoint", "keys", "stops"),
    [
        ("", "restart: always", True),
        ("", "command: celery -A app worker", False),
        ("", "entrypoint: [/run-jobs]", False),
        ("", "command: gunicorn app:other", True),
        ('ENTRYPOINT ["gunicorn"]\n', "command: app:other", True),
    ],
)
def test_a_service_with_a_command_of_its_own_does_not_run_that_of_its_image(
    entrypoint: str, keys: str, stops: bool
) -> None:
    found = audited({"Dockerfile": DOCKERFILE.format(entrypoint), "docker-compose.yml": COMPOSE.format(keys)})
    assert ("APP06" in {one.rule.id for one in found.judged}) is stops


@pytest.mark.parametrize(
    ("image", "command", "stops"),
    [
        ("kong:3.6", "", {"kong"}),
        ("kong:3.6", "command: kong docker-start", {"kong"}),
        ("kong:3.6", "command: kong migrations bootstrap", set()),
        ("kong:3.6", 'command: sh -c "kong migrations up && kong migrations finish"', set()),
        ("nginx:1.27", "command: [nginx, -g, daemon off;]", {"nginx"}),
        ("nginx:1.27", "command: [-g, daemon off;]", {"nginx"}),
        ("nginx:1.27", "command: [certbot, renew]", set()),
    ],
)
def test_an_official_image_runs_its_server_unless_the_command_is_another_job(
    image: str, command: str, stops: set[str]
) -> None:
    found = audited({"compose.yml": f"services:\n  one:\n    image: {image}\n    {command}\n"})
    assert {one.software for one in found.view.stops} == stops


LUA = """\
http {
    init_by_lua_block {
        local x = { a = "}", b = '{', c = [[ } ]], d = [==[ }} ]] ]==] }  -- a comment with } and "
        --[[ a long one
             with } ]]
        print("\\"}")
    }
    server { listen 80; location / { content_by_lua_block { ngx.say("hi {") } proxy_pass http://10.0.0.1; } }
}
"""


def test_braces_in_strings_and_comments_of_lua_end_no_block() -> None:
    found = audited({"nginx.conf": LUA})
    assert ("nginx.conf", 8, "NGX10") in violations(found)


def test_servers_that_lua_chooses_are_unknown() -> None:
    upstream = "upstream lua { server 0.0.0.1; balancer_by_lua_block { balance() } }"
    found = audited(
        {"nginx.conf": f"http {{ {upstream} server {{ listen 80; location / {{ proxy_pass http://lua; }} }} }}"}
    )
    assert [one.finding.outcome for one in found.judged if one.rule.id == "NGX10"] == [Outcome.UNKNOWN]


def test_a_legacy_health_check_asks_by_http() -> None:
    text = """resource "google_compute_http_health_check" "web" {
  name = "web"
}
resource "google_compute_backend_service" "web" {
  name = "web"
  health_checks = [google_compute_http_health_check.web.id]
}
"""
    found = audited({"main.tf": text})
    assert {one.finding.outcome for one in found.judged if one.rule.id == "HC01"} <= {Outcome.MET}


OPTIONS = "--threads 10 --graceful-timeout 500"
GUNICORN = 'CMD ["gunicorn", "app:app"]'


@pytest.mark.parametrize(
    "files",
    [
        {"Dockerfile": f'FROM python:3.12\nENV A=1 GUNICORN_CMD_ARGS="{OPTIONS}"\n{GUNICORN}\n'},
        {"Dockerfile": f"FROM python:3.12\nENV GUNICORN_CMD_ARGS {OPTIONS}\n{GUNICORN}\n"},
        {"Dockerfile": f"FROM python:3.12\nCMD GUNICORN_CMD_ARGS='{OPTIONS}' gunicorn app:app\n"},
        {"app.service": f'[Service]\nEnvironment="GUNICORN_CMD_ARGS={OPTIONS}"\nExecStart=/bin/gunicorn app:app\n'},
        {"c.yml": f"services:\n  a:\n    command: gunicorn a:a\n    environment: {{GUNICORN_CMD_ARGS: '{OPTIONS}'}}\n"},
        {"c.yml": f"services:\n  a:\n    command: gunicorn a:a\n    environment: ['GUNICORN_CMD_ARGS={OPTIONS}']\n"},
    ],
)
def test_options_of_gunicorn_in_its_environment_are_read(files: dict[str, str]) -> None:
    assert not {"APP01", "APP02"} & {name for _, _, name in violations(audited(files))}


def test_an_option_of_the_command_line_overrides_that_of_the_environment() -> None:
    text = f'FROM python:3.12\nENV GUNICORN_CMD_ARGS="{OPTIONS}"\nCMD ["gunicorn", "--graceful-timeout", "5", "a:a"]\n'
    assert "APP01" in {name for _, _, name in violations(audited({"Dockerfile": text}))}
