"""The one error this program raises on purpose.

An error says what happened, where, what state things were left in, and what to do next. The command line prints
exactly that and leaves with `exit_code`; nothing here ever reaches a user as a traceback.
"""

from __future__ import annotations

from dataclasses import dataclass

from changeover.kit.redact import hide_credentials


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong. `where` is a file:line, a tier or an instance; empty parts are left out."""

    what: str
    where: str = ""
    state: str = ""
    next: str = ""

    def __post_init__(self) -> None:
        """Whatever its parts quote, no problem shows the user and the password of a URL."""
        for part in ("what", "where", "state", "next"):
            object.__setattr__(self, part, hide_credentials(getattr(self, part)))

    def __str__(self) -> str:
        head = f"{self.where}: {self.what}" if self.where else self.what
        return "\n  ".join(part for part in (head, self.state, self.next) if part)


class ChangeoverError(Exception):
    """Something that stops a command. `exit_code` 2: could not do the job; 1: rolled back safely; 3: service broke."""

    def __init__(self, *problems: Problem, exit_code: int = 2) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = problems
        self.exit_code = exit_code


def fail(what: str, *, where: str = "", state: str = "", next: str = "", exit_code: int = 2) -> ChangeoverError:
    """Build (not raise) the error for a single problem: `raise fail("no such tier", next="…")`."""
    return ChangeoverError(Problem(what, where, state, next), exit_code=exit_code)
