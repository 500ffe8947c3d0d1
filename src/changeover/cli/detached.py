"""A command of this program that goes on in the background, in a session of its own, with its output in a file."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from changeover import wiring
from changeover.cli import exits
from changeover.cli.chains import not_up
from changeover.cli.options.log_format import of_log_file
from changeover.cli.rendering.log_lines import message_of
from changeover.cli.rendering.output import Output
from changeover.model.errors import fail
from changeover.platforms.local.log_times import times_of
from changeover.platforms.local.logs import DETACHED

_LOOK = 0.05
"""Seconds between two looks whether the rollout has begun: the operator waits for it."""


async def in_background(output: Output, words: Sequence[str], state: Path) -> int:
    """Start `changeover WORDS`, and return when it controls a rollout. If it ends before, so does this command."""
    log = state / DETACHED
    if not (state / "journal.db").exists():
        raise not_up(state)
    process = _spawn(words, log)
    with contextlib.closing(wiring.open_journal(state)) as journal:
        while process.poll() is None:
            holder = journal.holder()
            if holder is not None and holder.pid == process.pid and journal.unfinished_release() is not None:
                data = {"pid": process.pid, "log": str(log)}
                text = f"Process {process.pid} rolls on; its output is in {log}. `changeover wait` waits for its end."
                output.result(data, text)
                return exits.DONE
            await asyncio.sleep(_LOOK)
    text = log.read_text(encoding="utf-8", errors="replace").strip()
    if process.returncode != exits.DONE:
        raise fail(
            f"the command has ended: {' '.join(message_of(line).strip() for line in text.splitlines()[-4:])}",
            where=str(log),
            next="The file has all of its output.",
            exit_code=process.returncode,
        )
    output.result({"pid": process.pid, "log": str(log)}, text)
    return exits.DONE


def _spawn(words: Sequence[str], log: Path) -> subprocess.Popen[bytes]:
    for of_the_last in (log.with_name(f"{log.name}.1"), times_of(log)):
        of_the_last.unlink(missing_ok=True)
    with os.fdopen(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o600), "wb") as target:
        return subprocess.Popen(
            [sys.executable, "-m", "changeover", *words],
            stdin=subprocess.DEVNULL,
            stdout=target,
            stderr=target,
            start_new_session=True,
            env={**os.environ, **of_log_file()},
        )
