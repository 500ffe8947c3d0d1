"""Which files of HAProxy are one configuration: it reads those of every `-f` as if they were one file.

A command says which; without one, a frontend and the backend that it names belong together. Refuses to guess between
two files that both have such a backend.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import PurePosixPath

from changeover.audit.commands import Command, commands
from changeover.conf.document import Document
from changeover.conf.haproxy import PROXIES, HaproxyFile, Section

BACKENDS = {"backend", "listen"}


def configurations(documents: Sequence[Document]) -> Iterator[HaproxyFile]:
    """Each configuration as one file, in the order in which HAProxy reads its parts."""
    files = [one for one in documents if isinstance(one, HaproxyFile)]
    left = {id(one): one for one in files}
    if len(files) > 1:
        for command in commands(documents):
            if command.software != "haproxy":
                continue
            parts = [one for one in _given(command, files) if id(one) in left]
            if len(parts) > 1:
                for one in parts:
                    del left[id(one)]
                yield _joined(parts)
    rest = list(left.values())
    while rest:
        parts = _belonging(rest)
        rest = [one for one in rest if not any(one is part for part in parts)]
        yield _joined(parts)


def named(section: Section) -> list[str]:
    """The backends that a section names. Its own `default_backend` overrides that of its `defaults`."""
    found = [line.words[1] for line in section.each("use_backend")]
    default = section.find("default_backend")
    return [*found, *(default.words[1:2] if default is not None else ())]


def _given(command: Command, files: Sequence[HaproxyFile]) -> Iterator[HaproxyFile]:
    """The files of each `-f FILE`, `-f FOLDER` and, after `--`, of each word."""
    words = list(command.arguments)
    values = [words[at + 1] for at, word in enumerate(words[:-1]) if word == "-f"]
    values += [word[2:] for word in words if word.startswith("-f") and len(word) > 2]
    values += words[words.index("--") + 1 :] if "--" in words else []
    seen: set[str] = set()
    for value in values:
        name = PurePosixPath(value).name
        here = [one for one in files if PurePosixPath(one.file).name == name]
        here = here or sorted((one for one in files if _folder(one) == name), key=lambda one: one.file)
        for one in here:
            if one.file not in seen:
                seen.add(one.file)
                yield one


def _folder(file: HaproxyFile) -> str:
    return PurePosixPath(file.file).parent.name


def _belonging(files: Sequence[HaproxyFile]) -> list[HaproxyFile]:
    """The first file and those that it is joined with, those with `defaults` first: what follows inherits them."""
    parts = [files[0]]
    for one in parts:
        for other in files:
            if not any(other is part for part in parts) and (_leads(one, other, files) or _leads(other, one, files)):
                parts.append(other)
    order = [one for one in files if any(one is part for part in parts)]
    return sorted(order, key=lambda one: not any(section.kind == "defaults" for section in one.sections))


def _leads(one: HaproxyFile, other: HaproxyFile, files: Sequence[HaproxyFile]) -> bool:
    """Whether a section of one names a backend, or `defaults`, that only the other has."""
    return any(
        name in offered(other) and sum(name in offered(file) for file in files) == 1
        for wanted, offered in ((_named_backends(one), _backends), (_named_defaults(one), _defaults))
        for name in sorted(wanted - offered(one))
    )


def _backends(file: HaproxyFile) -> set[str]:
    return {one.name for one in file.sections if one.kind in BACKENDS}


def _defaults(file: HaproxyFile) -> set[str]:
    return {one.name for one in file.sections if one.kind == "defaults"}


def _named_backends(file: HaproxyFile) -> set[str]:
    return {name for section in file.sections if section.kind in PROXIES for name in named(section)}


def _named_defaults(file: HaproxyFile) -> set[str]:
    return {section.source for section in file.sections if section.source is not None}


def _joined(parts: Sequence[HaproxyFile]) -> HaproxyFile:
    """As one file: a section has the `defaults` that it names, or the last ones before it, also of files before."""
    found: list[Section] = []
    defaults: dict[str, Section] = {}
    last: Section | None = None
    for one in (section for file in parts for section in file.sections):
        inherits = defaults.get(one.source) if one.source is not None else last if one.kind in PROXIES else None
        section = replace(one, inherits=inherits) if inherits is not one.inherits else one
        if section.kind == "defaults":
            last = defaults[section.name] = section
        found.append(section)
    return HaproxyFile(parts[0].file, tuple(found))
