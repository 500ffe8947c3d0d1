"""Whether the instance must get no new requests, why, and since when.

A cause is a request of the controller, a notice of the machine's end, or a file that someone created. The file holds
the causes: an agent that is restarted in the middle of a drain goes on with it, and software that watches such a file
closes its connections. In doubt the instance is a lame duck: a drain that ends by itself breaks requests.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from changeover.kit.files import write_whole
from changeover.ports import Unknown

ASKED = "a control call"


class LameDuck:
    def __init__(self, path: Path) -> None:
        self._path = path
        self._causes: dict[str, float] = {}
        """Cause -> since when, in seconds since 1970."""

    def open(self) -> None:
        """Take over the causes of an earlier agent. Raises OSError where the file could not be kept."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        try:
            found = json.loads(self._path.read_text(encoding="utf-8"))
            self._causes = {str(cause): float(since) for cause, since in found.items()}
        except FileNotFoundError:
            probe = self._path.with_name(f".{self._path.name}.probe")
            probe.touch()
            probe.unlink()
        except (ValueError, TypeError, AttributeError):
            pass  # not the agent's own: `reason` names it for as long as it is there

    @property
    def reason(self) -> str:
        """Why the instance is a lame duck; empty: it is none."""
        if self._causes:
            return "lame duck: " + ", ".join(self._causes)
        try:
            return f"lame duck: the file {self._path} exists" if self._path.exists() else ""
        except OSError as error:
            return f"lame duck: {self._path} cannot be looked at: {error.strerror}"

    def begin(self, cause: str, now: float) -> None:
        """Raises Unknown where the file cannot be written; the instance is a lame duck then, until the agent ends."""
        self._causes.setdefault(cause, now)
        self._write(self._causes)

    def end(self, cause: str) -> None:
        """Raises Unknown; the instance stays a lame duck then."""
        causes = {other: since for other, since in self._causes.items() if other != cause}
        self._write(causes)
        self._causes = causes

    def lasting(self, cause: str) -> str:
        """The causes other than this one, in words; empty: none."""
        return ", ".join(other for other in self._causes if other != cause)

    def _write(self, causes: Mapping[str, float]) -> None:
        try:
            if causes:
                write_whole(self._path, json.dumps(causes))
            else:
                self._path.unlink(missing_ok=True)
        except OSError as error:
            raise Unknown(f"{self._path} could not be changed: {error.strerror or error}") from error
