"""The last words of the software: of its check of a configuration, and of its log.

It knows a line that names an error, and refuses to interpret any other.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

from changeover.model.instance import LaunchSpec
from changeover.ports import CannotStart

READ = 16_384
"""Bytes of a log's end: the traces of a few workers."""
_LINES, _LONGEST = 4, 300
"""How many lines a message has, and characters of each."""
_LONGEST_CHECKED = 2000
"""The same of a check: Envoy names the path to a wrong field before the field."""
_ERROR = re.compile(r"[\w.]*(Error|Exception)\b|panic:|fatal\b|thread .* panicked", re.IGNORECASE)
"""How the line begins in which Python, Node, Java, Go or Rust name the cause."""


def check_now(launch: LaunchSpec, folder: Path, env: Mapping[str, str], timeout: float) -> None:
    """Have the software check its own configuration. Raises CannotStart with its output."""
    try:
        done = subprocess.run(
            launch.check,
            cwd=folder,
            env={**env, **launch.env},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
            timeout=timeout,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise CannotStart(f"{launch.check[0]}: {error}") from error
    if done.returncode:
        output = done.stdout
        for ours, users in launch.known_as.items():
            output = output.replace(ours, users)
        raise CannotStart(_last_lines(output, _LONGEST_CHECKED) or f"{launch.check[0]} refuses its configuration")


def words_of(log: Path, hide: Callable[[str], str]) -> str:
    """Where an instance's log is and how it ends, without what `hide` removes."""
    text = hide(_end_of(log))
    return f"its log {log} ends with: {_telling_lines(text)}" if text.strip() else f"its log {log} is empty"


def tail_of(log: Path) -> str:
    return _last_lines(_end_of(log))


def _end_of(log: Path) -> str:
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - READ))
            return file.read().decode(errors="replace")
    except FileNotFoundError:
        return ""


def _telling_lines(text: str) -> str:
    """The last lines, after the last error before them: servers with workers report the end of each after its cause."""
    lines = [line for line in text.splitlines() if line.strip()]
    cause = next((line for line in reversed(lines[:-_LINES]) if _ERROR.match(line)), None)
    last = _last_lines("\n".join(lines))
    return last if cause is None else f"{cause.strip()} | ... | {last}"


def _last_lines(text: str, longest: int = _LONGEST) -> str:
    return " | ".join(line.strip()[:longest] for line in text.strip().splitlines()[-_LINES:])
