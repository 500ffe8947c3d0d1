"""Run a command until it exits or its deadline passes, keep the end of its output, and leave no process behind.

The command leads its own session. `run_command` kills that session at the deadline, on cancellation, and also after
the command exits, because a background child would keep the output pipe open. Only a process that opened another
session (`setsid`) survives.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from changeover.kit.process import kill_session, session_alive, start_time

_POLL_INTERVAL = 0.01
"""Seconds between two checks for the exit. Waiting for it is not possible: `kit.process` reaps children as well."""
_READ_SIZE = 65536


@dataclass(frozen=True)
class CommandResult:
    """The result of a command. `code` is negative for a signal, and None after the deadline passed."""

    code: int | None
    output: bytes
    """The last bytes of standard output and standard error together."""
    dropped: int
    """Bytes of output before those."""
    survived: bool
    """A process of its session could not be killed, because it belongs to another user (sudo)."""


async def run_command(
    argv: Sequence[str], *, stdin: bytes, cwd: Path, env: Mapping[str, str], timeout: float, keep: int
) -> CommandResult:
    """Run a command with `stdin` as its standard input and `env` as its whole environment.

    Raises OSError or ValueError (a NUL character) when the command cannot be started.
    """
    process = _start(argv, stdin, cwd, env)
    # A command that has already exited has no start time; its children started after this process did.
    start = start_time(process.pid) or start_time(os.getpid()) or 0
    assert process.stdout is not None
    output = _Tail(process.stdout, keep)
    code: int | None = None
    try:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                while (code := process.poll()) is None:
                    await asyncio.sleep(_POLL_INTERVAL)
    finally:
        try:
            await asyncio.to_thread(kill_session, process.pid, start)  # waits until every process is gone
            survived = session_alive(process.pid, start)
        finally:
            output.close()
            # The process was reaped, here or in `kit.process`, or cannot be killed. Popen must not warn about either.
            process.returncode = code or 0
    return CommandResult(code, bytes(output.kept), output.dropped, survived)


def _start(argv: Sequence[str], stdin: bytes, cwd: Path, env: Mapping[str, str]) -> subprocess.Popen[bytes]:
    # A file in memory, not a pipe: the command may read it late or never without blocking a writer.
    with os.fdopen(os.memfd_create("input"), "w+b") as source:
        source.write(stdin)
        source.seek(0)
        return subprocess.Popen(
            argv,
            cwd=cwd,
            env=env,
            stdin=source,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


class _Tail:
    """The last `keep` bytes of a pipe, read as they arrive so that the writer never blocks."""

    def __init__(self, pipe: IO[bytes], keep: int) -> None:
        self.kept = bytearray()
        self.dropped = 0
        self._pipe = pipe
        self._keep = keep
        os.set_blocking(pipe.fileno(), False)
        asyncio.get_running_loop().add_reader(pipe.fileno(), self._read)

    def _read(self) -> bool:
        """Read what is available. Returns False when the pipe is empty or has no writer left."""
        try:
            data = os.read(self._pipe.fileno(), _READ_SIZE)
        except BlockingIOError:
            return False
        if not data:
            asyncio.get_running_loop().remove_reader(self._pipe.fileno())
            return False
        self.kept += data
        surplus = max(0, len(self.kept) - self._keep)
        self.dropped += surplus
        del self.kept[:surplus]
        return True

    def close(self) -> None:
        """Read the rest, but at most 16 pieces: a surviving process may keep the pipe open and write forever."""
        for _ in range(16):
            if not self._read():
                break
        asyncio.get_running_loop().remove_reader(self._pipe.fileno())
        self._pipe.close()


def is_program(name: str, folder: Path) -> bool:
    """Whether a command that works in `folder` can run this program, by PATH or by its own path."""
    return shutil.which(str(folder / name) if "/" in name else name) is not None
