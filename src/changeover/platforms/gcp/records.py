"""What the platform keeps in the state folder: `gcp.json` of the chain, `vms/NAME.json` of each VM, and `calls/ID.json`
of each call for them.

A VM's record names a call before the call is made. The record of the call has its request id, the names of all its VMs,
and the name of its operation as soon as that is known; it is apart because a thousand VMs may share one call. So a
controller that is killed between any two calls leaves enough for the next one to go on with the same VM: the API knows
a repeated request id again, and the name of a VM is never used twice. Each record is written whole.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any
from uuid import uuid4

from changeover.kit.files import write_whole
from changeover.model.errors import ChangeoverError, fail
from changeover.model.instance import Address, Instance
from changeover.platforms.gcp.api.services import Service

FORMAT = 3
"""3: a call has a record of its own. 2: a call may be for many VMs, and a tier may have two groups."""


def new_id() -> str:
    """A request id: a UUID, by the text of `requestId`."""
    return str(uuid4())


@dataclass(frozen=True)
class Request:
    """A mutation. `names`: of all its VMs. `operation`: empty until the API has answered."""

    id: str
    names: tuple[str, ...]
    operation: str = ""

    @classmethod
    def new(cls, names: Sequence[str]) -> Request:
        return cls(new_id(), tuple(names))


@dataclass(frozen=True)
class VmRecord:
    """One VM. `number`: its id, so that one that its group created anew is known to be another one."""

    name: str
    tier: str
    template: str
    group: str = ""
    """The group that has it; empty: it was recorded when a tier had one group."""
    number: str = ""
    host: str = ""
    url: str = ""
    create: Request | None = None
    delete: Request | None = None
    unwanted: bool = False
    """Its creation was given up; whatever its group makes of it is to be deleted."""
    weight: int = 0
    """Where weights share the requests between two groups: what it is to get, in proportion to the others."""


@dataclass(frozen=True)
class GroupRecord:
    """A group as it was adopted. `link`: of its instance group, below the project."""

    link: str
    port: int
    """Where its instances serve requests; 0: the group names no port."""
    policy: Mapping[str, str] = field(default_factory=dict)
    """What the group's update policy had before it was changed; empty while it is unchanged."""


@dataclass(frozen=True)
class TierRecord:
    """A tier as it was adopted, or last came to rest."""

    size: int
    groups: Mapping[str, GroupRecord]
    """By name: one, or two that take turns."""
    services: tuple[Service, ...]
    """As they were read last; of two groups, those that are about to become backends count as such."""
    serving: str
    """The group that had the instances."""
    template: str = ""
    """That they were made from; empty: it was recorded when a tier had one group."""

    def group_for(self, template: str) -> str:
        """The group in which VMs of that template are created: of two groups each has its own template."""
        others = [name for name in self.groups if name != self.serving]
        return others[0] if others and template != self.template else self.serving


