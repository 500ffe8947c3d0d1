"""APP05: a shell receives the signal in place of the server."""

from __future__ import annotations

from collections.abc import Iterator

from changeover.audit.assumptions import Assumptions
from changeover.audit.commands import CONTAINERS, Command
from changeover.audit.finding import Effect, Finding, Severity, met, unknown, violated
from changeover.audit.rule import Rule
from changeover.audit.starts import Reaches
from changeover.audit.view import View


def check(view: View, asked: Assumptions) -> Iterator[Finding]:
    for command in view.commands:
        found = command.start
        if found.is_unknown:
            what = f"`{found.opaque[:60]}` starts {found.named or 'a program that is not known'}"
            missing = (
                "whether that leaves the stop signal to the server, and the server's options: name it in the command"
            )
            yield unknown(command.place, command.object, what, missing)
            continue
        if found.software is None:
            continue
        if command.manager not in CONTAINERS:
            yield from _outside(view, command, found.software)
            continue
        match found.reaches:
            case Reaches.YES:
                yield met(command.place, command.object, f"{found.software} gets the signal itself")
            case Reaches.PERHAPS:
                missing = (
                    "whether the shell of the image replaces itself by a single command: write `exec` or the JSON form"
                )
                yield unknown(command.place, command.object, f"a shell starts {found.software}", missing)
            case Reaches.UNKNOWN:
                missing = "what the script does at the signal: its `trap` is not read"
                yield unknown(command.place, command.object, f"a shell with a trap starts {found.software}", missing)
            case Reaches.NO:
                yield _violation(command, found.software)


def _outside(view: View, command: Command, software: str) -> Iterator[Finding]:
    """systemd and supervisord signal a shell alone only where they do not signal every process."""
    for stop in view.stops_of(software):
        mine = stop.place.file == command.place.file and stop.object.removeprefix("program ") == command.object
        if mine and command.start.reaches is not Reaches.YES and stop.signals and not stop.signals[0].whole:
            what = f"a shell starts {software}, and {stop.signals[0].text} is for the shell alone"
            yield unknown(command.place, command.object, what, "whether the shell is replaced: write `exec`")


def _violation(command: Command, software: str) -> Finding:
    return violated(
        command.place,
        command.object,
        f"a shell runs {software} among other commands, without exec: the shell gets the stop signal",
        get=Effect.CUT,
        post=Effect.CUT,
        consequence="a GET and a POST in flight are cut when the container is killed, at the end of its time to stop",
        fix=f"exec {software} … as the last command",
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
