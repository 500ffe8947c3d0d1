"""The members that an HAProxy outside of the chain is to have: a file, since HAProxy forgets them when it restarts.

What is in the file belongs to the chain; the controller touches no other server. It also outlives `down` and a machine
that lost power, so that the next `up` finds what an earlier run left in HAProxy.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from changeover.kit.files import write_whole
from changeover.model.instance import Instance
from changeover.ports import Unknown

FORMAT = 1


@dataclass(frozen=True)
class Listed:
    """A member. `weight` 0: it was removed, and keeps its requests in flight. `gone`: its server is to be deleted.

    `processes`: node -> its process that admitted it first, which may hold requests to it after a reload.
    """

    address: str
    control: str
    proxied: bool = False
    weight: int = 0
    gone: bool = False
    processes: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, instance: Instance, weight: int) -> Listed:
        return cls(str(instance.address), str(instance.control), instance.proxied, weight)


@dataclass(frozen=True)
class MemberList:
    """What the file holds."""

    members: Mapping[str, Listed] = field(default_factory=dict)
    processes: Mapping[str, str] = field(default_factory=dict)
    """Node -> its process when it last had all members."""

    def having(self, name: str, member: Listed | None) -> MemberList:
        others = {other: known for other, known in self.members.items() if other != name}
        return replace(self, members=others if member is None else {**others, name: member})


class MemberFile:
    """Reads and writes a member list; every method raises Unknown."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> MemberList:
        """Empty where there is none yet."""
        try:
            data: Any = json.loads(self._path.read_text())
            if data["format"] != FORMAT:
                raise ValueError(f"format {data['format']}, and this version of changeover knows {FORMAT}")
            return MemberList({name: Listed(**one) for name, one in data["members"].items()}, data["processes"])
        except FileNotFoundError:
            return MemberList()
        except OSError as error:
            raise Unknown(f"{self._path} could not be read: {error}") from error
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise Unknown(f"{self._path} is not a member list: {error}") from error

    def write(self, members: MemberList) -> None:
        entries = {name: asdict(one) for name, one in sorted(members.members.items())}
        data = {"format": FORMAT, "members": entries, "processes": dict(members.processes)}
        try:
            write_whole(self._path, json.dumps(data, indent=1))
        except OSError as error:
            raise Unknown(f"{self._path} could not be written: {error}") from error
