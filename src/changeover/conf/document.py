"""What a reader returns."""

from __future__ import annotations

from dataclasses import dataclass

from changeover.conf.place import Unreadable


@dataclass(frozen=True)
class Document:
    """One configuration file, read. `file` is the name that findings show; subclasses hold the tree."""

    file: str


@dataclass(frozen=True)
class UnreadPart(Document):
    """A part of the file that cannot be read, beside others that can."""

    error: Unreadable
