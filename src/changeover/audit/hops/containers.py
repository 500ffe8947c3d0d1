"""How images, compose services and supervisord programs are stopped.

`docker stop` sends the image's STOPSIGNAL and SIGKILL after 10 seconds; supervisord sends stopsignal and SIGKILL after
stopwaitsecs, 10 too (docs.docker.com/reference/cli/docker/container/stop, supervisord.org/configuration.html).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from changeover.audit.builds import dockerfiles, image_of
from changeover.audit.commands import Command, commands, image_command
from changeover.audit.images import bare_signal, official
from changeover.audit.starts import serves
from changeover.audit.stop_keys import COMPOSE, DOCKERFILE, SUPERVISORD
from changeover.audit.view import Signal, StopPath
from changeover.conf.compose import ComposeFile, seconds
from changeover.conf.dockerfile import DockerFile
from changeover.conf.document import Document
from changeover.conf.place import Place
from changeover.conf.supervisord import Program, SupervisorFile
from changeover.conf.tree import Map

_STOPSIGNAL = "the STOPSIGNAL of its image, which is not that of the software's makers: set it"
_OWN_SIGNAL = {"nginx", "kong", "haproxy"}
"""Software that drains at another signal than SIGTERM, so that its images may set one."""
WAIT = 10.0
"""Seconds, of Docker and of supervisord."""


def stops(documents: Sequence[Document]) -> Iterator[StopPath]:
    """A stop path for each image, service and program that runs a known software."""
    starts = {(one.place.file, one.object): one for one in commands(documents)}
    images = dockerfiles(documents)
    built = {
        image.file
        for one in documents
        if isinstance(one, ComposeFile)
        for service in one.services.items.values()
        if isinstance(service, Map) and (image := image_of(service, one, images)) is not None
    }
    for one in documents:
        if isinstance(one, DockerFile) and one.file not in built:  # a service says how its container is stopped
            yield from _image(one, starts.get((one.file, one.file)))
        elif isinstance(one, ComposeFile):
            for name, service in one.services.items.items():
                if isinstance(service, Map):
                    start = starts.get((one.file, f"service {name}"))
                    yield from _service(name, service, start, image_of(service, one, images))
        elif isinstance(one, SupervisorFile):
            for program in one.programs:
                start = starts.get((one.file, program.name))
                if start is not None and (software := start.software) is not None and serves(start.start):
                    signal, wait = program.values.get("stopsignal"), program.values.get("stopwaitsecs")
                    text = f"stopsignal={signal.value}" if signal else "stopsignal is not set, so it is TERM"
                    name_ = bare_signal(signal.value if signal else "TERM")
                    after = wait.value if wait else "10"
                    limit = float(after) if after.isdigit() else None
                    kill = f"stopwaitsecs={after}" if wait else "stopwaitsecs is not set, so it is 10"
                    whole = _whole(program) or start.start.whole
                    at = wait.place if wait else program.place
                    ends = (Signal(limit, "KILL", at, kill),) if limit is not None else ()
                    yield StopPath(
                        software,
                        f"program {program.name}",
                        program.place,
                        (
                            Signal(0.0, name_, signal.place if signal else program.place, text, whole),
                            *ends,
                        ),
                        SUPERVISORD,
                        missing="" if limit is not None else "stopwaitsecs as a number",
                    )


def _whole(program: Program) -> bool:
    found = program.values.get("stopasgroup")
    return found is not None and found.value.lower() in {"true", "yes", "on", "1"}


def _image(image: DockerFile, start: Command | None) -> Iterator[StopPath]:
    found = image_signal(image, start)
    if found is not None:
        software, signal, base = found
        if signal is None:
            yield StopPath(software, image.file, base, (), DOCKERFILE, missing=_STOPSIGNAL)
            return
        missing = "how long the container has to stop: `docker stop` waits 10 s unless its --time is longer"
        yield StopPath(software, image.file, signal.place, (signal,), DOCKERFILE, missing=missing)


def image_signal(image: DockerFile, start: Command | None) -> tuple[str, Signal | None, Place] | None:
    """The software of an image, the signal that stops it, None if that is not known, and the place of its base."""
    base = next((one for one in image.last_stage if one.name == "FROM"), None)
    known = official(base.value) if base else None
    software = (start.software if start else None) or (known[0] if known else None)
    if software is None or base is None:
        return None
    given = next((one for one in reversed(image.last_stage) if one.name == "STOPSIGNAL"), None)
    whole = start is not None and start.start.whole
    if given is not None:
        text = f"STOPSIGNAL {given.value}"
        return software, Signal(0.0, bare_signal(given.value), given.place, text, whole), base.place
    name = known[1] if known and known[0] == software else "TERM"
    if name is None:
        return software, None, base.place
    place = start.place if start else base.place
    return software, Signal(0.0, name, place, f"STOPSIGNAL is not set, so it is SIG{name}", whole), base.place


def _service(name: str, service: Map, start: Command | None, built: DockerFile | None) -> Iterator[StopPath]:
    software = start.software if start else None
    known = official(service.text("image") or "")
    if start is not None and _does_another_job(start, official=known is not None):
        return
    signal_name, whole = known[1] if known else "TERM", start is not None and start.start.whole
    software = software or (known[0] if known else None)
    text, place = f"stop_signal is not set, so it is SIG{signal_name}", service.place
    keys = COMPOSE
    if built is not None:
        inner = image_signal(built, next(image_command(built), None))
        if inner is not None:
            # A command of its own replaces that of the image, unless the image has an entrypoint that takes it.
            replaced = service.get("command") is not None and not any(o.name == "ENTRYPOINT" for o in built.last_stage)
            software = software or (None if replaced or service.get("entrypoint") is not None else inner[0])
            signal_name = None if inner[1] is None else inner[1].name
            if inner[1] is not None:
                text, place = inner[1].text, inner[1].place
                whole = whole or (start is None and inner[1].whole)
            keys = replace(COMPOSE, signal=DOCKERFILE.signal)  # it stands in that file
    if software is None:
        return
    if known is None and built is None and software in _OWN_SIGNAL and (service.get("image") or service.get("build")):
        signal_name = None
    if (given := service.text("stop_signal")) is not None:
        signal_name, text, place = bare_signal(given), f"stop_signal: {given}", service.keys["stop_signal"]
        keys = COMPOSE
    where = service.keys.get("image", service.place)
    if signal_name is None:
        yield StopPath(software, f"service {name}", where, (), keys, missing=_STOPSIGNAL)
        return
    grace = service.text("stop_grace_period")
    limit = WAIT if grace is None else seconds(grace)
    kill = "stop_grace_period is not set, so it is 10 s" if grace is None else f"stop_grace_period: {grace}"
    at = service.keys.get("stop_grace_period", service.place)
    signals = (
        Signal(0.0, signal_name, place, text, whole),
        *((Signal(limit, "KILL", at, kill),) if limit is not None else ()),
    )
    missing = "" if limit is not None else "stop_grace_period as a duration"
    yield StopPath(software, f"service {name}", where, signals, keys, missing=missing)


def _does_another_job(start: Command, *, official: bool) -> bool:
    """Whether a command is no server: `kong migrations up`, or another program in the official image of one."""
    if start.software is not None:
        return not serves(start.start)
    return official and not start.start.is_unknown and not start.words[0].startswith("-")
