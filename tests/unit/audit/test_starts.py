"""The server behind wrappers and shells, in every file that starts one, and the process that gets the stop signal."""

from __future__ import annotations

import json
import shlex

import pytest
from tests.unit.audit.expectations import audited

from changeover.audit.commands import commands
from changeover.audit.finding import Outcome
from changeover.audit.hops.app import App
from changeover.audit.rules import all_rules
from changeover.audit.starts import SERVERS, Reaches, start
from changeover.conf.registry import reader_of

WRAPPERS = [
    "",
    "python -m",
    "/usr/bin/python3.11 -u -m",
    "python -um",
    "python -X dev -m",
    "python /venv/bin/",
    "tini --",
    "/sbin/tini -g --",
    "/usr/bin/tini -v -s --",
    "dumb-init --",
    "dumb-init",
    "dumb-init --single-child --",
    "uv run",
    "uv run --no-dev --frozen",
    "uv run --python 3.12 --extra web --",
    "uv run -m",
    "uv --directory /app run --no-sync",
    "poetry run",
    "poetry -C /app run",
    "pipenv run",
    "python -m poetry run",
    "env A=B C=D",
    "env -i -u HOME A=B",
    "/usr/bin/env -S",
    "env -S python3 -m",
    "gosu app",
    "su-exec app:app",
    "nice -n 5",
    "opentelemetry-instrument --traces_exporter console",
    "ddtrace-run",
    "newrelic-admin run-program",
    "tini -- uv run --no-dev",
    "dumb-init -- env A=B python -m",
]


def wrapped(wrapper: str, server: str) -> str:
    return f"{wrapper}{server}" if wrapper.endswith("/") else f"{wrapper} {server}".strip()


def files(command: str) -> dict[str, str]:
    """The same command in every file that can start it."""
    words = json.dumps(shlex.split(command))
    container = {"name": "a", "image": "b", "ports": [{"containerPort": 80}], "command": json.loads(words)}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": {"containers": [container]}}
    return {
        "Dockerfile": f"FROM python:3.11\nCMD {words}\n",
        "compose.yaml": f"services:\n  app:\n    image: shop\n    command: {words}\n",
        "compose.yml": f"services:\n  app:\n    image: shop\n    command: {json.dumps(command)}\n",
        "supervisord.conf": f"[program:app]\ncommand={command}\n",
        "app.service": f"[Service]\nExecStart={command}\n",
        "pod.json": json.dumps(pod, indent=1),
    }


def outcomes(rule: str, file: str, text: str) -> list[Outcome]:
    only = [one for one in all_rules() if one.id == rule]
    return [one.finding.outcome for one in audited({file: text}, rules=only).judged]


@pytest.mark.parametrize("wrapper", WRAPPERS)
@pytest.mark.parametrize("server", sorted(SERVERS))
def test_a_server_is_seen_behind_its_wrapper_in_every_file(wrapper: str, server: str) -> None:
    for file, text in files(f"{wrapped(wrapper, server)} a:app --workers 3").items():
        reader = reader_of(text, file)
        assert reader is not None
        (found,) = commands(reader.read(text, file))
        assert (found.software, found.arguments) == (server, ("a:app", "--workers", "3")), file


@pytest.mark.parametrize("wrapper", ["python -m", "tini --", "uv run --no-dev"])
def test_rules_apply_to_a_server_behind_a_wrapper_in_every_file(wrapper: str) -> None:
    for file, text in files(f"{wrapper} gunicorn -k gthread --graceful-timeout 3 a:app").items():
        assert outcomes("APP01", file, text) == [Outcome.VIOLATED], file
        assert outcomes("APP03", file, text) == [Outcome.MET], file


@pytest.mark.parametrize(
    "command",
    [
        "/entry.sh gunicorn a:app",
        "/docker-entrypoint.sh gunicorn a:app",
        "bash /srv/run.sh",
        "conda run -n web uvicorn a:app",
        "dumb-init --rewrite 15:3 -- gunicorn a:app",
        "tini -p TERM -- gunicorn a:app",
        "wait-for-it.sh db:5432 -- gunicorn a:app",
        "python -c 'import uvicorn; uvicorn.run()' uvicorn",
        "python manage.py run --server gunicorn",
        "sh -c './start.sh && true'",
        "sudo -u app gunicorn a:app",
        "./start --port 80",
        "sh -c 'exec $START'",
        "env -S " * 400 + "gunicorn a:app",
    ],
)
def test_what_cannot_be_seen_through_is_unknown_in_every_file(command: str) -> None:
    for file, text in files(command).items():
        assert outcomes("APP05", file, text) == [Outcome.UNKNOWN], file


