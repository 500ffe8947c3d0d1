"""The files that name the processes of a chain: read as they were written, by this version and by every earlier one."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from changeover.model.errors import ChangeoverError
from changeover.model.instance import Address, Instance
from changeover.model.readiness import Readiness
from changeover.platforms.local.state_files import (
    FORMAT,
    BalancerRecord,
    InstanceRecords,
    read_balancer,
    read_instance,
    write_balancer,
    write_instance,
)

INSTANCE = Instance(
    "web-v1-1",
    "web",
    "v1",
    Address("127.0.0.1", 8001),
    Address("127.0.0.1", 8002),
    pid=4242,
    born=777,
    directory="/srv/state/instances/web-v1-1",
    proxied=True,
    socket="/srv/state/instances/web-v1-1/app.sock",
    readiness=Readiness(path="/healthz", status=(204, 401), headers={"Host": "shop.example"}, body="up"),
)
BALANCER = BalancerRecord(4141, 666, {"web": Address("127.0.0.1", 8443)}, whole=False)

INSTANCE_0 = (
    '{"name": "web-v1-1", "tier": "web", "template": "v1", "address": {"host": "127.0.0.1", "port": 8001}, '
    '"control": {"host": "127.0.0.1", "port": 8002}, "pid": 4242, "born": 777, '
    '"directory": "/srv/state/instances/web-v1-1"}'
)
"""As the first versions wrote it."""
INSTANCE_0_PROXIED = INSTANCE_0.replace('"directory"', '"proxied": true, "directory"')
"""As the last version wrote it that stored no format."""
INSTANCE_1_PATH = INSTANCE_0_PROXIED.replace('"directory"', '"format": 1, "ready_path": "/healthz", "directory"')
"""As the last version wrote it that asked for nothing but a 200."""
_READY = '"ready": {"status": [204, 401], "headers": {"Host": "shop.example"}, "body": "up", "tcp": false}'
_SOCKET = '"socket": "/srv/state/instances/web-v1-1/app.sock"'
INSTANCE_1 = INSTANCE_1_PATH.replace('"directory"', f'{_READY}, {_SOCKET}, "directory"')
BALANCER_0 = '{"pid": 4141, "born": 666, "entries": {"web": "127.0.0.1:8443"}}'
BALANCER_0_WHOLE = '{"pid": 4141, "born": 666, "entries": {"web": "127.0.0.1:8443"}, "whole": false}'


def test_an_instance_is_read_as_it_was_written(tmp_path: Path) -> None:
    write_instance(tmp_path / "instance.json", INSTANCE)
    assert read_instance(tmp_path / "instance.json") == INSTANCE


def test_a_record_is_parsed_once_until_another_file_takes_its_place(tmp_path: Path) -> None:
    records = InstanceRecords(tmp_path)
    assert records.read("web-v1-1") is None
    (tmp_path / "web-v1-1").mkdir()
    write_instance(tmp_path / "web-v1-1" / "instance.json", INSTANCE)
    first = records.read("web-v1-1")
    assert first == INSTANCE
    assert records.read("web-v1-1") is first
    write_instance(tmp_path / "web-v1-1" / "instance.json", replace(INSTANCE, pid=4343))
    again = records.read("web-v1-1")
    assert again is not None
    assert again.pid == 4343
    (tmp_path / "web-v1-1" / "instance.json").unlink()
    assert records.read("web-v1-1") is None


def test_all_records_are_those_whose_names_begin_like_that(tmp_path: Path) -> None:
    records = InstanceRecords(tmp_path / "instances")
    assert list(records.all()) == []
    for name in ("web-v1-1", "web-v2-2", "api-v1-1"):
        (tmp_path / "instances" / name).mkdir(parents=True)
        write_instance(tmp_path / "instances" / name / "instance.json", replace(INSTANCE, name=name))
    (tmp_path / "instances" / "web-v1-0").mkdir()  # an ended one has no record
    assert sorted(one.name for one in records.all("web-")) == ["web-v1-1", "web-v2-2"]
    assert len(list(records.all())) == 3


def test_a_load_balancer_is_read_as_it_was_written(tmp_path: Path) -> None:
    write_balancer(tmp_path / "platform.json", BALANCER)
    assert read_balancer(tmp_path / "platform.json") == BALANCER


def test_what_was_never_written_is_not_there(tmp_path: Path) -> None:
    assert read_instance(tmp_path / "instance.json") is None
    assert read_balancer(tmp_path / "platform.json") is None


@pytest.mark.parametrize(("text", "proxied"), [(INSTANCE_0, False), (INSTANCE_0_PROXIED, True)])
def test_an_instance_of_a_version_without_formats_is_read(text: str, proxied: bool, tmp_path: Path) -> None:
    (tmp_path / "instance.json").write_text(text)
    instance = read_instance(tmp_path / "instance.json")
    assert instance is not None
    assert (instance.name, instance.address, instance.control) == ("web-v1-1", INSTANCE.address, INSTANCE.control)
    assert (instance.pid, instance.born, instance.directory) == (4242, 777, INSTANCE.directory)
    assert instance.proxied is proxied


@pytest.mark.parametrize(("text", "path"), [(INSTANCE_0, None), (INSTANCE_1_PATH, "/healthz")])
def test_an_instance_of_a_version_that_asked_for_nothing_but_a_200_is_asked_for_that(
    text: str, path: str | None, tmp_path: Path
) -> None:
    (tmp_path / "instance.json").write_text(text)
    instance = read_instance(tmp_path / "instance.json")
    assert instance is not None
    assert instance.readiness == Readiness(path=path)


@pytest.mark.parametrize(("text", "whole"), [(BALANCER_0, True), (BALANCER_0_WHOLE, False)])
def test_a_load_balancer_of_a_version_without_formats_is_read(text: str, whole: bool, tmp_path: Path) -> None:
    (tmp_path / "platform.json").write_text(text)
    assert read_balancer(tmp_path / "platform.json") == BalancerRecord(4141, 666, BALANCER.entries, whole)


def test_the_words_in_the_files_are_their_own(tmp_path: Path) -> None:
    """A field that is renamed in Python keeps its word in the file: only a new format changes these."""
    write_instance(tmp_path / "instance.json", INSTANCE)
    write_balancer(tmp_path / "platform.json", BALANCER)
    assert json.loads((tmp_path / "instance.json").read_text()) == json.loads(INSTANCE_1)
    assert json.loads((tmp_path / "platform.json").read_text()) == {"format": 1, **json.loads(BALANCER_0_WHOLE)}


READERS = pytest.mark.parametrize("read", [read_instance, read_balancer])


@READERS
def test_a_file_of_a_newer_version_is_refused(read: Callable[[Path], object], tmp_path: Path) -> None:
    file = tmp_path / "file.json"
    file.write_text(json.dumps({"format": FORMAT + 1}))
    with pytest.raises(ChangeoverError) as refused:
        read(file)
    assert str(refused.value) == (
        f"{file}: the file was written by a newer version of changeover: its format is {FORMAT + 1}, "
        f"this version reads up to {FORMAT}\n"
        "  Nothing was changed; the chain goes on serving.\n"
        "  Use the newer version of changeover for this chain."
    )


@READERS
@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"pid": 1}', '{"format": 1, "name": "web-v1-1"}'])
def test_a_damaged_file_is_refused(read: Callable[[Path], object], text: str, tmp_path: Path) -> None:
    file = tmp_path / "file.json"
    file.write_text(text)
    with pytest.raises(ChangeoverError, match="the file is damaged") as refused:
        read(file)
    assert str(file) in str(refused.value)
