"""How many calls VMs cost, what is on record before each, and what another controller makes of it."""

from __future__ import annotations

import asyncio
import json
import os
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import pytest
from tests.unit.in_loop import in_loop

from changeover.kit.files import write_whole
from changeover.platforms.gcp import vm_calls
from changeover.platforms.gcp.api.calls import Refused
from changeover.platforms.gcp.api.groups import Groups, ManagedVm
from changeover.platforms.gcp.api.operations import Operation
from changeover.platforms.gcp.api.retry import Failure
from changeover.platforms.gcp.looks import GroupLooks
from changeover.platforms.gcp.records import Records, VmRecord
from changeover.platforms.gcp.vm_calls import VmCalls, Vms
from changeover.ports import CannotStart, Unknown

GROUP = "edge-mig"
WRITES = "changeover.platforms.gcp.records.write_whole"
Call = tuple[str, tuple[str, ...], str]


class Group:
    """A group that has what it was asked for at once, and knows a request id again."""

    def __init__(self, records: Records) -> None:
        self.records = records
        self.there: dict[str, str] = {}
        """Name -> action."""
        self.calls: list[Call] = []
        self.failing: list[Exception] = []
        """What the next calls fail with, before their effect."""
        self.refused_names: set[str] = set()
        self.lost = 0
        """Calls whose answer is lost after their effect."""
        self.kept = True
        """Whether every call was on record before it was made."""
        self.skips: set[str] = set()
        self._known: set[str] = set()

    async def vms(self, group: str, *, fresh: bool = False) -> Mapping[str, ManagedVm]:
        await asyncio.sleep(0)
        return {
            name: ManagedVm(name, f"zones/z/instances/{name}", "1", action, "RUNNING", "t")
            for name, action in self.there.items()
        }

    async def create(self, group: str, names: Sequence[str], request_id: str) -> Operation:
        return self._mutate("create", names, request_id)

    async def delete(self, group: str, urls: Sequence[str], request_id: str) -> Operation:
        return self._mutate("delete", [url.rpartition("/")[2] for url in urls], request_id)

    async def finish(self, what: str, operation: Operation) -> None:
        if operation.error is not None:
            raise Refused(what, operation.error)

    def _mutate(self, kind: str, names: Sequence[str], request_id: str) -> Operation:
        self.calls.append((kind, tuple(names), request_id))
        for name in names:
            record = self.records.vm(name)
            request = None if record is None else record.create if kind == "create" else record.delete
            self.kept &= request is not None and request.id == request_id and set(names) <= set(request.names)
        if self.failing:
            raise self.failing.pop(0)
        if request_id not in self._known:
            self._known.add(request_id)
            if self.refused_names & set(names):
                return Operation("op", True, Failure(400, "RESOURCE_ALREADY_EXISTS", "a name is taken"))
            for name in names:
                if name not in self.skips:
                    self.there[name] = "CREATING" if kind == "create" else "DELETING"
        if self.lost:
            self.lost -= 1
            raise Unknown("no answer")
        return Operation("op", True)


class Controller:
    """One process over the records of a state folder."""

    def __init__(self, group: Group) -> None:
        self.group = group
        self.aimed: list[str] = []
        self.cannot: Exception | None = None
        self.calls = VmCalls(
            group.records,
            cast(Groups, group),
            cast(GroupLooks, group),
            defaultdict(asyncio.Lock),
            self._aim,
        )

    async def _aim(self, tier: str, group: str, template: str, vms: Vms) -> None:
        self.aimed.append(template)
        if self.cannot is not None:
            raise self.cannot

    async def create(self, *names: str) -> list[Any]:
        """What each creation failed with."""
        for name in names:
            if self.group.records.vm(name) is None:
                self.group.records.keep_vm(VmRecord(name, "edge", "v2"))
        records = [self.group.records.vm(name) for name in names]
        asked = [self.calls.create(record, GROUP) for record in records if record is not None]
        return await asyncio.gather(*asked, return_exceptions=True)

    async def delete(self, *names: str) -> list[Any]:
        asked = [self.calls.delete(VmRecord(name, "edge", "v2"), GROUP) for name in names]
        return await asyncio.gather(*asked, return_exceptions=True)


@pytest.fixture
def group(tmp_path: Path) -> Group:
    return Group(Records(tmp_path))


@pytest.fixture
def controller(group: Group) -> Controller:
    return Controller(group)


def transient() -> Refused:
    return Refused("to create VMs", Failure(503, "backendError", "try again"))


