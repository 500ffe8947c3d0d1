"""Processes that outlive the process that started them, identified by pid and start time.

A pid alone is ambiguous: the kernel reuses it. `start_time` is the start in clock ticks since boot (field 22 of
/proc/PID/stat) below 16 bits of the boot's id, so that a record from before a reboot matches no process. Each process
started here leads its own session, and has a home: a folder that no other process uses. The home stands in a variable
that its children inherit, so they are found even after it has exited, after they left its session, and after the
folder was deleted. Refuses to touch a process that it cannot identify that way.
"""

from __future__ import annotations

import contextlib
import errno
import os
import pwd
import resource
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

_BOOT_SHIFT = 44
"""Clock ticks need fewer bits than this for five thousand years of uptime."""
HOME_MARK = "CHANGEOVER_HOME"
"""The variable that names the home of a process. A process that overwrites its environment (`setproctitle`) is known by
its working directory, or by its output, which goes to the log in its home."""
_MARK = b"\0" + HOME_MARK.encode() + b"="
_DELETED = " (deleted)"
"""Linux ends the name of a deleted file in /proc with this."""
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


@dataclass(frozen=True)
class Ownership:
    """What a process is allowed: nothing of this comes from the caller of the command that starts it."""

    umask: int = 0o022
    user: str = ""
    """The user that it runs as; empty: the caller's. Only root can name another one."""
    nofile: int | None = None
    """Open files; None: as many as the caller may have."""


OWN = Ownership()


_INHERIT = 'exec 3<&0 </dev/null; LISTEN_PID=$$; export LISTEN_PID; exec "$@"'
"""Only the process itself knows its pid before it is the server, which keeps it."""


