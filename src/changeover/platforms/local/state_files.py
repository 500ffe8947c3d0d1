"""The state files of the local platform: `platform.json` (the load balancer) and `instance.json` (one per instance).

Each has a format of its own, which its key `format` names; files from the time before have none, and are read as format
0. What is stored has words of its own, apart from the fields of the classes. A file of a newer version is refused.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from changeover.kit.files import write_whole
from changeover.model.errors import ChangeoverError, fail
from changeover.model.instance import Address, Instance
from changeover.model.readiness import Readiness

FORMAT = 1


@dataclass(frozen=True)
class BalancerRecord:
    """The chain's HAProxy: its process, and where it listens.

    `entries` is keyed by what listens: a tier, or a tier's preview. `whole`: its members have all been admitted again
    since it was started.
    """

    pid: int
    born: int
    entries: Mapping[str, Address]
    whole: bool


def write_balancer(file: Path, record: BalancerRecord) -> None:
    stored = {
        "format": FORMAT,
        "pid": record.pid,
        "born": record.born,
        "entries": {name: str(address) for name, address in record.entries.items()},
        "whole": record.whole,
    }
    write_whole(file, json.dumps(stored))


def read_balancer(file: Path) -> BalancerRecord | None:
    """None where no load balancer was ever started. Raises ChangeoverError."""
    stored = _read(file)
    if stored is None:
        return None
    try:
        return BalancerRecord(
            pid=stored["pid"],
            born=stored["born"],
            entries={name: Address.parse(text) for name, text in stored["entries"].items()},
            whole=stored.get("whole", True),  # the first versions admitted the members before they wrote this file
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise _damaged(file, error) from error


def write_instance(file: Path, instance: Instance) -> None:
    stored = {
        "format": FORMAT,
        "name": instance.name,
        "tier": instance.tier,
        "template": instance.template,
        "address": {"host": instance.address.host, "port": instance.address.port},
        "control": {"host": instance.control.host, "port": instance.control.port},
        "pid": instance.pid,
        "born": instance.born,
        "directory": instance.directory,
        "proxied": instance.proxied,
        "socket": instance.socket,
        "ready_path": instance.readiness.path or "",
        "ready": {
            "status": list(instance.readiness.status),
            "headers": dict(instance.readiness.headers),
            "body": instance.readiness.body,
            "tcp": instance.readiness.tcp,
        },
    }
    write_whole(file, json.dumps(stored, indent=1))


def read_instance(file: Path) -> Instance | None:
    """None where there is no such file. Raises ChangeoverError."""
    stored = _read(file)
    if stored is None:
        return None
    try:
        return Instance(
            name=stored["name"],
            tier=stored["tier"],
            template=stored["template"],
            address=Address(stored["address"]["host"], stored["address"]["port"]),
            control=Address(stored["control"]["host"], stored["control"]["port"]),
            pid=stored["pid"],
            born=stored["born"],
            directory=stored["directory"],
            proxied=stored.get("proxied", False),  # the first versions started no instance with a PROXY header
            socket=stored.get("socket", ""),
            readiness=_readiness(stored),
        )
    except (KeyError, TypeError) as error:
        raise _damaged(file, error) from error


class InstanceRecords:
    """The records of all instances, each parsed once for as long as its file is the same one.

    A look at a thousand instances asks for each of them, and for all of them at every start.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._known: dict[str, tuple[tuple[int, int, int], Instance | None]] = {}
        """Name -> what tells its file from the one that replaces it, and the record."""

    def read(self, name: str) -> Instance | None:
        """None where there is no record. Raises ChangeoverError."""
        file = f"{self._folder}/{name}/instance.json"
        try:
            found = os.stat(file)  # noqa: PTH116 (a look asks for many)
        except (FileNotFoundError, NotADirectoryError):
            self._known.pop(name, None)
            return None
        mark = (found.st_ino, found.st_mtime_ns, found.st_size)
        known = self._known.get(name)
        if known is None or known[0] != mark:
            known = self._known[name] = mark, read_instance(Path(file))
        return known[1]

    def all(self, prefix: str = "") -> Iterator[Instance]:
        """Every recorded instance whose name begins like that. Raises ChangeoverError."""
        try:
            names = os.listdir(self._folder)  # noqa: PTH208
        except FileNotFoundError:
            return
        for name in names:
            if name.startswith(prefix) and (instance := self.read(name)) is not None:
                yield instance


def _readiness(stored: Mapping[str, Any]) -> Readiness:
    # The first versions asked every application at the same path, and the next ones asked for nothing but a 200.
    path, asked = stored.get("ready_path") or None, stored.get("ready")
    if asked is None:
        return Readiness(path)
    return Readiness(path, tuple(asked["status"]), asked["headers"], asked["body"], asked["tcp"])


def _read(file: Path) -> dict[str, Any] | None:
    try:
        stored = json.loads(file.read_text(encoding="utf-8"))
        version = stored.get("format", 0)
    except FileNotFoundError:
        return None
    except (ValueError, AttributeError) as error:
        raise _damaged(file, error) from error
    if version > FORMAT:
        raise fail(
            f"the file was written by a newer version of changeover: its format is {version}, "
            f"this version reads up to {FORMAT}",
            where=str(file),
            state="Nothing was changed; the chain goes on serving.",
            next="Use the newer version of changeover for this chain.",
        )
    return dict(stored)


def _damaged(file: Path, error: Exception) -> ChangeoverError:
    reason = f"no key {error}" if isinstance(error, KeyError) else str(error)
    return fail(
        f"the file is damaged: {reason}",
        where=str(file),
        state="Nothing was changed; the chain goes on serving.",
        next="Restore the file, or end the chain's processes by hand and start with a new --state folder.",
    )
