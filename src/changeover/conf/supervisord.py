"""Reads the programs of a supervisord configuration: each key with its line."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from changeover.conf.document import Document
from changeover.conf.place import Place, Unreadable

_SECTION = re.compile(r"\[([^\[\]]+)\]")
_SIGN = re.compile(r"^\[(?:program:[^\]\n]+|supervisord)\]", re.MULTILINE)
_TEMPLATE = re.compile(r"\{\{|\{%|<%")


@dataclass(frozen=True)
class Value:
    value: str
    place: Place


@dataclass(frozen=True)
class Program:
    name: str
    place: Place
    values: Mapping[str, Value]


@dataclass(frozen=True)
class SupervisorFile(Document):
    programs: tuple[Program, ...]


def recognises(text: str, file: str) -> bool:
    return _SIGN.search(text) is not None


def read(text: str, file: str) -> tuple[SupervisorFile, ...]:
    """Raises Unreadable."""
    programs: list[Program] = []
    values: dict[str, Value] = {}
    last = ""
    for number, line in enumerate(text.split("\n"), 1):
        bare = re.split(r"(?:^|\s);", line, maxsplit=1)[0].rstrip()
        if not bare.strip() or bare.startswith(("#", ";")):
            continue
        if _TEMPLATE.search(bare):
            raise Unreadable("the file is a template: render it first", Place(file, number))
        if found := _SECTION.fullmatch(bare.strip()):
            values, last = {}, ""
            if found[1].startswith("program:"):
                programs.append(Program(found[1].partition(":")[2].strip(), Place(file, number), values))
        elif bare[0].isspace() and last:  # configparser continues a value on an indented line
            values[last] = Value(f"{values[last].value} {bare.strip()}", values[last].place)
        elif "=" in bare or ":" in bare:
            key, _, value = re.split(r"([=:])", bare, maxsplit=1)
            last = key.strip().lower()
            values[last] = Value(value.strip(), Place(file, number))
        else:
            raise Unreadable("this is neither a section nor a key with a value", Place(file, number))
    return (SupervisorFile(file, tuple(programs)),)
