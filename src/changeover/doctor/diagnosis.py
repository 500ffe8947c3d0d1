"""What a check found: what was read, what follows for a GET and for an upload, and the command that cures it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Severity(StrEnum):
    FATAL = "fatal"
    """A roll would break requests, or could not end."""
    WARNING = "warning"
    """Requests break in some cases: at a death, at a stop by another tool, or without any roll."""
    NOTE = "note"
    """Nothing breaks; the roll changes it itself, or takes longer."""


@dataclass(frozen=True)
class Diagnosis:
    """One precondition that does not hold."""

    check: str
    """The name of the check, such as `healing-shares-check`; it does not change between versions."""
    severity: Severity
    where: str
    read: str
    get: str
    """The consequence for a GET."""
    post: str
    """The consequence for a POST of the largest size at the slowest rate."""
    cure: str
    """The command, or what to do where no command does it."""