@pytest.mark.parametrize(
    "command", ["postgres -c fsync=off", "celery -A shop worker", "kong migrations up", "node a.js"]
)
def test_other_programs_are_none_of_the_rule(command: str) -> None:
    assert not start(shlex.split(command)).is_unknown


@pytest.mark.parametrize(
    ("script", "reaches"),
    [
        ("uvicorn a:app", Reaches.PERHAPS),
        ("uvicorn a:app --log-config 'a && b' --workers $(nproc)", Reaches.PERHAPS),
        ("uvicorn a:app 2>&1", Reaches.PERHAPS),
        ("exec uvicorn a:app", Reaches.YES),
        ("A=B exec uvicorn a:app", Reaches.YES),
        ("exec env A=B python -m uvicorn a:app", Reaches.YES),
        ("python migrate.py && exec uvicorn a:app", Reaches.YES),
        ("pip install gunicorn; exec uvicorn a:app", Reaches.YES),
        ("set -e\npython migrate.py # gunicorn\nexec uvicorn a:app", Reaches.YES),
        ("python migrate.py && uvicorn a:app", Reaches.NO),
        ("true && uvicorn a:app -t 6 -s a -v -c b -T -V", Reaches.NO),
        ("uvicorn a:app && echo bye", Reaches.NO),
        ("uvicorn a:app; echo done", Reaches.NO),
        ("uvicorn a:app || exit 1", Reaches.NO),
        ("uvicorn a:app | tee log", Reaches.NO),
        ("exec uvicorn a:app | tee log", Reaches.NO),
        ("exec uvicorn a:app & wait", Reaches.NO),
        ("(exec uvicorn a:app)", Reaches.NO),
        ("uvicorn a:app &\nwait", Reaches.NO),
        ("while true; do uvicorn a:app; done", Reaches.NO),
        ("until uvicorn a:app; do sleep 1; done", Reaches.NO),
        ("if true; then uvicorn a:app; fi", Reaches.NO),
        ("{ uvicorn a:app; }", Reaches.NO),
        ("sh -c 'true; uvicorn a:app'", Reaches.NO),
        ("exec sh -c 'true; uvicorn a:app'", Reaches.NO),
        ("trap 'kill $!' TERM; uvicorn a:app & wait", Reaches.UNKNOWN),
    ],
)
def test_a_shell_keeps_the_signal_unless_it_execs_the_server(script: str, reaches: Reaches) -> None:
    for shell in (["sh", "-c"], ["/bin/bash", "-ec"], ["bash", "-o", "pipefail", "-c"], ["tini", "--", "bash", "-lc"]):
        found = start([*shell, script])
        assert (found.software, found.reaches) == ("uvicorn", reaches), shell


EXPECTED = {"pod.json": Outcome.VIOLATED, "Dockerfile": Outcome.VIOLATED, "compose.yaml": Outcome.VIOLATED}


@pytest.mark.parametrize(
    "script",
    ["uvicorn a:app && echo bye", "while true; do gunicorn a:app; done", "alembic upgrade head && gunicorn a:app"],
)
def test_a_shell_with_several_commands_is_a_fault_in_every_container(script: str) -> None:
    given = files(shlex.join(["/bin/sh", "-c", script]))
    assert {file: outcomes("APP05", file, given[file])[0] for file in EXPECTED} == EXPECTED
    assert outcomes("APP05", "Dockerfile", f"FROM python:3.11\nCMD {script}\n") == [Outcome.VIOLATED]


@pytest.mark.parametrize(
    ("entry", "command", "outcome"),
    [
        ('["/entry.sh"]', '["gunicorn", "a:app"]', Outcome.UNKNOWN),
        ('["/entry.sh"]', "gunicorn a:app", Outcome.UNKNOWN),
        ('["/entry.sh"]', None, Outcome.UNKNOWN),
        ('["tini", "--"]', '["gunicorn", "a:app"]', Outcome.MET),
        ('["tini", "--"]', "true; gunicorn a:app", Outcome.VIOLATED),
        ("exec gunicorn a:app", '["--workers", "2"]', Outcome.MET),
        ('["python", "-m"]', '["uvicorn", "a:app"]', Outcome.MET),
    ],
)
def test_an_entrypoint_gets_the_words_of_the_command(entry: str, command: str | None, outcome: Outcome) -> None:
    text = f"FROM python:3.11\nENTRYPOINT {entry}\n" + (f"CMD {command}\n" if command else "")
    assert outcomes("APP05", "Dockerfile", text) == [outcome]


