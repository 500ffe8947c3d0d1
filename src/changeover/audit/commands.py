"""The commands that files start: of systemd units, Dockerfiles, compose services and supervisord programs."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from changeover.conf.compose import ComposeFile
from changeover.conf.dockerfile import DockerFile, Instruction
from changeover.conf.document import Document
from changeover.conf.kubernetes import KubernetesFile
from changeover.conf.place import Place
from changeover.conf.supervisord import SupervisorFile
from changeover.conf.systemd import UnitFile
from changeover.conf.tree import Items, Map, Word

SERVERS = {"gunicorn", "uvicorn", "hypercorn", "granian"}
_SOFTWARE = {"nginx": "nginx", "openresty": "nginx", "kong": "kong", "haproxy": "haproxy", "envoy": "envoy"}
_RUNNERS = {"exec", "env", "poetry", "uv", "pipenv", "run", "-m", "tini", "--", "dumb-init", "opentelemetry-instrument"}
"""Words before the software that start it and leave it the signals."""


@dataclass(frozen=True)
class Command:
    """`shell`: a shell runs the text; then `words` are those of its last command."""

    object: str
    words: tuple[str, ...]
    text: str
    shell: bool
    place: Place
    manager: str

    @property
    def software(self) -> str | None:
        """The known software that it starts."""
        for word in self.words[:8]:
            name = PurePosixPath(word.lstrip("@-:+!")).name
            if name in SERVERS:
                return name
            if name in _SOFTWARE:
                return _SOFTWARE[name]
            if name not in _RUNNERS and not re.fullmatch(r"python[\d.]*|\w+=.*|-\w", name):
                return None
        return None

    @property
    def arguments(self) -> tuple[str, ...]:
        """What follows the name of the software."""
        for number, word in enumerate(self.words):
            if PurePosixPath(word.lstrip("@-:+!")).name in {*SERVERS, *_SOFTWARE}:
                return self.words[number + 1 :]
        return ()


def commands(documents: Sequence[Document]) -> Iterator[Command]:
    """Every command that can be split into words."""
    for one in documents:
        match one:
            case UnitFile():
                name = PurePosixPath(one.file).name
                for entry in one.entries:
                    if entry.key == "ExecStart" and entry.value:
                        yield from _command(name, entry.value, entry.place, "systemd", shell=False)
            case DockerFile():
                yield from _of_image(one)
            case ComposeFile():
                for name, service in one.services.items.items():
                    if isinstance(service, Map):
                        yield from _of_service(name, service)
            case KubernetesFile():
                for pod in one.pods:
                    for container in pod.spec.maps("containers"):
                        yield from _of_container(container)
            case SupervisorFile():
                for program in one.programs:
                    if (value := program.values.get("command")) is not None:
                        yield from _command(program.name, value.value, value.place, "supervisord", shell=False)


def _of_image(image: DockerFile) -> Iterator[Command]:
    last: dict[str, Instruction] = {one.name: one for one in image.last_stage}
    entry, command = last.get("ENTRYPOINT"), last.get("CMD")
    main = command or entry
    if main is None:
        return
    if entry is not None and command is not None and entry.words is not None and command.words is not None:
        words = (*entry.words, *command.words)
        yield Command(image.file, words, shlex.join(words), False, command.place, "Dockerfile")
        return
    main = entry if entry is not None and entry.words is None else main
    if main.words is not None:
        yield Command(image.file, main.words, main.value, False, main.place, "Dockerfile")
    else:
        yield from _command(image.file, main.value, main.place, "Dockerfile", shell=True)


def _of_service(name: str, service: Map) -> Iterator[Command]:
    for key in ("command", "entrypoint"):
        found = service.get(key)
        if isinstance(found, Items):
            words = tuple(one.word for one in found.values if isinstance(one, Word))
            if words:
                yield Command(f"service {name}", words, shlex.join(words), False, service.keys[key], "compose")
                return
        elif isinstance(found, Word) and not found.null:
            yield from _command(f"service {name}", found.word, service.keys[key], "compose", shell=False)
            return


def _of_container(container: Map) -> Iterator[Command]:
    """`command` and `args` together; without `command` the image's own entrypoint is not known."""
    given = [(key, one) for key in ("command", "args") if isinstance(one := container.get(key), Items)]
    words = [one.word for _, items in given for one in items.values if isinstance(one, Word)]
    if words:
        name = f"container {container.text('name') or ''}".strip()
        yield from _command(name, shlex.join(words), container.keys[given[0][0]], "Kubernetes", shell=False)


def _command(object: str, text: str, place: Place, manager: str, *, shell: bool) -> Iterator[Command]:
    words = split(text)
    if words and PurePosixPath(words[0]).name in {"sh", "bash", "dash", "ash"} and "-c" in words[1:-1]:
        text, shell = words[words.index("-c") + 1], True
        words = split(text)
    if words is not None and shell:
        words = split(re.split(r"&&|;|\|\|?|\n", text)[-1].strip())
    if words:
        yield Command(object, tuple(words), text, shell, place, manager)


def split(text: str) -> list[str] | None:
    try:
        return shlex.split(text)
    except ValueError:
        return None
