"""Whether nginx is reloaded while it serves: assumed, or shown by the unit that says how."""

from __future__ import annotations

from changeover.audit.assumptions import Assumptions
from changeover.audit.view import View


def reloaded(view: View, asked: Assumptions) -> tuple[bool | None, str]:
    """The answer and its evidence; of None, what is missing."""
    if asked.reloads is not None:
        return asked.reloads, f"nginx is {'' if asked.reloads else 'not '}reloaded while it serves (--assume)"
    for stop in view.stops_of("nginx"):
        if stop.reload is not None:
            return True, f"{stop.reload} reloads it"
    return None, "whether nginx is reloaded while it serves: `--assume reloads=yes` or `no`, or its systemd unit"
