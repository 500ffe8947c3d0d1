"""Reads Dockerfiles: each instruction of every stage, with its line. Refuses to resolve ARG and ENV."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass

from changeover.conf.document import Document
from changeover.conf.place import Place, Unreadable

_INSTRUCTIONS = (
    "ADD|ARG|CMD|COPY|ENTRYPOINT|ENV|EXPOSE|FROM|HEALTHCHECK|LABEL|MAINTAINER|ONBUILD|RUN|SHELL|STOPSIGNAL|USER|VOLUME"
    "|WORKDIR"
)
_LINE = re.compile(rf"[ \t]*({_INSTRUCTIONS})[ \t]+(.*)", re.IGNORECASE | re.DOTALL)
_SIGN = re.compile(
    r"^[ \t]*FROM[ \t]+(?:--platform=\S+[ \t]+)?[\w./:@${}-]+(?:[ \t]+AS[ \t]+\S+)?[ \t]*$",
    re.MULTILINE | re.IGNORECASE,
)
_HEREDOC = re.compile(r"<<-?[ \t]*[\"']?(\w+)[\"']?")
_TEMPLATE = re.compile(r"\{\{|\{%|<%")


@dataclass(frozen=True)
class Instruction:
    """`words` of its JSON form; None for the form that a shell runs. `stage` counts the FROMs."""

    name: str
    value: str
    words: tuple[str, ...] | None
    place: Place
    stage: int


@dataclass(frozen=True)
class DockerFile(Document):
    instructions: tuple[Instruction, ...]

    @property
    def last_stage(self) -> list[Instruction]:
        """What an image of it has; stages before are for building."""
        last = max((one.stage for one in self.instructions), default=0)
        return [one for one in self.instructions if one.stage == last]


def recognises(text: str, file: str) -> bool:
    if _SIGN.search(text) is None:
        return False
    first = next((line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")), "")
    return re.match(r"[ \t]*(?:FROM|ARG)[ \t]", first, re.IGNORECASE) is not None


def read(text: str, file: str) -> tuple[DockerFile, ...]:
    """Raises Unreadable."""
    return (DockerFile(file, tuple(_instructions(text, file))),)


def _instructions(text: str, file: str) -> Iterator[Instruction]:
    lines = text.split("\n")
    escape = "`" if re.match(r"#[ \t]*escape[ \t]*=[ \t]*`", lines[0], re.IGNORECASE) else "\\"
    number, stage = 0, -1
    while number < len(lines):
        start = number
        parts: list[str] = []
        while number < len(lines):
            line = lines[number]
            number += 1
            if line.lstrip().startswith("#") or (parts and not line.strip()):
                continue
            bare = line.rstrip()
            parts.append(bare.removesuffix(escape))
            if not bare.endswith(escape):
                break
        joined = "".join(parts).strip()
        if not joined:
            continue
        while lines[start].lstrip().startswith("#") or not lines[start].strip():
            start += 1
        place = Place(file, start + 1)
        found = _LINE.fullmatch(joined)
        if found is None or _TEMPLATE.search(joined.replace("{{.", "")):
            templated = _TEMPLATE.search(joined) is not None
            raise Unreadable(
                "the file is a template: render it first" if templated else "this is no instruction", place
            )
        for word in _HEREDOC.findall(found[2]) if found[1].upper() in {"RUN", "COPY", "ADD"} else ():
            while number < len(lines) and lines[number].strip() != word:
                number += 1
            number += 1
        stage += found[1].upper() == "FROM"
        yield Instruction(found[1].upper(), found[2].strip(), _words(found[2]), place, stage)


def _words(value: str) -> tuple[str, ...] | None:
    if not value.lstrip().startswith("["):
        return None
    try:
        found = json.loads(value)
    except (ValueError, RecursionError):
        return None
    return tuple(found) if isinstance(found, list) and all(isinstance(one, str) for one in found) else None
