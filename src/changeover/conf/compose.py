"""Reads docker-compose files: services, with the place of every key. Refuses to merge override files."""

from __future__ import annotations

import re
from dataclasses import dataclass

from changeover.conf.document import Document
from changeover.conf.place import Place, Unreadable
from changeover.conf.tree import Map, parse

_SIGN = re.compile(r"^services:[ \t]*(?:#.*)?$", re.MULTILINE)
_KEY = re.compile(
    r"^[ \t]+(?:image|build|command|entrypoint|ports|stop_grace_period|stop_signal|container_name):", re.MULTILINE
)


@dataclass(frozen=True)
class ComposeFile(Document):
    services: Map


def recognises(text: str, file: str) -> bool:
    return _SIGN.search(text) is not None and _KEY.search(text) is not None and "_format_version" not in text


def read(text: str, file: str) -> tuple[ComposeFile, ...]:
    """Raises Unreadable."""
    roots = parse(text, file)
    services = roots[0].get("services") if roots else None
    if not isinstance(services, Map):
        raise Unreadable("`services` is no map", Place(file))
    return (ComposeFile(file, services),)


def seconds(text: str) -> float | None:
    """A duration as compose writes it: `1m30s`, `90s`."""
    parts = re.findall(r"(\d+(?:\.\d+)?)(us|ms|s|m|h)", text)
    if not parts or re.sub(r"\d+(?:\.\d+)?(?:us|ms|s|m|h)", "", text):
        return None
    return float(sum(float(n) * {"us": 1e-6, "ms": 1e-3, "s": 1, "m": 60, "h": 3600}[unit] for n, unit in parts))
