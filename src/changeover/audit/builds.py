"""Which Dockerfile a compose service is built from.

Refuses to guess: with several Dockerfiles, a service has the one that its `build` names, or none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from posixpath import dirname, join, normpath

from changeover.conf.compose import ComposeFile
from changeover.conf.dockerfile import DockerFile
from changeover.conf.document import Document
from changeover.conf.tree import Map, Word


def dockerfiles(documents: Sequence[Document]) -> dict[str, DockerFile]:
    """By their paths."""
    return {normpath(one.file): one for one in documents if isinstance(one, DockerFile)}


def image_of(service: Map, compose: ComposeFile, images: Mapping[str, DockerFile]) -> DockerFile | None:
    """Its Dockerfile with the stages up to `target`; the only one given if no other service is built."""
    build = service.get("build")
    if build is None:
        return None
    context = build.word if isinstance(build, Word) else build.text("context") or "."
    path = normpath(join(dirname(compose.file), context, build.text("dockerfile") or "Dockerfile"))
    named = images.get(path)
    if named is None and len(images) == 1:
        builds = [one for one in compose.services.items.values() if one.get("build") is not None]
        named = next(iter(images.values())) if len(builds) == 1 else None
    return named.of_target(build.text("target")) if named is not None else None
