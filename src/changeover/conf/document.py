"""What a reader returns."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Document:
    """One configuration file, read. `file` is the name that findings show; subclasses hold the tree."""

    file: str
