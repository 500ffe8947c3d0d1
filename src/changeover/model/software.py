"""What a chain needs and this machine lacks, reported at once, with the one command that installs all of it.

Refuses to look for software: hops and the platform do, each for its own.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from changeover.model.errors import ChangeoverError, Problem


@dataclass(frozen=True)
class Missing:
    """One thing that is not installed. `what` names it and what needs it."""

    what: str
    package: str = ""
    """The package of Debian and Ubuntu that brings it."""
    extra: str = ""
    """The extra of this project that brings it."""
    next: str = ""
    """What to do, where neither brings it."""


def problems(missing: Sequence[Missing]) -> tuple[Problem, ...]:
    """A problem for each; the last one names the command for all of them."""
    each = list(dict.fromkeys(missing))
    command = install_command(each)
    found = [Problem(one.what, next=one.next) for one in each]
    if command:
        last = found[-1]
        found[-1] = Problem(last.what, next="\n  ".join(filter(None, (last.next, f"Install with: {command}"))))
    return tuple(found)


def refused(missing: Sequence[Missing]) -> ChangeoverError:
    """The error for a command that would have needed them."""
    *others, last = problems(missing)
    return ChangeoverError(*others, Problem(last.what, state="Nothing was started or changed.", next=last.next))


def install_command(missing: Sequence[Missing]) -> str:
    """One line for a shell; empty where no package brings any of them."""
    packages = dict.fromkeys(one.package for one in missing if one.package)
    extras = dict.fromkeys(one.extra for one in missing if one.extra)
    commands = []
    if packages:
        commands.append(f"sudo apt-get install -y {' '.join(packages)}")
    if extras:
        # This interpreter's pip: another one would install into another environment, such as beside pipx's.
        commands.append(f"{shlex.quote(sys.executable)} -m pip install 'changeover[{','.join(extras)}]'")
    return " && ".join(commands)
