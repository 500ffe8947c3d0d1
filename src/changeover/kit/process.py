"""Processes that outlive the process that started them, identified by pid and start time.

A pid alone is ambiguous: the kernel reuses it. `start_time` is the start in clock ticks since boot (field 22 of
/proc/PID/stat) below 16 bits of the boot's id, so that a record from before a reboot matches no process. Each process
started here leads its own session, so that its children can be found and killed even after it has exited. Refuses to
touch a process that it cannot identify that way.
"""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import subprocess
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path

_BOOT_SHIFT = 44
"""Clock ticks need fewer bits than this for five thousand years of uptime."""
_KILL_TIMEOUT = 5.0
"""Seconds to wait for a killed process. One in uninterruptible sleep may take longer and then survives."""


def ignore_no_signals() -> None:
    """Install an empty handler for SIGINT and SIGQUIT where they are ignored. Call it from the main thread.

    A shell makes a command that it starts with `&` ignore these signals, and child processes inherit that. An instance
    may use one of them as its stop signal, and a shell script could not even restore it (POSIX, `trap`). A handler is
    not inherited.
    """
    for number in (signal.SIGINT, signal.SIGQUIT):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, lambda *_: None)


def spawn(argv: Sequence[str], *, cwd: Path, log: Path, env: Mapping[str, str]) -> tuple[int, int]:
    """Start a session leader that appends its output to `log`; return (pid, start time). Raises OSError."""
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
    # `is_alive` reads the exit from /proc and reaps the process; Popen must not wait for it.
    process.returncode = 0
    if (start := start_time(process.pid)) is None and _is_hidden(process.pid):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(process.pid, signal.SIGTERM)
        raise OSError(
            errno.EACCES,
            "its process runs as another user, and /proc hides it (mount option hidepid). Run it as this user, or "
            "mount /proc without hidepid",
        )
    # A process that has already exited has no start time; its session began after this process did.
    return process.pid, start or start_time(os.getpid()) or 0


def _is_hidden(child: int) -> bool:
    """Whether a child of this process runs, though /proc does not show it."""
    try:
        exited = os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return exited is None


def pid_namespace() -> str:
    """The PID namespace of this process. A pid of another one says nothing here."""
    return str(Path("/proc/self/ns/pid").readlink())


def is_this_boot(start: int) -> bool:
    """Whether a process with that start time was started since the machine booted."""
    return start >> _BOOT_SHIFT == _boot()


def start_time(pid: int) -> int | None:
    """When a running process started, as a number that differs between boots; None without one or for a zombie."""
    fields = _stat(pid)
    return None if fields is None or fields[0] in ("Z", "X") else _start(fields)


def is_alive(pid: int, start: int) -> bool:
    """Whether that process still runs. Reaps it if it is a child of this process."""
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)
    return start_time(pid) == start


def send(pid: int, start: int, number: signal.Signals) -> bool:
    """Send a signal to that process; False when it is gone."""
    if not is_alive(pid, start):
        return False
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True


def send_session(pid: int, start: int, number: signal.Signals, home: Path) -> None:
    """Send a signal to every process of the session that this process led, to its own group at one moment.

    A shell with job control starts its children in groups of their own, so the group alone does not reach them.
    """
    members = _remaining(pid, start, home)
    led = pid in members
    if led:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, number)
    for member in members:
        fields = _stat(member)
        if fields is not None and not (led and fields[2] == str(pid)):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(member, number)


def kill_session(pid: int, start: int, home: Path | None = None) -> None:
    """SIGKILL the process and the rest of its session, and wait until they are gone.

    After the leader has exited, only processes with the working directory `home` count as its session, because the
    kernel may have reused the number. Without `home` the process must be an unreaped child of the caller. A process
    of another user (sudo) survives; `session_alive` then stays true.
    """
    deadline = time.monotonic() + _KILL_TIMEOUT
    while (members := _remaining(pid, start, home)) and time.monotonic() < deadline:
        for member in members:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(member, signal.SIGKILL)
        time.sleep(0.002)


def session_alive(pid: int, start: int, home: Path | None = None) -> bool:
    """Whether any process of the session that this process led still runs."""
    return bool(_remaining(pid, start, home))


def _remaining(pid: int, start: int, home: Path | None) -> list[int]:
    led = is_alive(pid, start)
    if start >> _BOOT_SHIFT != _boot() or (not led and start_time(pid) is not None):
        return []  # from another boot, or the kernel reused the pid, and with it the session number
    return [member for member in _session(pid, start) if led or home is None or _works_in(member, home)]


def _works_in(pid: int, home: Path) -> bool:
    try:
        return Path(f"/proc/{pid}/cwd").readlink() == home
    except OSError:
        return False


def leaders_in(folder: Path) -> Iterator[tuple[int, int]]:
    """(pid, start time) of session leaders without a terminal and with the working directory `folder`.

    `spawn` starts such processes. An operator's shell in that folder has a terminal and does not match.
    """
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or not (fields := _stat(int(entry.name))):
            continue
        state, session, terminal = fields[0], fields[3], fields[4]
        leads = session == entry.name and terminal == "0" and state not in ("Z", "X")
        if leads and _works_in(int(entry.name), folder):
            yield int(entry.name), _start(fields)


def session_of(leaders: Collection[int]) -> Iterator[int]:
    """The processes of the sessions that these lead, or led."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (fields := _stat(int(entry.name))) and int(fields[3]) in leaders:
            yield int(entry.name)


def _session(leader: int, start: int) -> Iterator[int]:
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (fields := _stat(int(entry.name))):
            state, session, began = fields[0], int(fields[3]), _start(fields)
            if session == leader and began >= start and state not in ("Z", "X"):
                yield int(entry.name)


def _stat(pid: int) -> list[str] | None:
    """Fields of /proc/PID/stat from the third (state) on; the second may contain spaces."""
    try:
        # The kernel may cut a name inside a character.
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return None  # PermissionError: of another user, where /proc is mounted with hidepid=1
    return text[text.rindex(")") + 2 :].split()


def _start(fields: list[str]) -> int:
    return _boot() << _BOOT_SHIFT | int(fields[19])


@cache
def _boot() -> int:
    return int(Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8")[:4], 16)
