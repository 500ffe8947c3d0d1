"""Processes that outlive whoever started them, named by pid and start time.

A pid alone names nobody: it is reused. `born` is the start time in clock ticks since boot (field 22 of /proc/PID/stat)
below 16 bits of the boot's own id, so that a record from before a reboot names nobody either. Every process started
here leads a session of its own, so that what it forked can be found and ended even after it has died itself. Nothing
here touches a process it cannot name that way.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path

_BOOT_SHIFT = 44
"""Clock ticks take fewer bits than this for five thousand years of uptime."""
_KILL_PATIENCE = 5.0
"""Seconds that a killed process has to go. One in uninterruptible sleep may take longer, and is then left."""


def ignore_no_signals() -> None:
    """Handle, by doing nothing, those that a shell has a command ignore that it starts with `&`. From the main thread.

    What is ignored stays so in whatever is started from here, and an instance may be told to quit by just those; a
    shell that stands for one could not even change it (POSIX, `trap`). What is handled does not.
    """
    for number in (signal.SIGINT, signal.SIGQUIT):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, lambda *_: None)


def spawn(argv: Sequence[str], *, cwd: Path, log: Path, env: Mapping[str, str]) -> tuple[int, int]:
    """Start a session leader with output appended to `log`; return (pid, born). Raises OSError if it cannot be run."""
    with log.open("ab") as output:
        process = subprocess.Popen(
            argv,
            cwd=cwd,
            env={**os.environ, **env},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    # Its end is read from /proc and reaped in `is_alive`; Popen must not wait for it at exit.
    process.returncode = 0
    # One that has ended already has no start time left; its session began after this process did.
    return process.pid, born(process.pid) or born(os.getpid()) or 0


def born(pid: int) -> int | None:
    """When a live process was started, as a number that no other boot gives; None when there is none, or a zombie."""
    fields = _stat(pid)
    return None if fields is None or fields[0] in ("Z", "X") else _when(fields)


def is_alive(pid: int, start: int) -> bool:
    """Whether that very process still runs. Reaps it if it was a child of this one."""
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)
    return born(pid) == start


def send(pid: int, start: int, number: signal.Signals) -> bool:
    """Signal that very process; False when it is gone."""
    if not is_alive(pid, start):
        return False
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True


def kill_session(pid: int, start: int, home: Path | None = None) -> None:
    """SIGKILL the process and everything left of the session it led, and wait until it is gone.

    When the leader itself is gone, only what works in `home` is taken for its session: the number may be a stranger's
    by now. Without `home` the caller must not have let the process out of its hands. What belongs to another user
    (sudo) cannot be ended; `session_alive` then goes on saying so.
    """
    deadline = time.monotonic() + _KILL_PATIENCE
    while (members := _left(pid, start, home)) and time.monotonic() < deadline:
        for member in members:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(member, signal.SIGKILL)
        time.sleep(0.002)


def session_alive(pid: int, start: int, home: Path | None = None) -> bool:
    """Whether anything of the session that this process led still runs."""
    return bool(_left(pid, start, home))


def _left(pid: int, start: int, home: Path | None) -> list[int]:
    led = is_alive(pid, start)
    if start >> _BOOT_SHIFT != _boot() or (not led and born(pid) is not None):
        return []  # another boot's, or the pid belongs to somebody else, and so does a session of that number
    return [member for member in _session(pid, start) if led or home is None or _works_in(member, home)]


def _works_in(pid: int, home: Path) -> bool:
    try:
        return Path(f"/proc/{pid}/cwd").readlink() == home
    except OSError:
        return False


def leaders_in(folder: Path) -> Iterator[tuple[int, int]]:
    """(pid, born) of session leaders without a terminal whose working directory is `folder`: what `spawn` starts.

    A shell that somebody opened there has a terminal, and is left alone.
    """
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or not (fields := _stat(int(entry.name))):
            continue
        state, session, terminal = fields[0], fields[3], fields[4]
        leads = session == entry.name and terminal == "0" and state not in ("Z", "X")
        if leads and _works_in(int(entry.name), folder):
            yield int(entry.name), _when(fields)


def _session(leader: int, start: int) -> Iterator[int]:
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (fields := _stat(int(entry.name))):
            state, session, began = fields[0], int(fields[3]), _when(fields)
            if session == leader and began >= start and state not in ("Z", "X"):
                yield int(entry.name)


def _stat(pid: int) -> list[str] | None:
    """Fields of /proc/PID/stat from the third (state) on; the second may hold spaces and is cut off."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(errors="replace")  # a name may be cut mid-letter
    except (FileNotFoundError, ProcessLookupError):
        return None
    return text[text.rindex(")") + 2 :].split()


def _when(fields: list[str]) -> int:
    return _boot() << _BOOT_SHIFT | int(fields[19])


@cache
def _boot() -> int:
    return int(Path("/proc/sys/kernel/random/boot_id").read_text()[:4], 16)
