"""The last words of the software: of its check of a configuration, and of its log. Refuses to interpret them."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path

from changeover.model.instance import LaunchSpec
from changeover.ports import CannotStart


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
        raise CannotStart(_last_lines(output) or f"{launch.check[0]} refuses its configuration")


def tail_of(log: Path) -> str:
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - 2000))
            return _last_lines(file.read().decode(errors="replace"))
    except FileNotFoundError:
        return ""


def _last_lines(text: str, count: int = 4) -> str:
    return " | ".join(line.strip() for line in text.strip().splitlines()[-count:])
