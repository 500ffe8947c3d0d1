"""Reads Dockerfiles: each instruction of every stage, with its line. Refuses to resolve ARG and ENV."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

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
_FROM = re.compile(r"(?:--\S+[ \t]+)*(\S+)(?:[ \t]+AS[ \t]+(\S+))?", re.IGNORECASE)
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
        """What an image of it has: the last stage behind the stages that it builds on; others are for building."""
        found: list[Instruction] = []
        stage: int | None = max((one.stage for one in self.instructions), default=0)
        while stage is not None:
            own = [one for one in self.instructions if one.stage == stage]
            found = [*own, *found]
            base = next((_FROM.match(one.value) for one in own if one.name == "FROM"), None)
            stage = self._stage(base[1], stage) if base else None
        return found

    def of_target(self, target: str | None) -> DockerFile:
        """The file as `docker build --target` uses it; as it is if no stage has that name."""
        last = max((one.stage for one in self.instructions), default=0)
        stage = self._stage(target or "", last + 1)
        return self if stage is None else replace(self, instructions=self._until(stage))

    def _until(self, stage: int) -> tuple[Instruction, ...]:
        return tuple(one for one in self.instructions if one.stage <= stage)

    def _stage(self, name: str, before: int) -> int | None:
        """The last stage of that name before another."""
        named = [
            one.stage
            for one in self.instructions
            if one.name == "FROM" and one.stage < before and (found := _FROM.match(one.value)) and found[2]
            if found[2].lower() == name.lower()
        ]
        return named[-1] if named else None


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