def test_a_command_of_a_service_is_given_to_the_entrypoint_of_its_image() -> None:
    texts = {
        "Dockerfile": 'FROM python:3.11\nENTRYPOINT ["/entry.sh"]\nCMD ["gunicorn", "a:app"]\n',
        "compose.yaml": "services:\n  app:\n    build: .\n    command: uvicorn a:app\n",
        "both.yaml": 'services:\n  app:\n    image: a\n    entrypoint: ["tini", "--"]\n    command: uvicorn a:app\n',
    }
    found = audited(texts, rules=[one for one in all_rules() if one.id == "APP05"]).judged
    assert {one.finding.place.file: one.finding.outcome for one in found} == {
        "Dockerfile": Outcome.UNKNOWN,
        "compose.yaml": Outcome.UNKNOWN,
        "both.yaml": Outcome.MET,
    }


@pytest.mark.parametrize(
    ("wrapper", "outcome"),
    [
        ("tini --", Outcome.MET),
        ("tini -g --", Outcome.VIOLATED),
        ("dumb-init --", Outcome.VIOLATED),
        ("dumb-init -c --", Outcome.MET),
    ],
)
def test_a_wrapper_that_signals_every_process_cuts_what_hypercorn_answers(wrapper: str, outcome: Outcome) -> None:
    given = files(f"{wrapper} hypercorn a:app")
    for file in ("Dockerfile", "compose.yaml", "supervisord.conf", "pod.json"):
        assert outcomes("APP03", file, given[file]) == [outcome], file


@pytest.mark.parametrize(
    ("command", "reaches"),
    [
        ("""sh -c 'exec "$@"' -- gunicorn a:app""", Reaches.YES),
        ("""sh -c 'true; "$0" "$@"' gunicorn a:app""", Reaches.NO),
    ],
)
def test_words_after_the_text_of_a_shell_are_its_arguments(command: str, reaches: Reaches) -> None:
    found = start(shlex.split(command))
    assert (found.software, found.arguments, found.reaches) == ("gunicorn", ("a:app",), reaches)


@pytest.mark.parametrize(
    ("file", "text", "expected"),
    [
        ("supervisord.conf", "[program:app]\ncommand=%s\n", [Outcome.UNKNOWN]),
        ("supervisord.conf", "[program:app]\ncommand=%s\nstopasgroup=true\n", []),
        ("app.service", "[Service]\nExecStart=%s\n", []),
        ("app.service", "[Service]\nExecStart=%s\nKillMode=mixed\n", [Outcome.UNKNOWN]),
        ("app.service", "[Service]\nExecStart=%s\nExecStop=/bin/kill -TERM $MAINPID\n", [Outcome.UNKNOWN]),
    ],
)
def test_a_shell_under_a_manager_that_signals_it_alone_is_unknown(
    file: str, text: str, expected: list[Outcome]
) -> None:
    assert outcomes("APP05", file, text % "sh -c 'true && gunicorn a:app'") == expected
    assert outcomes("APP05", file, text % "sh -c 'true && exec gunicorn a:app'") == []


@pytest.mark.parametrize(
    ("script", "software"),
    [
        ("nginx -t && exec nginx -g 'daemon off;'", "nginx"),
        ("while :; do sleep 6h; nginx -s reload; done & nginx -g 'daemon off;'", "nginx"),
        ("kong migrations bootstrap && kong start", "kong"),
        ("kong start && kong migrations finish", "kong"),
        ("haproxy -c -f a.cfg && haproxy -f a.cfg", "haproxy"),
        ("gunicorn --check-config a:app && gunicorn -t 60 a:app", "gunicorn"),
    ],
)
def test_the_server_of_a_script_is_not_its_helper(script: str, software: str) -> None:
    found = start(["sh", "-c", script])
    assert found.software == software
    assert not {"-s", "migrations", "-c", "--check-config"} & set(found.arguments)
    assert found.reaches is (Reaches.YES if "exec" in script else Reaches.NO)


def test_a_command_gets_the_settings_that_it_names_and_not_others_of_that_name() -> None:
    unit = "[Service]\nExecStart=gunicorn -c %s/gunicorn.conf.py app:app\n"
    files = {
        "api/gunicorn.conf.py": "bind = ':8001'\nkeepalive = 2\n",
        "web/gunicorn.conf.py": "bind = ':8002'\nkeepalive = 65\n",
        "web.service": unit % "web",
        "api.service": unit % "api",
    }
    found = {one.object: one.listens[0].port for one in audited(files).view.of(App)}
    assert found == {"web.service": 8002, "api.service": 8001}
