"""Which variables a process gets of the caller, and how a file of variables is read."""

from __future__ import annotations

import os
import pwd

import pytest

from changeover.kit import environment


def test_of_the_caller_only_path_locale_and_time_zone_pass() -> None:
    caller = {"PATH": "/opt/bin:/bin", "LC_ALL": "de_DE.UTF-8", "TZ": "Europe/Berlin", "BUILD_ID": "7", "DB_URL": "x"}
    base = environment.base({**caller, "HOME": "/nowhere", "TMPDIR": "/tmp/job-7", "LANG": "de_DE.UTF-8"})
    account = pwd.getpwuid(os.geteuid())
    assert base.pop("SHELL")
    assert base == {
        "PATH": "/opt/bin:/bin",
        "LC_ALL": "de_DE.UTF-8",
        "LANG": "de_DE.UTF-8",
        "TZ": "Europe/Berlin",
        "HOME": account.pw_dir,
        "USER": account.pw_name,
        "LOGNAME": account.pw_name,
    }


def test_a_caller_without_path_and_locale_leaves_working_ones() -> None:
    base = environment.base({})
    assert base["PATH"] == os.defpath
    assert base["LANG"] == "C.UTF-8"


def test_a_user_without_an_account_has_the_root_folder_as_home() -> None:
    assert environment.of_user(4_000_000_000) == {"HOME": "/"}


def test_lines_of_a_file_are_read_as_shells_write_them() -> None:
    text = "# the database\n\nDB_URL=postgres://u:p@db/reels?x=1#y\nexport NAME='two words'\n QUOTED=\"a=b\" \nEMPTY=\n"
    assert environment.read_variables(text) == {
        "DB_URL": "postgres://u:p@db/reels?x=1#y",
        "NAME": "two words",
        "QUOTED": "a=b",
        "EMPTY": "",
    }


@pytest.mark.parametrize("line", ["just words", "=x", "1A=x", "A B=x", 'A="x', "A='", "A=x\0y"])
def test_a_line_that_is_none_is_refused_by_its_number_and_without_its_content(line: str) -> None:
    with pytest.raises(ValueError, match="line 2 ") as refused:
        environment.read_variables(f"A=1\n{line}\n")
    assert line not in str(refused.value)