def spawn(
    argv: Sequence[str],
    *,
    home: Path,
    env: Mapping[str, str],
    cwd: Path | None = None,
    allowed: Ownership = OWN,
    listener: socket.socket | None = None,
) -> tuple[int, int]:
    """Start a session leader that appends its output to `home/log`; return (pid, start time).

    `env` is its whole environment, beside the mark of its home. `listener`: a listening socket, which it gets as
    descriptor 3, as systemd passes one (sd_listen_fds(3)). Raises OSError, or ValueError for a NUL character.
    """

    if listener is not None:
        argv = ("/bin/sh", "-c", _INHERIT, "sh", *argv)
        env = {**env, "LISTEN_FDS": "1", "LISTEN_FDNAMES": "http"}
    limits = None if allowed.nofile is None else _limits(allowed.nofile)
    account = _account(allowed.user) if allowed.user and os.geteuid() == 0 else None
    with (home / "log").open("ab") as output:
        process = subprocess.Popen(
            argv,
            cwd=cwd or home,
            env={**env, HOME_MARK: str(home.resolve())},
            stdin=subprocess.DEVNULL if listener is None else listener.fileno(),
            stdout=output,
            stderr=output,
            start_new_session=True,
            umask=allowed.umask,
            preexec_fn=None if limits is None else partial(resource.setrlimit, resource.RLIMIT_NOFILE, limits),
            user=None if account is None else account.pw_uid,
            group=None if account is None else account.pw_gid,
            extra_groups=None if account is None else os.getgrouplist(account.pw_name, account.pw_gid),
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


def check_allowed(allowed: Ownership) -> None:
    """Raises OSError where `spawn` would, because this user must not or cannot give a process that."""
    if allowed.nofile is not None:
        _limits(allowed.nofile)
    if allowed.user:
        _account(allowed.user)


def _limits(nofile: int) -> tuple[int, int]:
    """The soft and the hard limit. Raises OSError where only root could set them."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if hard == resource.RLIM_INFINITY or nofile <= hard:
        return nofile, hard
    if os.geteuid() != 0:
        raise OSError(errno.EPERM, f"limits.nofile is {nofile}, and this user may have {hard} open files (ulimit -Hn)")
    return nofile, nofile


def _account(user: str) -> pwd.struct_passwd:
    """Raises OSError."""
    try:
        account = pwd.getpwnam(user)
    except KeyError as error:
        raise OSError(errno.ENOENT, f"this machine has no user {user}") from error
    if os.geteuid() not in (0, account.pw_uid):
        raise OSError(errno.EPERM, f"only root can run a process as user {user}")
    return account


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
    """Send a signal to the process and to every process that it started, to its own group at one moment.

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
    """SIGKILL the process and everything that it started, and wait until they are gone.

    After the leader has exited, only processes of `home` count, because the kernel may have reused the number of the
    session. Without `home` the process must be an unreaped child of the caller, and its session is killed. A process
    of another user (sudo) survives; `session_alive` then stays true.
    """
    _kill_while(lambda: _remaining(pid, start, home))


def kill_all_of(home: Path) -> None:
    """SIGKILL every process of that home, recorded or not, and wait until they are gone."""
    _kill_while(lambda: list(members_of(home)))


def _kill_while(remaining: Callable[[], Sequence[int]]) -> None:
    deadline = time.monotonic() + _KILL_TIMEOUT
    while (members := remaining()) and time.monotonic() < deadline:
        for member in members:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(member, signal.SIGKILL)
        time.sleep(0.002)


def session_alive(pid: int, start: int, home: Path | None = None) -> bool:
    """Whether the process, or any process that it started, still runs."""
    return bool(_remaining(pid, start, home))


def _remaining(pid: int, start: int, home: Path | None) -> list[int]:
    if start >> _BOOT_SHIFT != _boot():
        return []
    led = is_alive(pid, start)
    reused = not led and start_time(pid) is not None  # the kernel reused the pid, and with it the session number
    session = set(_session(pid, start)) if (led or home is None) and not reused else set()
    members = set(members_of(home)) if home is not None else set()
    return sorted((session | members) - ({pid} if reused else set()))


def members_of(home: Path) -> Iterator[int]:
    """Processes of that home."""
    path = str(home.resolve())
    return (pid for pid, found in _homes(path) if found == path)


def homes(below: Path = Path("/")) -> Iterator[tuple[int, Path]]:
    """(pid, home) of every process with a home at or below that folder that this user may look into. The folder may be
    deleted.

    Without the mark, it is the folder of a `log` that a process writes to, or else its working directory.
    """
    return ((pid, Path(home)) for pid, home in _homes(str(below)))


def _homes(below: str) -> Iterator[tuple[int, str]]:
    own = str(os.getpid())
    # Not by pathlib, which takes three times as long: there are hundreds of processes, whenever an instance ends.
    for name in os.listdir("/proc"):  # noqa: PTH208
        if name.isdigit() and name != own and (home := _home(f"/proc/{name}", below)) is not None:
            yield int(name), home


def _home(entry: str, below: str) -> str | None:
    try:
        with open(f"{entry}/environ", "rb", buffering=0) as file:  # noqa: PTH123
            environ = b"\0" + file.readall()
    except OSError:
        return None  # of another user, or gone
    _, marked, value = environ.partition(_MARK)
    if marked:
        home = os.path.normpath(os.fsdecode(value.partition(b"\0")[0]))
        return home if _is_below(home, below) else None
    output, folder = _link(f"{entry}/fd/1"), _link(f"{entry}/cwd")
    found = output.removesuffix("/log") if output.endswith("/log") else folder
    if found in ("", "/") or not _is_below(found, below):
        return None
    fields = _stat(int(entry.rpartition("/")[2]))
    return found if fields is not None and fields[4] == "0" else None  # a terminal: an operator's in that folder


def _is_below(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder if folder.endswith("/") else f"{folder}/")


def _link(entry: str) -> str:
    try:
        return os.readlink(entry).removesuffix(_DELETED)  # noqa: PTH115
    except OSError:
        return ""


def command_line(pid: int) -> str:
    """The program of a process as /proc shows it, without its arguments; empty when it is gone."""
    with contextlib.suppress(OSError):
        return os.fsdecode(Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[0])
    return ""


def session_of(leaders: Collection[int]) -> Iterator[int]:
    """The processes of the sessions that these lead, or led."""
    for name in os.listdir("/proc"):  # noqa: PTH208 (asked for each instance at each look, and pathlib is slow)
        with contextlib.suppress(OSError):
            if name.isdigit() and os.getsid(int(name)) in leaders:
                yield int(name)


def _session(leader: int, start: int) -> Iterator[int]:
    for pid in session_of([leader]):
        if (fields := _stat(pid)) and _start(fields) >= start and fields[0] not in ("Z", "X"):
            yield pid


def _stat(pid: int) -> list[str] | None:
    """Fields of /proc/PID/stat from the third (state) on; the second may contain spaces."""
    try:
        with open(f"/proc/{pid}/stat", "rb", buffering=0) as file:  # noqa: PTH123 (a look asks for many)
            text = file.read().decode(errors="replace")  # the kernel may cut a name inside a character
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return None  # PermissionError: of another user, where /proc is mounted with hidepid=1
    return text[text.rindex(")") + 2 :].split()


def _start(fields: list[str]) -> int:
    return _boot() << _BOOT_SHIFT | int(fields[19])


@cache
def _boot() -> int:
    return int(Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8")[:4], 16)
