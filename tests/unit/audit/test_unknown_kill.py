"""Stops whose time until SIGKILL no file names: the signals that are known are judged alone."""

from __future__ import annotations

import pytest
from tests.unit.audit.expectations import audited

from changeover.audit.finding import Outcome
from changeover.audit.rules import all_rules

SERVERS = ["gunicorn", "uvicorn", "hypercorn", "granian"]


def outcomes(rule: str, file: str, text: str) -> list[Outcome]:
    only = [one for one in all_rules() if one.id == rule]
    return [one.finding.outcome for one in audited({file: text}, rules=only).judged]


@pytest.mark.parametrize("server", SERVERS)
@pytest.mark.parametrize(
    ("signal", "expected"),
    [("", Outcome.MET), ("STOPSIGNAL SIGTERM\n", Outcome.MET), ("STOPSIGNAL 3\n", Outcome.VIOLATED)],
)
def test_an_image_alone_is_judged_by_its_signal(server: str, signal: str, expected: Outcome) -> None:
    text = f'FROM python:3.11\n{signal}CMD ["{server}", "a:app"]\n'
    assert outcomes("APP03", "Dockerfile", text) == [expected]
    assert outcomes("APP06", "Dockerfile", text) == [Outcome.UNKNOWN]


@pytest.mark.parametrize("server", SERVERS)
def test_a_service_and_a_program_whose_time_is_a_variable_are_judged_by_their_signal(server: str) -> None:
    service = f"services:\n  app:\n    image: shop\n    command: {server} a:app\n    stop_grace_period: ${{GRACE}}\n"
    program = f"[program:app]\ncommand={server} a:app\nstopwaitsecs=%(ENV_WAIT)s\n"
    assert outcomes("APP03", "compose.yaml", service) == [Outcome.MET]
    assert outcomes("APP03", "supervisord.conf", program) == [Outcome.MET]


def test_a_program_that_is_killed_at_once_is_a_known_time() -> None:
    program = "[program:app]\ncommand=uvicorn a:app\nstopwaitsecs=0\n"
    assert outcomes("APP06", "supervisord.conf", program) == [Outcome.VIOLATED]


def test_a_command_of_a_stop_that_cannot_be_judged_leaves_the_signal_unknown() -> None:
    unit = "[Service]\nExecStart=/srv/bin/uvicorn a:app\nExecStop=/bin/kill -TERM $MAINPID\nExecStop=/srv/bin/end\n"
    assert outcomes("APP03", "app.service", unit) == [Outcome.UNKNOWN]
    nginx = "[Service]\nExecStart=/usr/sbin/nginx\nExecStop=/usr/sbin/nginx -s quit\nExecStop=/srv/bin/end\n"
    assert outcomes("NGX01", "nginx.service", nginx) == [Outcome.UNKNOWN]
