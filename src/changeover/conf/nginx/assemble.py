"""Files of nginx configuration -> whole configurations, with every `include` replaced by what it names.

Refuses to look outside of the files it is given. An include that names none of them stays in the tree, and what could
stand in it is unknown.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from functools import cached_property
from operator import is_
from posixpath import dirname, normpath

from changeover.conf.nginx.grammar import Directive
from changeover.conf.nginx.reader import NginxFile, everything, place
from changeover.conf.place import Place, Unreadable

_INSTALLED = re.compile(r"^/(?:etc/nginx|usr/local/nginx/conf|usr/local/openresty/nginx/conf|opt/nginx/conf)/")
"""Folders that hold nginx.conf once it is installed: what lies beside it there lies beside it in a repository."""
HARMLESS = re.compile(
    r"(?:^|/)(?:mime\.types|(?:fastcgi|uwsgi|scgi)(?:_params|\.conf)|modules-enabled/.*|modules/.*\.conf"
    r"|.*(?:ssl|tls|gzip|letsencrypt|security|headers)[^/]*)$"
)
"""Names of files that set nothing which a rule looks at."""
_SIGNS = re.compile(r"[*?\[]")
DEEPEST = 16
"""Includes within includes."""
_MAIN = {"events", "http", "stream", "mail"}


@dataclass(frozen=True)
class NginxConf:
    """One nginx as it would run. `main` holds its directives; an unresolved `include` is still one of them."""

    file: str
    main: tuple[Directive, ...]
    version: tuple[int, ...] | None
    fragment: bool
    """Only a part was given: what the rest sets is unknown."""
    _names: dict[int, dict[str, list[Directive]]] = field(default_factory=dict, compare=False, repr=False)

    @cached_property
    def hides(self) -> bool:
        """Whether an include is left whose file was not given."""
        return any(one.name == "include" for one in everything(self.main))

    def named(self, block: tuple[Directive, ...], name: str) -> list[Directive]:
        """The directives of a name in a block of this configuration, without a search through all of them."""
        names = self._names.get(id(block))
        if names is None:
            names = self._names[id(block)] = {}
            for one in block:
                names.setdefault(one.name, []).append(one)
        return names.get(name, [])


def included_paths(pattern: str, main: str) -> str:
    """The path, or pattern of paths, that an include of the configuration whose main file is `main` names."""
    inside = _INSTALLED.sub("", pattern)
    return inside if inside.startswith("/") else normpath(f"{dirname(main) or '.'}/{inside}")


def assemble(files: Mapping[str, NginxFile]) -> list[NginxConf]:
    """The configurations that these files make up, by path. A file that another includes is part of that one."""
    return [_assembled(path, files) for path in _tops(files)]


def _tops(files: Mapping[str, NginxFile]) -> list[str]:
    named: set[str] = set()
    mains = [path for path, file in files.items() if _is_main(file)]
    for path, file in files.items():
        for one in everything(file.directives):
            if one.name == "include" and one.values:
                # A main file's own folder counts; that of any main file, for a part of one.
                for main in (path,) if _is_main(file) else (path, *mains):
                    named.update(_named(one, main, files))
    return [path for path in files if path not in named] or list(files)[:1]


def nested(include: Directive) -> Unreadable:
    """The error for an include that is too deep within others."""
    return Unreadable(f"includes are nested more than {DEEPEST} deep", place(include))


def circles(files: Mapping[str, NginxFile]) -> list[Unreadable]:
    """Each include that leads back to a file around it, or is nested too deeply.

    In a circle nginx opens files until it may open no more, and does not start.
    """
    found: dict[Place, Unreadable] = {}
    seen: set[str] = set()
    for main in [*_tops(files), *files]:
        if main not in seen:
            seen.add(main)
            _walk_circles(main, main, files, (), seen, found)
    return list(found.values())


def _walk_circles(
    path: str,
    main: str,
    files: Mapping[str, NginxFile],
    way: tuple[tuple[str, Directive], ...],
    seen: set[str],
    found: dict[Place, Unreadable],
) -> None:
    """`way`: the files around this one, each with its include that leads here."""
    for one in everything(files[path].directives):
        if one.name != "include" or not one.values:
            continue
        around = (*way, (path, one))
        for inner in _named(one, main, files):
            if back := [include for file, include in around if file == inner]:
                first = around.index((inner, back[0]))
                steps = ", ".join(f"{place(include)} includes {include.values[0]}" for _, include in around[first:])
                found.setdefault(place(one), Unreadable(f"files include each other in a circle: {steps}", place(one)))
            elif len(around) > DEEPEST:
                found.setdefault(place(one), nested(one))
            elif inner not in seen:
                seen.add(inner)
                _walk_circles(inner, main, files, around, seen, found)


def _named(include: Directive, main: str, files: Mapping[str, NginxFile]) -> list[str]:
    wanted = include.values[0] if files[main].dumped else included_paths(include.values[0], main)
    if not _SIGNS.search(wanted):
        return [wanted] if wanted in files else []
    literal = _SIGNS.split(wanted, maxsplit=1)[0]
    depth = wanted.count("/")  # of a pattern, too, a star matches no slash
    near = (path for path in files if path.startswith(literal) and path.count("/") == depth)
    return [path for path in near if fnmatchcase(path, wanted)]


def _assembled(path: str, files: Mapping[str, NginxFile]) -> NginxConf:
    file = files[path]
    main = tuple(_expanded(file.directives, path, files, (path,)))
    if _is_main(file):
        return NginxConf(file.file, main, file.version, fragment=False)
    return NginxConf(file.file, tuple(_in_its_context(main, file.file)), file.version, fragment=True)


def _expanded(
    directives: tuple[Directive, ...], main: str, files: Mapping[str, NginxFile], way: tuple[str, ...]
) -> Iterator[Directive]:
    for one in directives:
        if one.name == "include" and one.values:
            found = _named(one, main, files)
            known = files[main].dumped or included_paths(one.values[0], main) in files[main].empty
            if (not found and not known) or len(way) > DEEPEST:
                yield one
            for path in found:
                if path not in way:  # `circles` reports that
                    yield from _expanded(files[path].directives, main, files, (*way, path))
        elif one.block:
            block = tuple(_expanded(one.block, main, files, way))
            yield one if all(map(is_, block, one.block)) and len(block) == len(one.block) else replace(one, block=block)
        else:
            yield one


def _is_main(file: NginxFile) -> bool:
    return any(one.name in _MAIN for one in file.directives)


def _in_its_context(main: tuple[Directive, ...], file: str) -> Iterator[Directive]:
    """A file for conf.d, whose directives stand in `http` or `stream` once it is included."""
    streams = [one for one in main if one.name == "server" and _is_stream(one)]
    kind = "stream" if streams and not any(one.name == "location" for one in everything(main)) else "http"
    first = main[0] if main else None
    if first is not None:
        yield Directive((replace(first.words[0], text=kind),), first.line, file, main, 0, first.column)


def _is_stream(server: Directive) -> bool:
    inner = [one for one in server.block or () if one.name == "proxy_pass" and one.values]
    return any("://" not in one.values[0] for one in inner)
