"""The name of the user that runs this process, as logs and journals show it."""

from __future__ import annotations

import os
import pwd


def current_user() -> str:
    """The login name, or the number of a user without one; `alice (as root)` under sudo."""
    try:
        name = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        name = str(os.getuid())
    by = os.environ.get("SUDO_USER")
    return f"{by} (as {name})" if by and by != name else name
