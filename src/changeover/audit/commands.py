"""The commands that files start: of systemd units, Dockerfiles, compose services, supervisord programs and pods."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import PurePosixPath

from changeover.audit.builds import dockerfiles, image_of
from changeover.audit.starts import GUNICORN_OPTIONS, Start, split, start
from changeover.conf.compose import ComposeFile
from changeover.conf.dockerfile import DockerFile, Instruction
from changeover.conf.document import Document
from changeover.conf.kubernetes import KubernetesFile
from changeover.conf.place import Place
from changeover.conf.shell import ShellFile
from changeover.conf.supervisord import SupervisorFile
from changeover.conf.systemd import UnitFile
from changeover.conf.tree import Items, Map, Node, Word

CONTAINERS = {"Dockerfile", "compose", "Kubernetes"}


@dataclass(frozen=True)
class Command:
    """`manager` starts it: `systemd`, `supervisord` or one of CONTAINERS.

    `options`: what its environment holds in GUNICORN_CMD_ARGS. `hosts`: the names by which other services reach it.
    `scripts`: those that it may run, by the names of their files.
    """

    object: str
    words: tuple[str, ...]
    place: Place
    manager: str
    options: str | None = None
    hosts: tuple[str, ...] = ()
    scripts: Mapping[str, Sequence[ShellFile]] = field(default_factory=dict, compare=False, repr=False)

    @cached_property
    def start(self) -> Start:
        words = self.words if self.options is None else (f"{GUNICORN_OPTIONS}={self.options}", *self.words)
        return start(words, scripts=lambda name: None if (one := self._script(name)) is None else one.text)

    def _script(self, name: str) -> ShellFile | None:
        """Of scripts with the same name, the one in the folder of the file or below it; None if that leaves several."""
        found = self.scripts.get(name, ())
        if len(found) > 1:
            folder = PurePosixPath(self.place.file).parent.as_posix()
            found = [one for one in found if folder == "." or one.file.startswith(f"{folder}/")]
        return found[0] if len(found) == 1 else None

    @property
    def at(self) -> Place:
        """Where the options of its server stand: its own place, or that in the script which starts it."""
        script = self._script(self.start.script or "")
        return script.starts(self.software) if script is not None and self.software else self.place

    @property
    def software(self) -> str | None:
        """The known software that it starts."""
        return self.start.software

    @property
    def arguments(self) -> tuple[str, ...]:
        """What follows the name of the software."""
        return self.start.arguments


def commands(documents: Sequence[Document]) -> Iterator[Command]:
    """Every command that a file starts, with the given scripts that it may run."""
    scripts: dict[str, list[ShellFile]] = {}
    for document in documents:
        if isinstance(document, ShellFile):
            scripts.setdefault(PurePosixPath(document.file).name, []).append(document)
    for one in _commands(documents):
        yield replace(one, scripts=scripts) if scripts else one


def _commands(documents: Sequence[Document]) -> Iterator[Command]:
    images = dockerfiles(documents)
    hosts = _hosts_of_images(documents, images)
    for one in documents:
        match one:
            case UnitFile():
                name = PurePosixPath(one.file).name
                for entry in one.entries:
                    if entry.key == "ExecStart" and (words := unit_words(entry.value)):
                        yield Command(name, words, entry.place, "systemd", _of_unit(one))
            case DockerFile():
                for command in image_command(one):
                    yield replace(command, hosts=tuple(hosts.get(one.file, ())))
            case ComposeFile():
                for name, service in one.services.items.items():
                    if isinstance(service, Map):
                        yield from _of_service(name, service, image_of(service, one, images))
            case KubernetesFile():
                for pod in one.pods:
                    for container in (*pod.spec.maps("containers"), *pod.sidecars):
                        yield from _of_container(container)
            case SupervisorFile():
                for program in one.programs:
                    if (value := program.values.get("command")) is not None and (words := _words(value.value)):
                        given = program.values.get("environment")
                        options = _assigned(_words(given.value.replace(",", " "))) if given is not None else None
                        yield Command(program.name, words, value.place, "supervisord", options)


def unit_words(value: str) -> tuple[str, ...]:
    """Of a value of ExecStart, without its prefixes; after `@` the second word is the name of the process."""
    found = re.match(r"[@\-:+!|]*", value)
    prefix = found[0] if found else ""
    words = _words(value[len(prefix) :])
    return (words[:1] + words[2:]) if "@" in prefix else words


def _words(text: str) -> tuple[str, ...]:
    """Of a text in which a quote is open, the text as one word."""
    found = split(text)
    return tuple(found) if found is not None else (text,)


def _hosts_of_images(documents: Sequence[Document], images: Mapping[str, DockerFile]) -> dict[str, list[str]]:
    """By the file of an image: the services that run its command."""
    found: dict[str, list[str]] = {}
    for file in [one for one in documents if isinstance(one, ComposeFile)]:
        for name, service in file.services.items.items():
            if isinstance(service, Map) and not any(service.get(key) for key in ("command", "entrypoint")):
                built = image_of(service, file, images)
                if built is not None:
                    found.setdefault(built.file, []).extend(_hosts(name, service))
    return found


def _hosts(name: str, service: Map) -> tuple[str, ...]:
    own = service.text("container_name")
    return (name, own) if own and own != name else (name,)


def image_command(image: DockerFile) -> Iterator[Command]:
    """What a container of an image starts unless it is given another command."""
    last: dict[str, Instruction] = {one.name: one for one in image.last_stage}
    entry, command = last.get("ENTRYPOINT"), last.get("CMD")
    if entry is not None and entry.words is None:
        command = None  # its shell takes no words
    main = command or entry
    if main is not None:
        words = tuple(word for one in (entry, command) if one is not None for word in _of_instruction(one))
        yield Command(image.file, words, main.place, "Dockerfile", _image_options(image))


def _image_options(image: DockerFile) -> str | None:
    """`ENV NAME=VALUE …`, or the older `ENV NAME VALUE`."""
    found = None
    for one in image.last_stage:
        if one.name == "ENV":
            if old := re.fullmatch(rf"{GUNICORN_OPTIONS}[ \t]+(.*)", one.value, re.DOTALL):
                found = old[1]
            found = _assigned(_words(one.value)) or found
    return found


def _of_unit(unit: UnitFile) -> str | None:
    given = [_assigned(_words(one.value)) for one in unit.entries if one.key == "Environment"]
    return next((one for one in reversed(given) if one is not None), None)


def _assigned(words: Sequence[str]) -> str | None:
    """The value of the last `GUNICORN_CMD_ARGS=…`."""
    name = f"{GUNICORN_OPTIONS}="
    return next((one.removeprefix(name) for one in reversed(words) if one.startswith(name)), None)


def _service_options(service: Map, built: DockerFile | None) -> str | None:
    """A variable of a service overrides that of its image."""
    given = service.get("environment")
    found = None
    if isinstance(given, Map):
        found = given.text(GUNICORN_OPTIONS)
    elif isinstance(given, Items):
        found = _assigned([one.word for one in given.values if isinstance(one, Word)])
    return found if found is not None or built is None else _image_options(built)


def _of_instruction(one: Instruction) -> tuple[str, ...]:
    return one.words if one.words is not None else ("/bin/sh", "-c", one.value)


def _of_service(name: str, service: Map, built: DockerFile | None) -> Iterator[Command]:
    """`entrypoint` and `command` together. A command of its own leaves the image its entrypoint."""
    given = {key: _given(service.get(key)) for key in ("entrypoint", "command")}
    key = next((key for key in ("command", "entrypoint") if given[key]), None)
    if key is None:
        return
    entry = next((one for one in reversed(built.last_stage if built else []) if one.name == "ENTRYPOINT"), None)
    if given["entrypoint"] is None and entry is not None:
        given["entrypoint"] = _of_instruction(entry)
    words = (*(given["entrypoint"] or ()), *(given["command"] or ()))
    place, options = service.keys[key], _service_options(service, built)
    yield Command(f"service {name}", words, place, "compose", options, _hosts(name, service))


def _given(node: Node | None) -> tuple[str, ...] | None:
    if isinstance(node, Items):
        return tuple(one.word for one in node.values if isinstance(one, Word))
    return _words(node.word) if isinstance(node, Word) and not node.null else None


def _of_container(container: Map) -> Iterator[Command]:
    """`command` and `args` together; without `command` the image's own entrypoint is not known."""
    given = [(key, one) for key in ("command", "args") if isinstance(one := container.get(key), Items)]
    words = tuple(one.word for _, items in given for one in items.values if isinstance(one, Word))
    if words:
        name = f"container {container.text('name') or ''}".strip()
        options = next(
            (one.text("value") for one in container.maps("env") if one.text("name") == GUNICORN_OPTIONS), None
        )
        yield Command(name, words, container.keys[given[0][0]], "Kubernetes", options)
