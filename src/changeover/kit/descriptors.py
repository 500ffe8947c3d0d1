"""How many files a process may open on this machine."""

from __future__ import annotations

import resource
import sys


def hard_limit() -> int:
    """The limit to which a process may raise its own. HAProxy and nginx do so by themselves."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    return sys.maxsize if hard == resource.RLIM_INFINITY else hard
