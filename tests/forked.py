"""Commands of the program in processes of their own, forked from one that has imported it.

Python takes half a second of CPU to read the program, and a run of every test starts a thousand commands: nearly a
third of what the run computes. A forked command is a process as any other: its own pid, session, folder, environment,
standard streams and signals; it may be killed, and it starts children. Refuses what is about starting: for that, tests
run `python -m changeover` (tests/unit/cli, tests/chain/test_commands.py).

    python -m tests.forked DESCRIPTOR [MODULE ...]      the process that the commands are forked from
"""

from __future__ import annotations

import atexit
import gc
import io
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Self

import changeover
from changeover.cli.registry import COMMANDS

PROGRAM = Path(changeover.__file__).with_name("__main__.py")
LARGEST = 1 << 20
"""Bytes of a request: its words and its environment."""
GOOGLE = ("changeover.joining.gcp", "google.cloud.compute_v1")


# -- the side of the tests -----------------------------------------------------------------------------------------


class Forked:
    """A running `changeover WORDS`; of `subprocess.Popen` it has what the tests need."""

    def __init__(
        self,
        words: Sequence[str],
        *,
        env: Mapping[str, str],
        cwd: Path | None = None,
        program: Path = PROGRAM,
        needs: tuple[str, ...] = (),
    ) -> None:
        """`needs`: modules that it would import, beside those that every command on one machine does.

        `program`: a script that runs the program in a way of its own.
        """
        out, its_out = os.pipe()
        err, its_err = os.pipe()
        status, its_status = os.pipe()
        given = json.dumps([str(program), list(words), str(cwd or Path.cwd()), dict(env)]).encode()
        with _LOCK:
            server = _server(needs)
            socket.send_fds(server, [given], [its_out, its_err, its_status])
            told, ends, _, _ = socket.recv_fds(server, 64, 1)
        for end in (its_out, its_err, its_status):
            os.close(end)
        self.pid = int(told)
        self.returncode: int | None = None
        self.stdout = io.TextIOWrapper(io.FileIO(out), encoding="utf-8")
        self.stderr = io.TextIOWrapper(io.FileIO(err), encoding="utf-8")
        self._end, self._status = ends[0], status

    def poll(self) -> int | None:
        with suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Raises subprocess.TimeoutExpired."""
        if self.returncode is None:
            if not select.select([self._status], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired("changeover", timeout or 0)
            self.returncode = os.waitstatus_to_exitcode(int(os.read(self._status, 64)))
            os.close(self._status)
            os.close(self._end)
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._end, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """Standard output and standard error, when it has ended. Raises subprocess.TimeoutExpired."""
        read: dict[io.TextIOWrapper, str] = {}
        readers = [
            threading.Thread(target=lambda stream=stream: read.update({stream: stream.read()}), daemon=True)
            for stream in (self.stdout, self.stderr)
        ]
        for reader in readers:
            reader.start()
        self.wait(timeout)
        for reader in readers:
            reader.join(timeout)
        found = read[self.stdout], read[self.stderr]
        self.stdout.close()
        self.stderr.close()
        return found

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stdout.close()
        self.stderr.close()
        self.wait()


_LOCK = threading.Lock()


@cache
def _server(needs: tuple[str, ...]) -> socket.socket:
    """The connection to a process that has imported the program and these modules; it ends with the connection."""
    ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    for end in (ours, its):
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, LARGEST)
    # In a session of its own: Ctrl-C ends the tests, which then end what they have started.
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.forked", str(its.fileno()), *needs],
        cwd=Path(__file__).parents[1],
        pass_fds=[its.fileno()],
        stdin=subprocess.DEVNULL,
        start_new_session=True,
    )
    its.close()

    @atexit.register
    def end_it() -> None:
        ours.close()
        process.wait()

    return ours


# -- the process that the commands are forked from -----------------------------------------------------------------


def main() -> None:
    connection = socket.socket(fileno=int(sys.argv[1]))
    for module in [*(f"changeover.cli.commands.{entry.module}" for entry in COMMANDS.values()), *sys.argv[2:]]:
        import_module(module)
    gc.freeze()
    running: dict[int, int] = {}
    """Process -> where its exit status is written to."""
    woken, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(wake)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    while True:
        ready = select.select([connection.fileno(), woken], [], [])[0]
        if woken in ready:
            os.read(woken, 4096)
            _reap(running)
        if connection.fileno() in ready:
            given, ends, _, _ = socket.recv_fds(connection, LARGEST, 3)
            if not given:
                return
            out, err, status = ends
            pid = os.fork()
            if pid == 0:
                signal.set_wakeup_fd(-1)
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                os.dup2(out, 1)
                os.dup2(err, 2)
                for end in (connection.detach(), woken, wake, *ends, *running.values()):
                    os.close(end)
                _become(*json.loads(given))
            for end in (out, err):
                os.close(end)
            running[pid] = status
            # Opened before the process is reaped, so it is of this process, whatever becomes of its pid.
            held = os.pidfd_open(pid)
            socket.send_fds(connection, [str(pid).encode()], [held])
            os.close(held)


def _reap(running: dict[int, int]) -> None:
    for pid in list(running):
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            with suppress(BrokenPipeError):
                os.write(running[pid], str(status).encode())
            os.close(running.pop(pid))


def _become(program: str, words: list[str], cwd: str, env: dict[str, str]) -> None:
    """Be `python PROGRAM WORDS`, and end as it ends."""
    code = 1
    try:
        os.setsid()
        os.chdir(cwd)
        os.environ.clear()
        os.environ.update(env)
        sys.stdout = os.fdopen(1, "w", encoding="utf-8", closefd=False)
        sys.stderr = os.fdopen(2, "w", encoding="utf-8", errors="backslashreplace", closefd=False, buffering=1)
        sys.argv = [program, *words]
        code = _ended(program)
    finally:
        os._exit(code)


def _ended(program: str) -> int:
    """The exit code of an interpreter that runs this and nothing else."""
    code = 0
    try:
        runpy.run_path(program, run_name="__main__")
    except SystemExit as ended:
        if isinstance(ended.code, str):
            print(ended.code, file=sys.stderr)
        code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except BaseException:
        sys.excepthook(*sys.exc_info())
        code = 1
    threading._shutdown()  # type: ignore[attr-defined]  # as the interpreter does
    atexit._run_exitfuncs()
    try:
        sys.stdout.flush()
    except OSError:
        code = 120  # as the interpreter does
    return code


if __name__ == "__main__":
    main()
