"""The files of an instance, as its launch names them. Refuses to let others read what is the instance's alone."""

from __future__ import annotations

import os
import pwd
from pathlib import Path

from changeover.kit.files import write_whole
from changeover.model.instance import PRIVATE, LaunchSpec
from changeover.ports import CannotStart


def write_files(launch: LaunchSpec, folder: Path) -> None:
    """Write them below the folder of the instance. Raises CannotStart."""
    private = {} if launch.private is None else launch.private()
    for path, text in launch.files.items():
        write_whole(folder / path, text)
    owner = _owner(launch.private_to)
    for path, text in private.items():
        write_whole(folder / PRIVATE / path, text, mode=0o600, owner=owner)


def _owner(account: str) -> tuple[int, int] | None:
    if not account or os.geteuid() != 0:
        return None
    try:
        found = pwd.getpwnam(account)
    except KeyError as error:
        raise CannotStart(f"there is no account {account} on this machine") from error
    return found.pw_uid, found.pw_gid
