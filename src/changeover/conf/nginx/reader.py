"""Reads files of nginx configuration, and the output of `nginx -T`, which holds several.

Refuses templates: a value that Jinja, ERB, Helm or a shell fills in is not known, and the rest of such a file may not
be there either.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from changeover.conf.document import Document
from changeover.conf.nginx import values
from changeover.conf.nginx.grammar import Directive, NotNginx, parse
from changeover.conf.place import Place, Unreadable

_SIGN = re.compile(
    r"^[ \t]*(?:(?:http|events|stream|server|mail)\s*\{|(?:upstream|location)\s[^;{}#\n]*\{"
    r"|(?:proxy_pass|worker_processes|listen|server_name|worker_shutdown_timeout)\s[^=:\n]*;)",
    re.MULTILINE,
)
_WITHIN_LINES = (
    re.compile(r"[;{}][ \t]*(?:http|events|stream|server)[ \t]*\{"),
    re.compile(r"[;{}][ \t]*(?:listen|server_name|worker_connections)[ \t][^=:;{}\n]*;"),
)
"""Signs of a file that has several directives on a line. One of them alone may be a line of another language."""
_SECTION = re.compile(r"^# configuration file (.+):$", re.MULTILINE)
_VERSION = re.compile(r"^nginx version: (?:nginx|openresty)/(\d+(?:\.\d+)+)", re.MULTILINE)
_TEMPLATE = re.compile(r"\{\{|\{%|<%|\$\{\{|\$\{[A-Z][A-Z0-9_]*\}|@@?[A-Z_]+@@?|%%[A-Z_]+%%")
"""`${PORT}` is for envsubst, as the image of nginx runs it: names of nginx's own variables are in lower case."""


MOST = 50_000
"""Directives of one file. Each may have a finding of every rule, and the auditor promises 5 s and 300 MB."""


@dataclass(frozen=True)
class NginxFile(Document):
    """One file. `path` is what `include` names; in the output of `nginx -T` it is not the file that was read."""

    path: str
    directives: tuple[Directive, ...]
    version: tuple[int, ...] | None = None
    dumped: bool = False
    """The output of `nginx -T` holds every included file, so nothing is missing."""
    empty: frozenset[str] = frozenset()
    """Of a main file: patterns of includes, as paths, that are known to name no file."""


def recognises(text: str, file: str) -> bool:
    if _SIGN.search(text) is not None or _SECTION.search(text) is not None:
        return True
    return all(sign.search(text) is not None for sign in _WITHIN_LINES)


def read(text: str, file: str) -> tuple[NginxFile, ...]:
    """One document for each file in the text. Raises Unreadable."""
    found = _VERSION.search(text)
    version = values.version(found[1]) if found else None
    sections = list(_SECTION.finditer(text))
    if not sections:
        return (NginxFile(file, file, _directives(text, file), version),)
    ends = [one.start() for one in sections[1:]] + [len(text)]
    found_in = tuple(
        # The lines before a section stay as empty ones, so that each place is one of the dump.
        NginxFile(
            file,
            section[1],
            _directives("\n" * text.count("\n", 0, section.end()) + text[section.end() : end], file),
            version,
            dumped=True,
        )
        for section, end in zip(sections, ends, strict=True)
    )
    if sum(_size(one.directives) for one in found_in) > MOST:
        raise _too_many(Place(file))
    return found_in


def _size(directives: Iterable[Directive]) -> int:
    return sum(1 for _ in everything(directives))


def _too_many(place: Place) -> Unreadable:
    return Unreadable(f"it has more than {MOST} directives: give its parts as files of their own", place)


def everything(directives: Iterable[Directive]) -> Iterator[Directive]:
    """Each directive, and those in its block."""
    for one in directives:
        yield one
        yield from everything(one.block or ())


def place(directive: Directive) -> Place:
    return Place(directive.file, directive.line, directive.column)


def _directives(text: str, file: str) -> tuple[Directive, ...]:
    try:
        found = parse(text, file)
    except NotNginx as error:
        templated = _TEMPLATE.search(re.sub(r"#[^\n]*", "", text))
        what = f"the file is a template ({templated[0]} …): render it first" if templated else f"{error}"
        line = text.count("\n", 0, templated.start()) + 1 if templated else error.line
        raise Unreadable(what, Place(file, line)) from error
    for number, one in enumerate(everything(found), 1):
        if number > MOST:
            raise _too_many(place(one))
        if one.name == "listen" and any(word.text.startswith("$") for word in one.words[1:]):
            raise Unreadable("the file is a template (listen has no variables): render it first", place(one))
        for word in one.words:
            if hit := _TEMPLATE.search(word.text):
                raise Unreadable(f"the file is a template ({hit[0]} …): render it first", place(one))
    return found
