"""A lame duck lasts until each of its causes has ended, also across a restart; in doubt it lasts."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from changeover.agent.lame_duck import ASKED, LameDuck
from changeover.ports import Unknown

NOTICE = "the VM is being preempted"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "run" / "lame-duck"


def opened(file: Path) -> LameDuck:
    found = LameDuck(file)
    found.open()
    return found


def test_without_a_cause_there_is_none_and_its_folder_is_made(file: Path) -> None:
    assert opened(file).reason == ""
    assert list(file.parent.iterdir()) == []


def test_it_lasts_until_its_last_cause_ends(file: Path) -> None:
    lame_duck = opened(file)
    lame_duck.begin(ASKED, 1.0)
    lame_duck.begin(NOTICE, 2.0)
    assert lame_duck.reason == f"lame duck: {ASKED}, {NOTICE}"
    lame_duck.end(ASKED)
    assert (lame_duck.reason, lame_duck.lasting(ASKED)) == (f"lame duck: {NOTICE}", NOTICE)
    lame_duck.end(NOTICE)
    assert (lame_duck.reason, file.exists()) == ("", False)


def test_a_cause_that_comes_twice_began_once(file: Path) -> None:
    lame_duck = opened(file)
    lame_duck.begin(ASKED, 1.0)
    lame_duck.begin(ASKED, 2.0)
    assert json.loads(file.read_text(encoding="utf-8")) == {ASKED: 1.0}


def test_a_restarted_agent_takes_it_over(file: Path) -> None:
    opened(file).begin(ASKED, 1.0)
    again = opened(file)
    assert again.reason == f"lame duck: {ASKED}"
    again.end(ASKED)
    assert opened(file).reason == ""


@pytest.mark.parametrize("text", ["", "on", "[]", "3", '{"x": null}', '{"x": "y"}', "{"])
def test_a_file_that_someone_else_made_is_a_lame_duck_until_the_controller_ends_it(file: Path, text: str) -> None:
    file.parent.mkdir()
    file.write_text(text, encoding="utf-8")
    lame_duck = opened(file)
    assert lame_duck.reason == f"lame duck: the file {file} exists"
    lame_duck.end(ASKED)
    assert (lame_duck.reason, file.exists()) == ("", False)


def test_a_file_that_is_deleted_by_hand_ends_no_drain(file: Path) -> None:
    lame_duck = opened(file)
    lame_duck.begin(ASKED, 1.0)
    file.unlink()
    assert lame_duck.reason == f"lame duck: {ASKED}"


def test_a_file_that_cannot_be_written_is_unknown_and_the_instance_is_a_lame_duck(file: Path) -> None:
    lame_duck = opened(file)
    file.mkdir()
    (file / "x").touch()
    with pytest.raises(Unknown, match="could not be changed"):
        lame_duck.begin(ASKED, 1.0)
    assert lame_duck.reason == f"lame duck: {ASKED}"
    with pytest.raises(Unknown, match="could not be changed"):
        lame_duck.end(ASKED)
    assert lame_duck.reason == f"lame duck: {ASKED}"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_it_may_not_write_to_keeps_the_agent_from_starting(file: Path) -> None:
    file.parent.mkdir(mode=0o500)
    with pytest.raises(PermissionError):
        opened(file)
