"""The environment that a process gets whatever shell, cron job or CI runner calls: a base, and files of variables.

Refuses to pass on the rest of the caller's environment: a roll from cron would start other instances than `up` from a
shell, and a CI runner that kills processes by a variable (`BUILD_ID`, `RUNNER_TRACKING_ID`) would kill the chain.
"""

from __future__ import annotations

import os
import pwd
import re
from collections.abc import Mapping

_BASE = re.compile(r"PATH|LANG|LANGUAGE|LC_[A-Z]+|TZ")
"""From the caller. PATH finds the software; the others choose how texts and times are read. TMPDIR is not among them,
because the caller's may be a folder that is deleted when a job ends."""
_LINE = re.compile(r"(?:export\s+)?(?P<name>[A-Za-z_][A-Za-z0-9_]*)=(?P<value>.*)")


def base(caller: Mapping[str, str]) -> dict[str, str]:
    """The variables that every process gets: PATH, locale and time zone of the caller, and the user's own."""
    found = {name: value for name, value in caller.items() if _BASE.fullmatch(name)}
    return {"PATH": os.defpath, "LANG": "C.UTF-8", **found, **of_user(os.geteuid())}


def of_user(user: int | str) -> dict[str, str]:
    """HOME, USER, LOGNAME and SHELL as a login sets them; without an account, the root folder is home."""
    try:
        account = pwd.getpwuid(user) if isinstance(user, int) else pwd.getpwnam(user)
    except KeyError:
        return {"HOME": "/"}
    return {
        "HOME": account.pw_dir,
        "USER": account.pw_name,
        "LOGNAME": account.pw_name,
        "SHELL": account.pw_shell or "/bin/sh",
    }


def read_variables(text: str) -> dict[str, str]:
    """The variables of a file with lines `NAME=value`. Raises ValueError with the number of a line that is none.

    Blank lines and lines that begin with `#` mean nothing. `export` before a name, and quotes around a whole value, are
    removed. Nothing in a value is replaced.
    """
    found = {}
    for number, line in enumerate(text.splitlines(), start=1):
        stripped = line.strip()
        if not stripped or stripped.startswith("#"):
            continue
        match = _LINE.fullmatch(stripped)
        if match is None or "\0" in stripped:
            raise ValueError(f"line {number} is not NAME=value")
        value = match["value"].strip()
        if value[:1] in ("'", '"'):
            if len(value) < 2 or value[-1] != value[0]:
                raise ValueError(f"line {number} has a quote that does not end")
            value = value[1:-1]
        found[match["name"]] = value
    return found
