"""APP05: a shell receives the signal in place of the server."""

from __future__ import annotations

import re
from collections.abc import Iterator

from changeover.audit.assumptions import Assumptions
from changeover.audit.commands import Command
from changeover.audit.finding import Effect, Finding, Severity, met, unknown, violated
from changeover.audit.rule import Rule
from changeover.audit.view import View


def check(view: View, asked: Assumptions) -> Iterator[Finding]:
    for command in view.commands:
        if command.software is None or command.manager not in {"Dockerfile", "compose", "Kubernetes"}:
            continue
        first = command.words[0] if command.words else ""
        if not command.shell or first == "exec":
            yield met(command.place, command.object, f"{command.software} gets the signal itself")
        elif not re.search(r"&&|;|\||\n", command.text):
            missing = (
                "whether the shell of the image replaces itself by a single command: write `exec` or the JSON form"
            )
            yield unknown(command.place, command.object, f"a shell starts {command.software}", missing)
        else:
            yield _violation(command)


def _violation(command: Command) -> Finding:
    return violated(
        command.place,
        command.object,
        f"a shell runs several commands, {command.software} the last, without exec: the shell gets the stop signal",
        get=Effect.CUT,
        post=Effect.CUT,
        consequence="a GET and a POST in flight are cut when the container is killed, at the end of its time to stop",
        fix=f"exec {command.words[0] if command.words else ''} …",
    )


RULE = Rule(
    id="APP05",
    name="shell-keeps-the-signal",
    severity=Severity.ERROR,
    what="A container starts its server through a shell, without `exec`.",
    why="The stop signal goes to the first process of a container. A shell that runs several commands waits for "
    "the last one, does not pass the signal on, and the container is killed when its time is over.",
    sources=("https://docs.docker.com/reference/dockerfile/#shell-form-entrypoint-example",),
    bad={
        "Dockerfile": """\
FROM python:3.12-slim
# expect: APP05
CMD ./migrate.sh && gunicorn -k gthread app:app
""",
    },
    good={
        "Dockerfile": """\
FROM python:3.12-slim
CMD ["gunicorn", "-k", "gthread", "app:app"]
""",
    },
    fix="Use the JSON form of CMD, or `exec` before the last command.",
    check=check,
    lab="it needs a container: only there the kernel keeps a signal from the first process, the shell",
)
