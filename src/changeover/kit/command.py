"""A command run to its end or to its deadline: input given whole, the end of its output kept, nothing of it left.

It leads a session of its own, and that session is ended with it: at the deadline, when the caller is cancelled, and
also after it has ended by itself, since what it left behind would otherwise hold its output open. Only what opened
another session (`setsid`) outlives it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from changeover.kit.process import born, kill_session, session_alive

LOOK = 0.01
"""Seconds between two looks at whether it has ended. Its end cannot be waited for: `kit.process` reaps, too."""
_PIECE = 65536


@dataclass(frozen=True)
class CommandResult:
    """How a command ended. `code` is negative for a signal, and None when it was ended at its deadline."""

    code: int | None
    output: bytes
    """The end of what it wrote, standard output and error together."""
    dropped: int
    """Bytes that it wrote before that."""
    left: bool
    """Something of it could not be ended: what belongs to another user (sudo)."""


async def run_command(
    argv: Sequence[str], *, given: bytes, cwd: Path, env: Mapping[str, str], timeout: float, keep: int
) -> CommandResult:
    """Run it with `given` as its standard input and exactly `env` as its environment.

    Raises OSError or ValueError (a NUL character) when it cannot be run.
    """
    process = _start(argv, given, cwd, env)
    # One that has ended already has no start any more, but what it left behind is at least younger than this process.
    start = born(process.pid) or born(os.getpid()) or 0
    assert process.stdout is not None
    output = _Tail(process.stdout, keep)
    code: int | None = None
    try:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                while (code := process.poll()) is None:
                    await asyncio.sleep(LOOK)
    finally:
        try:
            await asyncio.to_thread(kill_session, process.pid, start)  # which waits until it is gone
            left = session_alive(process.pid, start)
        finally:
            output.close()
            # It has ended and was reaped, here or in `kit.process`; or it cannot be ended. Popen must not mind either.
            process.returncode = code or 0
    return CommandResult(code, bytes(output.kept), output.dropped, left)


def _start(argv: Sequence[str], given: bytes, cwd: Path, env: Mapping[str, str]) -> subprocess.Popen[bytes]:
    # A file in memory instead of a pipe: nobody has to write while it reads, or to mind that it does not.
    with os.fdopen(os.memfd_create("input"), "w+b") as source:
        source.write(given)
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
    """The last `keep` bytes of a pipe, read as they come so that the writer is never held up."""

    def __init__(self, pipe: IO[bytes], keep: int) -> None:
        self.kept = bytearray()
        self.dropped = 0
        self._pipe = pipe
        self._keep = keep
        os.set_blocking(pipe.fileno(), False)
        asyncio.get_running_loop().add_reader(pipe.fileno(), self._more)

    def _more(self) -> bool:
        """Take what is there; False when there is nothing or nobody is left to write."""
        try:
            piece = os.read(self._pipe.fileno(), _PIECE)
        except BlockingIOError:
            return False
        if not piece:
            asyncio.get_running_loop().remove_reader(self._pipe.fileno())
            return False
        self.kept += piece
        surplus = max(0, len(self.kept) - self._keep)
        self.dropped += surplus
        del self.kept[:surplus]
        return True

    def close(self) -> None:
        """Take what is still in the pipe, but do not wait for anybody who keeps it open, nor listen forever."""
        for _ in range(16):
            if not self._more():
                break
        asyncio.get_running_loop().remove_reader(self._pipe.fileno())
        self._pipe.close()
