"""The environment of containers that run Kong: of compose services, images and pods. It overrides kong.conf."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from changeover.audit.builds import dockerfiles, image_of
from changeover.audit.commands import Command, commands
from changeover.audit.images import official
from changeover.conf.compose import ComposeFile
from changeover.conf.dockerfile import DockerFile
from changeover.conf.document import Document
from changeover.conf.kong import KongValue
from changeover.conf.kubernetes import KubernetesFile
from changeover.conf.place import Place
from changeover.conf.tree import Items, Map, Word

_PAIR = re.compile(r"KONG_([A-Z0-9_]+)=((?:\"(?:\\.|[^\"\\])*\"|'[^']*'|\\.|[^\s\"'])*)", re.DOTALL)
_SETTING = re.compile(
    r"(?:proxy|admin|status)_listen|database|declarative_config|role|upstream_keepalive_\w+"
    r"|nginx_(?:main|http|proxy|admin|status|upstream|events)_\w+"
)
"""What a Kong is given, and no client of it."""


@dataclass(frozen=True)
class Environment:
    """`missing`: what else may set a variable, where that is not in the files; empty if all is known."""

    place: Place
    object: str
    values: Mapping[str, KongValue]
    missing: str


def environments(documents: Sequence[Document]) -> Iterator[Environment]:
    """One for each container that serves as Kong. A service has the environment of its image, too."""
    starts = list(commands(documents))
    images = dockerfiles(documents)
    services = [one for one in documents if isinstance(one, ComposeFile)]
    for document in documents:
        match document:
            case DockerFile() if not services:
                values = _of_image(document)
                if _serves(_base(document), [one for one in starts if one.place.file == document.file], values):
                    place = next(one.place for one in document.last_stage if one.name == "FROM")
                    yield Environment(place, document.file, values, "")
            case ComposeFile():
                for name, service in document.services.items.items():
                    if isinstance(service, Map):
                        built = image_of(service, document, images)
                        yield from _of_service(document.file, name, service, built, starts)
            case KubernetesFile():
                for pod in document.pods:
                    for container in pod.spec.maps("containers"):
                        own = [one for one in starts if one.place in container.keys.values()]
                        values = dict(_of_pod(container))
                        if _serves(container.text("image") or "", own, values):
                            name = f"container {container.text('name') or ''} of {pod.workload}"
                            missing = "the variables that its `envFrom` names" if container.get("envFrom") else ""
                            yield Environment(container.place, name, values, missing)


def _serves(image: str, starts: Sequence[Command], values: Iterable[str]) -> bool:
    """Whether a container is a Kong that takes requests, and no job of it such as `kong migrations up`.

    An image of a name that is not known is one if it is given settings of Kong.
    """
    known = official(image)
    if not starts or starts[0].software is None:
        other = starts and not starts[0].start.is_unknown and not starts[0].words[0].startswith("-")
        settings = any(_SETTING.fullmatch(key) for key in values)
        return settings if known is None else known[0] == "kong" and not other
    return starts[0].software == "kong" and bool({"start", "docker-start"} & set(starts[0].arguments))


def _base(image: DockerFile) -> str:
    return next((one.value for one in image.last_stage if one.name == "FROM"), "")


def _of_image(image: DockerFile) -> dict[str, KongValue]:
    found: dict[str, KongValue] = {}
    for one in image.last_stage:
        if one.name == "ENV":
            for key, value in _PAIR.findall(one.value):
                found[key.lower()] = KongValue(value.strip("\"'"), one.place, f"KONG_{key}={value}")
            if old := re.fullmatch(r"KONG_([A-Z0-9_]+)[ \t]+([^=]*|.*)", one.value):
                found[old[1].lower()] = KongValue(old[2], one.place, f"KONG_{old[1]} {old[2]}")
    return found


def _of_service(
    file: str, name: str, service: Map, built: DockerFile | None, starts: Sequence[Command]
) -> Iterator[Environment]:
    own = [one for one in starts if one.place.file == file and one.object == f"service {name}"]
    inner = [one for one in starts if built is not None and one.place.file == built.file]
    image = service.text("image") or ""
    values = {**(_of_image(built) if built is not None else {})}
    given = service.get("environment")
    missing = "the variables that its `env_file` names" if service.get("env_file") is not None else ""
    if isinstance(given, Map):
        for key, node in given.items.items():  # without a value it is that of the shell which runs compose
            if key.startswith("KONG_"):
                word = node.word if isinstance(node, Word) and not node.null else f"${{{key}}}"
                values[key[5:].lower()] = KongValue(word, given.keys[key], f"{key}: {word}")
    elif isinstance(given, Items):
        for node in given.values:
            if isinstance(node, Word) and node.word.startswith("KONG_"):
                key, equals, word = node.word.partition("=")
                word = word if equals else f"${{{key}}}"
                values[key[5:].lower()] = KongValue(word, node.place, f"{key}={word}")
    if _serves(_base(built) if built is not None else image, own or inner, values):
        yield Environment(service.keys.get("image", service.place), f"service {name}", values, missing)


def _of_pod(container: Map) -> Iterator[tuple[str, KongValue]]:
    for one in container.maps("env"):
        key = one.text("name") or ""
        if key.startswith("KONG_"):
            word = one.text("value")
            shown = "$(valueFrom)" if one.get("valueFrom") is not None else word or ""
            place = one.keys.get("value", one.place)
            yield key[5:].lower(), KongValue(shown, place, f"{key}={shown}")
