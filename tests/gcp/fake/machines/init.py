"""The first process of a VM: it starts the startup script, adopts every orphan, and ends them all.

    python -I -S init.py FOLDER

Standard input is its power switch: the line `shutdown` runs the shutdown script, sends SIGTERM to every process of the
VM and ends when none is left; `off`, or the end of the input, sends SIGKILL. The input ends when the fake dies, however
it dies, so no VM outlives it. It imports little, because it starts once for each VM.
"""

import ctypes
import os
import select
import signal
import sys
from collections.abc import Iterator

PR_SET_CHILD_SUBREAPER = 36


def descendants(pid: int) -> Iterator[int]:
    try:
        with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:  # noqa: PTH123  pathlib costs 10 ms
            children = [int(word) for word in file.read().split()]
    except OSError:
        return
    for child in children:
        yield child
        yield from descendants(child)


def signal_all(number: int, spare: int = 0) -> None:
    """`spare`: a process that is left alone, with its descendants."""
    kept = {spare, *descendants(spare)} if spare else set()
    for pid in list(descendants(os.getpid())):
        if pid not in kept:
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                continue


def reap() -> bool:
    """Whether a process of the VM is left."""
    while True:
        try:
            if os.waitpid(-1, os.WNOHANG)[0] == 0:
                return True
        except ChildProcessError:
            return False


def start(folder: str, script: str) -> int:
    """Run a script of the VM's folder in a session of its own; its output goes to the VM's log."""
    if (pid := os.fork()) == 0:
        os.setsid()
        os.chdir(folder)
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        log = os.open("log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(log, 1)
        os.dup2(log, 2)
        os.execvp("bash", ["bash", script])
    return pid


def power_off() -> None:
    while reap():
        signal_all(signal.SIGKILL)
        signal.sigtimedwait([signal.SIGCHLD], 0.01)


def main(folder: str) -> None:
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    read, write = os.pipe()
    os.set_blocking(read, False)
    os.set_blocking(write, False)
    signal.set_wakeup_fd(write, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    start(folder, "startup-script")
    stopping, last = False, 0
    while True:
        ready, _, _ = select.select([0, read], [], [])
        alive = reap()
        if read in ready:
            os.read(read, 4096)
        if 0 in ready:
            orders = os.read(0, 4096)
            if not orders or b"off" in orders:
                return power_off()
            stopping = True
            if os.path.exists(f"{folder}/shutdown-script"):  # noqa: PTH110
                last = start(folder, "shutdown-script")
                alive = True
            else:
                signal_all(signal.SIGTERM)
                alive = reap()
        if last and not os.path.exists(f"/proc/{last}"):  # noqa: PTH110
            last = 0
            signal_all(signal.SIGTERM)
            alive = reap()
        if stopping and not alive:
            return None


main(sys.argv[1])