class Records:
    """The records of one chain."""

    def __init__(self, state: Path) -> None:
        self._file = state / "gcp.json"
        self._folder = state / "vms"
        self._call_folder = state / "calls"
        self._calls: dict[str, Request] = {}
        """By id, as their files are."""

    def tiers(self) -> Mapping[str, TierRecord]:
        """The adopted tiers; none where the chain is not up. Raises ChangeoverError."""
        stored = _read(self._file)
        if stored is None:
            return {}
        try:
            return {name: _tier(one) for name, one in stored["tiers"].items()}
        except (KeyError, TypeError, ValueError) as error:
            raise _damaged(self._file, error) from error

    def keep_tiers(self, tiers: Mapping[str, TierRecord]) -> None:
        text = json.dumps({"format": FORMAT, "tiers": {name: asdict(one) for name, one in tiers.items()}}, indent=1)
        write_whole(self._file, text, mode=0o600)

    def keep_tier(self, name: str, tier: TierRecord) -> None:
        self.keep_tiers({**self.tiers(), name: tier})

    def vm(self, name: str) -> VmRecord | None:
        """Raises ChangeoverError."""
        file = self._folder / f"{name}.json"
        stored = _read(file)
        if stored is None:
            return None
        try:
            stored.pop("format")
            create, delete = (self._call(stored.pop(key), name) for key in ("create", "delete"))
            return VmRecord(**stored, create=create, delete=delete)
        except (KeyError, TypeError) as error:
            raise _damaged(file, error) from error

    def has_vm(self, name: str) -> bool:
        return (self._folder / f"{name}.json").exists()

    def vms(self) -> Iterator[VmRecord]:
        for file in sorted(self._folder.glob("*.json")):
            if (found := self.vm(file.stem)) is not None:
                yield found

    def keep_vm(self, record: VmRecord) -> None:
        """Its calls are kept first: a record names none that is not there."""
        for call in (record.create, record.delete):
            if call is not None and self._calls.get(call.id) != call:
                self.keep_call(call)
        stored = asdict(replace(record, create=None, delete=None))
        stored |= {key: call and call.id for key, call in (("create", record.create), ("delete", record.delete))}
        text = json.dumps({"format": FORMAT, **stored}, indent=1)
        write_whole(self._folder / f"{record.name}.json", text, mode=0o600)

    def drop_vm(self, name: str) -> None:
        (self._folder / f"{name}.json").unlink(missing_ok=True)

    def keep_call(self, call: Request) -> None:
        text = json.dumps({"format": FORMAT, **asdict(call)}, indent=1)
        write_whole(self._call_folder / f"{call.id}.json", text, mode=0o600)
        self._calls[call.id] = call

    def drop_calls(self) -> None:
        """Drop those that no VM names any more."""
        named = {call.id for vm in self.vms() for call in (vm.create, vm.delete) if call is not None}
        for file in self._call_folder.glob("*.json"):
            if file.stem not in named:
                self._calls.pop(file.stem, None)
                file.unlink(missing_ok=True)

    def _call(self, stored: str | Mapping[str, Any] | None, name: str) -> Request | None:
        """A call that the record of a VM names. Before format 3 it had the call itself; before format 2 a call was for
        one VM, and `names` was not written."""
        if stored is None:
            return None
        if not isinstance(stored, str):
            return Request(stored["id"], tuple(stored.get("names", (name,))), stored["operation"])
        if (known := self._calls.get(stored)) is None:
            file = self._call_folder / f"{stored}.json"
            if (found := _read(file)) is None:
                return None  # the controller has dropped it since the record of the VM was read
            try:
                known = Request(found["id"], tuple(found["names"]), found["operation"])
            except (KeyError, TypeError) as error:
                raise _damaged(file, error) from error
            self._calls[stored] = known
        return known

    def clear(self) -> None:
        """The chain is released."""
        self._file.unlink(missing_ok=True)
        for folder in (self._folder, self._call_folder):
            for file in folder.glob("*.json"):
                file.unlink(missing_ok=True)
        self._calls.clear()


def instance_of(record: VmRecord, port: int, agent: int) -> Instance | None:
    """The instance, once its address is known. `port`: where it serves; `agent`: the port of its agent."""
    if not record.host:
        return None
    return Instance(record.name, record.tier, record.template, Address(record.host, port), Address(record.host, agent))


def _tier(stored: Mapping[str, Any]) -> TierRecord:
    services = tuple(
        Service(**{**one, "groups": tuple(one["groups"]), "checks": tuple(one["checks"])}) for one in stored["services"]
    )
    if "groups" not in stored:  # of one group, in format 1
        name, group = stored["link"].rpartition("/")[2], GroupRecord(stored["link"], stored["port"], stored["policy"])
        return TierRecord(stored["size"], {name: group}, services, name)
    groups = {name: GroupRecord(**one) for name, one in stored["groups"].items()}
    return TierRecord(stored["size"], groups, services, stored["serving"], stored["template"])


def _read(file: Path) -> dict[str, Any] | None:
    try:
        stored = json.loads(file.read_text(encoding="utf-8"))
        version = stored["format"]
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as error:
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
        next="Restore the file. Without it, remove it and adopt the chain anew with `changeover up`.",
    )
