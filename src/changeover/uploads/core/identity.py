"""The name by which a process holds uploads.

Refuses to be made before a fork: servers load the application first and fork their workers then (`gunicorn --preload`),
and workers with one name would take each other's handler calls for their own.
"""

from __future__ import annotations

import os
import secrets
import socket


class ProcessIdentity:
    """The name of this process for one engine, made at its first use in each process."""

    def __init__(self) -> None:
        self._name = ""
        self._pid = 0

    @property
    def name(self) -> str:
        """Unique among all processes that share a store."""
        if self._pid != (pid := os.getpid()):
            self._pid = pid
            self._name = f"{socket.gethostname()}-{pid}-{secrets.token_hex(4)}"
        return self._name
