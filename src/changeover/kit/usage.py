"""What sessions of processes use of this machine, as /proc shows it: CPU, memory, open files.

Refuses to guess: what belongs to another user and cannot be read is None.
"""

from __future__ import annotations

import os
import resource
from collections.abc import Collection, Iterator
from dataclasses import dataclass

_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class ProcessUsage:
    """One process. `session`: the pid of its leader. `born`: in clock ticks since boot. `cpu`: seconds since then."""

    pid: int
    session: int
    born: int
    cpu: float
    resident: int
    """Bytes."""
    descriptors: int | None
    limit: int | None
    """Descriptors that it may have; None also where there is no limit."""


def usage_of(leaders: Collection[int]) -> Iterator[ProcessUsage]:
    """Every process of the sessions that these lead, or led."""
    for name in os.listdir("/proc"):  # noqa: PTH208 (pathlib takes three times as long, and there are hundreds)
        try:
            if name.isdigit() and os.getsid(int(name)) in leaders and (found := _read(int(name))) is not None:
                yield found
        except OSError:
            continue  # it has ended


def _read(pid: int) -> ProcessUsage | None:
    with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:  # noqa: PTH123
        text = file.read()
    fields = text[text.rindex(")") + 2 :].split()
    if fields[0] in ("Z", "X"):
        return None
    cpu = (int(fields[11]) + int(fields[12])) / _TICKS
    return ProcessUsage(
        pid,
        int(fields[3]),
        int(fields[19]),
        cpu,
        int(fields[21]) * resource.getpagesize(),
        *_descriptors(pid),
    )


def _descriptors(pid: int) -> tuple[int | None, int | None]:
    try:
        most = resource.prlimit(pid, resource.RLIMIT_NOFILE)[0]
        return len(os.listdir(f"/proc/{pid}/fd")), None if most == resource.RLIM_INFINITY else most  # noqa: PTH208
    except PermissionError:
        return None, None


def unnamed_files(pid: int, folder: str) -> dict[tuple[int, int], int]:
    """Files below that folder that the process has open after they were deleted: device and inode -> bytes.

    Raises OSError where the process has ended or belongs to another user.
    """
    found = {}
    for number in os.listdir(f"/proc/{pid}/fd"):  # noqa: PTH208
        entry = f"/proc/{pid}/fd/{number}"
        try:
            target = os.readlink(entry)  # noqa: PTH115
            if target.startswith(f"{folder}/") and target.endswith(" (deleted)"):
                about = os.stat(entry)  # noqa: PTH116
                found[about.st_dev, about.st_ino] = about.st_size
        except FileNotFoundError:
            continue  # it was closed
    return found