@in_loop
async def test_vms_that_are_created_at_once_are_one_call_which_was_on_record_before(controller: Controller) -> None:
    group, names = controller.group, [f"edge-v2-{n}" for n in range(5)]
    assert await controller.create(*names) == [None] * 5
    ((kind, called, request_id),) = group.calls
    assert (kind, called) == ("create", tuple(names))
    assert group.kept
    assert controller.aimed == ["v2"]
    for name in names:
        record = group.records.vm(name)
        assert record is not None
        assert record.create is not None
        assert (record.create.id, record.create.operation) == (request_id, "op")


@in_loop
async def test_a_call_is_for_as_many_vms_at_most_as_the_api_takes(
    controller: Controller, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert vm_calls.MOST == 1000
    monkeypatch.setattr(vm_calls, "MOST", 10)
    await controller.create(*(f"edge-v2-{n}" for n in range(12)))
    assert [len(names) for _, names, _ in controller.group.calls] == [10, 2]


@in_loop
async def test_a_vm_that_its_group_has_is_not_asked_for(controller: Controller) -> None:
    controller.group.there["a"] = "CREATING"
    await controller.create("a", "b")
    assert [names for _, names, _ in controller.group.calls] == [("b",)]
    assert await controller.create("a", "b") == [None, None]
    assert len(controller.group.calls) == 1
    assert len(controller.aimed) == 1


@pytest.mark.parametrize("asked", [("a", "b", "c"), ("b",)])
@in_loop
async def test_another_controller_repeats_the_very_call_whose_answer_was_lost(
    asked: tuple[str, ...], controller: Controller
) -> None:
    """With a part of the names under the same id, the API would take the others for created."""
    group = controller.group
    group.failing = [Unknown("the connection was lost")]
    assert all(isinstance(one, Unknown) for one in await controller.create("a", "b", "c"))
    assert await Controller(group).create(*asked) == [None] * len(asked)
    assert len(set(group.calls)) == 1
    assert sorted(group.there) == ["a", "b", "c"]


@in_loop
async def test_an_effect_whose_answer_was_lost_is_not_had_twice(controller: Controller) -> None:
    group = controller.group
    group.lost = 1
    await controller.create("a", "b")
    assert await Controller(group).create("a", "b", "c") == [None] * 3
    assert [names for _, names, _ in group.calls] == [("a", "b"), ("c",)]


@in_loop
async def test_after_errors_of_the_server_the_same_request_is_made_again(controller: Controller) -> None:
    group = controller.group
    group.failing = [transient()]
    failures = await controller.create("a", "b")
    assert all(isinstance(one, Refused) and one.failure.transient for one in failures)
    assert await controller.create("a", "b") == [None, None]
    assert len(set(group.calls)) == 1


@in_loop
async def test_one_vm_that_is_refused_does_not_keep_the_others_from_being_created(controller: Controller) -> None:
    group = controller.group
    group.refused_names = {"b"}
    found = await controller.create("a", "b", "c")
    assert [found[0], found[2]] == [None, None]
    assert "to create b in group edge-mig: 400: a name is taken" in str(found[1])
    assert sorted(group.there) == ["a", "c"]
    assert group.kept
    assert len({request_id for _, _, request_id in group.calls}) == len(group.calls) == 4


@in_loop
async def test_a_group_that_another_tool_updates_makes_no_call(controller: Controller) -> None:
    controller.cannot = CannotStart("another client is updating group edge-mig")
    assert await controller.create("a", "b") == [controller.cannot] * 2
    assert controller.group.calls == []


@in_loop
async def test_vms_that_are_deleted_at_once_are_one_call(controller: Controller) -> None:
    group = controller.group
    group.there = {"a": "NONE", "b": "NONE", "c": "DELETING"}
    assert await controller.delete("a", "b", "c", "d") == [None] * 4
    assert [(kind, names) for kind, names, _ in group.calls] == [("delete", ("a", "b"))]
    assert group.kept
    assert await controller.delete("a", "b") == [None, None]
    assert len(group.calls) == 1


@in_loop
async def test_a_vm_that_the_group_did_not_delete_is_asked_for_again_with_another_id(controller: Controller) -> None:
    group = controller.group
    group.there = {"a": "NONE", "b": "NONE"}
    group.skips = {"b"}
    await controller.delete("a", "b")
    group.skips = set()
    await controller.delete("a", "b")
    assert [names for _, names, _ in group.calls] == [("a", "b"), ("b",)]
    assert group.calls[0][2] != group.calls[1][2]
    assert set(group.there.values()) == {"DELETING"}


@pytest.mark.parametrize("names", [[], ["a", "b"]], ids=["format 1", "format 2"])
def test_a_call_that_an_older_version_wrote_down_is_repeated_by_this_one(tmp_path: Path, names: list[str]) -> None:
    call = {"id": "x", "operation": ""} | ({"names": names} if names else {})
    old = {"tier": "edge", "template": "v2", "number": "", "host": "", "url": "", "delete": None, "unwanted": False}
    folder = tmp_path / "vms"
    folder.mkdir()
    for name in names or ["a"]:
        stored = {"format": 2 if names else 1, "name": name, **old, "create": call}
        (folder / f"{name}.json").write_text(json.dumps(stored))
    for _ in range(2):  # the first one writes them in the present format
        group = Group(Records(tmp_path))
        group.failing = [transient()]
        asyncio.run(Controller(group).create("a"))
        assert group.calls == [("create", tuple(names or ["a"]), "x")]


class Killed(SystemExit):
    """The controller was killed."""


@pytest.fixture
def writes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The bytes of each file that is written."""
    made: list[int] = []

    def write(path: Path, text: str, *, mode: int = 0o644) -> None:
        made.append(len(text))
        write_whole(path, text, mode=mode)

    monkeypatch.setattr(WRITES, write)
    return made


@pytest.mark.parametrize("kind", ["create", "delete"])
def test_a_controller_that_is_killed_at_any_write_leaves_enough_to_repeat_its_call(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ["a", "b", "c"]

    def killed_at(number: int, after: bool, group: Group) -> bool:
        left = number

        def write(path: Path, text: str, *, mode: int = 0o644) -> None:
            nonlocal left
            left -= 1
            if after or left:
                write_whole(path, text, mode=mode)
            if not left:
                raise Killed

        with monkeypatch.context() as patched:
            patched.setattr(WRITES, write)
            try:
                asyncio.run(getattr(Controller(group), kind)(*names))
            except Killed:
                return True
        return False

    for after in (False, True):
        for number in range(1, 100):
            folder = tmp_path / f"{after}{number}"
            group = Group(Records(folder))
            for name in names:
                group.records.keep_vm(VmRecord(name, "edge", "v2"))
            group.there = {} if kind == "create" else dict.fromkeys(names, "NONE")
            if not killed_at(number, after, group):
                break
            group.records = Records(folder)
            assert asyncio.run(getattr(Controller(group), kind)(*names)) == [None] * 3
            assert set(group.there.values()) == {"CREATING" if kind == "create" else "DELETING"}
            assert len(group.there) == 3
            assert len(set(group.calls)) == 1, "the second controller repeats the call of the first one"
        assert number > 4, "the call, each of three VMs, and the operation"


def test_what_a_vm_costs_in_records_does_not_grow_with_the_call(tmp_path: Path, writes: list[int]) -> None:
    def of_each(size: int) -> tuple[float, float]:
        writes.clear()
        group = Group(Records(tmp_path / str(size)))
        asyncio.run(Controller(group).create(*(f"edge-v2-{n:04}" for n in range(size))))
        assert len(group.calls) == 1
        return len(writes) / size, sum(writes) / size

    (files, size), (files_of_more, size_of_more) = of_each(20), of_each(200)
    assert files_of_more <= files
    assert size_of_more <= size


def test_what_a_vm_costs_to_read_does_not_grow_with_the_call_that_is_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, right = 0, Path.read_text
    asked, right_stat = 0, Path.stat

    def reading(path: Path, encoding: str | None = None) -> str:
        nonlocal read
        read += 1
        return right(path, encoding=encoding)

    def stat(path: Path, *, follow_symlinks: bool = True) -> os.stat_result:
        nonlocal asked
        asked += 1
        return right_stat(path, follow_symlinks=follow_symlinks)

    def of_each(size: int) -> float:
        nonlocal read, asked
        folder, names = tmp_path / str(size), [f"edge-v2-{n}" for n in range(size)]
        group = Group(Records(folder))
        group.failing = [Unknown("the connection was lost")]
        asyncio.run(Controller(group).create(*names))
        group.records, read, asked = Records(folder), 0, 0
        asyncio.run(Controller(group).create(*names))
        assert len(set(group.calls)) == 1
        return (read + asked) / size

    monkeypatch.setattr(Path, "read_text", reading)
    monkeypatch.setattr(Path, "stat", stat)
    assert of_each(200) <= of_each(20)


def test_calls_that_no_vm_names_are_dropped(tmp_path: Path) -> None:
    group = Group(Records(tmp_path))
    asyncio.run(Controller(group).create("a", "b"))
    asyncio.run(Controller(group).create("c"))
    group.records.drop_vm("b")
    group.records.drop_vm("c")
    group.records.drop_calls()
    record = Records(tmp_path).vm("a")
    assert record is not None
    assert record.create is not None
    assert [file.stem for file in (tmp_path / "calls").iterdir()] == [record.create.id]
