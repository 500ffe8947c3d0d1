"""Reads shell scripts, which start servers in containers and units. Refuses to interpret them: the auditor reads the
commands of those that a given file names."""

from __future__ import annotations

import re
from dataclasses import dataclass

from changeover.conf.document import Document
from changeover.conf.place import Place

_SIGN = re.compile(r"#![ \t]*/\S*?(?:/env[ \t]+(?:-S[ \t]+)?)?\b(?:ba|da|a|k|z)?sh\b")


@dataclass(frozen=True)
class ShellFile(Document):
    text: str

    def starts(self, software: str) -> Place:
        """The last line that names a software as a command; the first line of the file if none does."""
        sign = re.compile(rf"(?:^|[\s/;&|(])(?:{re.escape(software)})(?:\s|$)")
        found = [
            number
            for number, line in enumerate(self.text.splitlines(), 1)
            if sign.search(line) and not re.match(r"\s*(?:#|echo\b|printf\b|pip\b|apt)", line)
        ]
        return Place(self.file, found[-1] if found else 1)


def recognises(text: str, file: str) -> bool:
    return file.endswith(".sh") or _SIGN.match(text) is not None


def read(text: str, file: str) -> tuple[ShellFile, ...]:
    return (ShellFile(file, text),)
